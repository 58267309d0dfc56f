"""What being in MODELS promises. A new model gets a line in parameters.py, and in SMALLER if it is large."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import COLOUR, PARAMETERS, SMALL

from jleak.catalog import MODELS
from jleak.check import InputError, keywords
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.models.norm import BATCHNORMS
from jleak.tree import norm, size
from jleak.types import Batch

SMALLER: dict[str, tuple[dict, list[tuple]]] = {
    "alexnet": ({"width": 4, "hidden": 16}, [SMALL]),
    "convnet64": ({"width": 4}, [(9, 9, 1)]),
    "resnet18": ({"width": 4}, [SMALL]),
    "resnet20": ({"width": 4}, [SMALL]),
    "resnet32": ({"width": 4}, [SMALL]),
    "vgg11": ({"width": 4}, [(32, 32, 1)]),
    "vgg13": ({"width": 4}, [(32, 32, 1)]),
    "vit": ({"width": 12, "depth": 1, "mlp": 16}, [SMALL]),
}
"""Settings and image shapes at which large models are compiled here; the others have their defaults."""

SHAPES = {name: SMALLER.get(name, ({}, [SMALL, COLOUR]))[1] for name in sorted(MODELS)}
CASES = [
    pytest.param(name, shape, id=f"{name}-{'x'.join(map(str, shape))}")
    for name, shapes in SHAPES.items()
    for shape in shapes
]
every_model = pytest.mark.parametrize("name", sorted(MODELS))
every_case = pytest.mark.parametrize(("name", "shape"), CASES)
normalised = pytest.mark.parametrize("name", [n for n in sorted(MODELS) if "norm" in keywords(MODELS[n])])


def small(name, shape, **settings):
    return MODELS[name](shape, 10, **SMALLER.get(name, ({}, []))[0], **settings)


def quick(seed):
    """A key whose random numbers compile quickly."""
    return jax.random.key(seed, impl="unsafe_rbg")


@functools.cache
def initialised(name, shape):
    """The model and its compiled initialisation."""
    model = small(name, shape)
    return model, jax.jit(model.init)


@functools.cache
def victim(name, shape):
    """(model, params, three images, their labels)"""
    model, init = initialised(name, shape)
    return model, init(quick(0)), jax.random.uniform(jax.random.key(1), (3, *shape)), jnp.array([3, 1, 4])


@functools.cache
def forward(name, shape):
    """Logits, and the input of the head, of three images."""
    model = victim(name, shape)[0]
    return jax.jit(lambda params, x: (model.apply(params, x), model.features(params, x)))


def near(got, wanted, tolerance=1e-5):
    """Equal to `tolerance` of the largest entry."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("name", sorted({*MODELS, *PARAMETERS}))
def test_every_model_has_a_line(name):
    assert name in PARAMETERS, f"model {name!r} keeps no promise yet: give it a line in parameters.py"
    assert name in MODELS, f"parameters.py has a line of {name!r}, which is not in the catalog"


@pytest.mark.parametrize(("name", "shape"), [(n, shape) for n in PARAMETERS for shape in PARAMETERS[n]])
def test_parameter_count_is_pinned(name, shape):
    params = jax.eval_shape(MODELS[name](shape, 10).init, jax.random.key(0))
    assert size(params["params"]) == PARAMETERS[name][shape]


@every_case
def test_what_a_model_declares_is_so(name, shape):
    model, params, x, _ = victim(name, shape)
    assert (model.shape, model.classes) == (shape, 10)
    logits, _ = forward(name, shape)(params, x)
    assert logits.shape == (3, 10) and logits.dtype == jnp.float32
    assert np.std(logits, axis=1).min() > 0


@every_case
def test_the_declared_head_computes_the_logits(name, shape):
    """From what the model says is its input, by kernel and bias alone."""
    model, params, x, _ = victim(name, shape)
    layer = params["params"]
    for step in model.head:
        layer = layer[step]
    logits, features = forward(name, shape)(params, x)
    assert layer["kernel"].shape == (features.shape[1], 10) and layer["bias"].shape == (10,)
    shifted = jax.tree_util.tree_map_with_path(
        lambda path, u: 2 * u + 0.5 if tuple(k.key for k in path[1:-1]) == model.head else u, params
    )
    other, same = forward(name, shape)(shifted, x)
    np.testing.assert_array_equal(same, features)
    for given, found in ((params, logits), (shifted, other)):
        kernel, bias = (given["params"]["head"][leaf] for leaf in ("kernel", "bias"))
        near(found, features @ kernel + bias)


@every_model
def test_initialisation_follows_the_key(name):
    init = initialised(name, SHAPES[name][0])[1]
    one, same, other = (init(quick(i)) for i in (0, 0, 1))
    leaves = list(zip(*map(jax.tree.leaves, (one, same, other)), strict=True))
    assert all(np.array_equal(a, b) for a, b, _ in leaves)
    assert not any(np.array_equal(a, c) for a, _, c in leaves if a.ndim > 1)


@every_case
def test_differentiates_twice_to_finite_numbers(name, shape):
    """What gradient matching needs: the derivative, by the images, of the norm of the gradient."""
    model, params, noise, y = victim(name, shape)
    client = fedsgd(model, cross_entropy)

    @jax.jit
    def slope(x):
        return jax.grad(lambda x: norm(client(jax.random.key(0), params, Batch(x, y))))(x)

    for x in (noise, jnp.zeros_like(noise), jnp.ones_like(noise)):
        assert np.isfinite(slope(x)).all()
    assert all(np.abs(image).max() > 0 for image in slope(noise))


@every_case
def test_images_do_not_depend_on_each_other(name, shape):
    _, params, x, _ = victim(name, shape)
    together, _ = forward(name, shape)(params, x)
    without, _ = forward(name, shape)(params, x.at[1].set(0.0))
    np.testing.assert_array_equal(without[::2], together[::2])
    near(forward(name, shape)(params, x[::-1])[0], together[::-1])
    assert np.abs(together[0] - together[1]).max() > 1e-3 * np.abs(together).max()


@pytest.mark.parametrize("name", [n for n in sorted(MODELS) if "conv" in keywords(MODELS[n])])
def test_every_convolution_takes_the_form_that_is_asked_for(name):
    """As many of XLA's as kernels with four axes, or none."""
    shape = SHAPES[name][0]

    def count(form):
        model = small(name, shape, conv=form)
        params = jax.eval_shape(model.init, jax.random.key(0))
        program = jax.make_jaxpr(model.apply)(params, jnp.zeros((1, *shape)))
        return params, str(program).count("conv_general_dilated[")

    params, of_xla = count("lax")
    assert of_xla == sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params["params"])) > 0
    assert count("im2col")[1] == 0


@normalised
@pytest.mark.parametrize("batchnorm", BATCHNORMS)
def test_a_model_with_batchnorm_tells_its_statistics(name, batchnorm):
    shape = SHAPES[name][0]
    model = small(name, shape, norm="batch", batchnorm=batchnorm)
    params = jax.eval_shape(model.init, jax.random.key(0))
    x = jnp.zeros((2, *shape))
    found = jax.eval_shape(model.statistics, params, x)
    assert found == params["batch_stats"] and len(jax.tree.leaves(found)) >= 2 * 5
    assert model.sends_statistics == (batchnorm == "batch+sent")
    assert jax.eval_shape(model.apply, params, x).shape == (2, 10)
    assert jax.eval_shape(model.features, params, x).ndim == 2


@normalised
@pytest.mark.parametrize("norm", ["group", "none"])
def test_a_model_without_batchnorm_has_none(name, norm):
    shape = SHAPES[name][0]
    model = small(name, (32, 32, shape[2]), norm=norm)
    assert model.statistics is None and not model.sends_statistics
    assert set(jax.eval_shape(model.init, jax.random.key(0))) == {"params"}
    with pytest.raises(InputError, match=f"says how BatchNorm computes, got norm='{norm}'; use norm=batch"):
        small(name, shape, norm=norm, batchnorm="batch")


@every_model
@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((8, 8), 10, r"shape must be \(height, width, channels\), got shape=\(8, 8\)"),
        ((2, 8, 8, 1), 10, r"got shape=\(2, 8, 8, 1\)"),
        (64, 10, "got shape=64"),
        ((0, 8, 1), 10, "height must be >= 1, got height=0"),
        ((8, -8, 1), 10, "width must be >= 1, got width=-8"),
        ((8, 8, 1.5), 10, r"channels must be a whole number, got channels=1\.5"),
        (SMALL, 1, "classes must be >= 2, got classes=1"),
        (SMALL, 0, "classes must be >= 2, got classes=0"),
        (SMALL, 2.5, r"classes must be a whole number, got classes=2\.5"),
    ],
)
def test_shapes_and_classes_that_cannot_be_are_refused(name, shape, classes, message):
    with pytest.raises(InputError, match=message):
        MODELS[name](shape, classes)


@pytest.mark.parametrize("init", ["torch", "zhu", "lecun"])
@pytest.mark.parametrize("shape", [(2, 2, 1), (3, 8, 1)])
def test_images_too_small_for_the_pooling_are_refused(init, shape):
    with pytest.raises(InputError, match="shrinks to nothing; use larger images or another model"):
        MODELS["convnet"](shape, 10, init=init)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("convnet64", SMALL), ("vgg11", (31, 32, 3)), ("vgg13", (32, 16, 3)), ("alexnet", (8, 7, 1))],
)
@pytest.mark.parametrize("init", ["torch", "zhu", "he"])
def test_images_too_small_for_larger_models_are_refused(name, shape, init):
    with pytest.raises(
        InputError, match=f"cannot take images of shape {re.escape(str(shape))}: a layer shrinks"
    ):
        MODELS[name](shape, 10, init=init)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("mlp", {"hidden": 0}, "hidden must be >= 1, got hidden=0"),
        ("mlp", {"hidden": ()}, r"got hidden=\(\); write hidden=64"),
        ("mlp", {"hidden": (8, 2.5)}, r"hidden must be a whole number, got hidden=2\.5"),
        ("mlp", {"activation_fn": "sigmoyd"}, "unknown activation 'sigmoyd'; did you mean 'sigmoid'"),
        ("mlp", {"init": "zu"}, "unknown init 'zu'"),
        ("convnet", {"width": 0}, "width must be >= 1, got width=0"),
        ("lenet", {"conv": "fft"}, "unknown conv 'fft'"),
        ("convnet64", {"width": 0}, "width must be >= 1, got width=0"),
        ("resnet20", {"width": 1.5}, r"width must be a whole number, got width=1\.5"),
        ("resnet20", {"norm": "bach"}, "unknown norm 'bach'; did you mean 'batch'"),
        ("resnet32", {"batchnorm": "train"}, "unknown batchnorm 'train'; known: batch, batch\\+sent, eval"),
        ("resnet18", {"stem": "tiny"}, "unknown stem 'tiny'"),
        ("vgg11", {"init": "hee"}, "unknown init 'hee'; did you mean 'he'"),
        ("vgg13", {"activation_fn": "rel"}, "unknown activation 'rel'; did you mean 'relu'"),
        ("alexnet", {"hidden": 0}, "hidden must be >= 1, got hidden=0"),
        ("vit", {"patch": 3}, "patch must divide the image's height and width, got patch=3 and 8x8"),
        ("vit", {"heads": 5}, "heads must divide width, got heads=5 and width=192"),
        ("vit", {"depth": 0}, "depth must be >= 1, got depth=0"),
        ("vit", {"init": "hee"}, "unknown init 'hee'"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, args, message):
    with pytest.raises(InputError, match=message):
        MODELS[name](SMALL, 10, **args)


def test_mlp_is_the_formula():
    model = MODELS["mlp"]((2, 3, 1), 4, hidden=(5, 7), activation_fn="tanh")
    params = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (3, 2, 3, 1))
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params["params"])
    h = np.asarray(x, np.float64).reshape(3, 6)
    for layer in ("dense0", "dense1"):
        h = np.tanh(h @ w[layer]["kernel"] + w[layer]["bias"])
    np.testing.assert_allclose(model.apply(params, x), h @ w["head"]["kernel"] + w["head"]["bias"], rtol=1e-5)
    assert model.chain == (("dense0",), ("dense1",), ("head",)) and model.activation == "tanh"


@every_model
def test_only_a_chain_of_dense_layers_declares_one(name):
    model = small(name, SHAPES[name][0])
    assert bool(model.chain) == (name == "mlp")
    assert bool(model.stages) == (name == "lenet")
    assert bool(model.activation) == bool(model.chain or model.stages)
    if model.chain:
        params = jax.eval_shape(model.init, jax.random.key(0))["params"]
        assert {path[0] for path in model.chain} == set(params) and model.chain[-1] == model.head


@pytest.mark.parametrize(
    ("init", "low", "high", "std"),
    [
        ("zhu", -0.5, 0.5, 1 / np.sqrt(12)),
        ("torch", -1 / np.sqrt(64), 1 / np.sqrt(64), 1 / np.sqrt(3 * 64)),
        ("lecun", -np.inf, np.inf, 1 / np.sqrt(64)),
    ],
)
def test_initialisations_have_their_range_and_spread(init, low, high, std):
    kernel = MODELS["mlp"](SMALL, 10, hidden=2000, init=init).init(jax.random.key(0))["params"]["dense0"][
        "kernel"
    ]
    assert low <= kernel.min() and kernel.max() <= high
    np.testing.assert_allclose(kernel.std(), std, rtol=0.01)
