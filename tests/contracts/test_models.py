"""What being in MODELS promises. A new model gets a line in PARAMETERS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.catalog import MODELS
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.tree import norm, size
from jleak.types import Batch

SMALL, COLOUR = (8, 8, 1), (32, 32, 3)
PARAMETERS: dict[str, dict[tuple, int]] = {
    "mlp": {
        SMALL: (64 + 1) * 64 + (64 + 1) * 10,
        COLOUR: (3072 + 1) * 64 + (64 + 1) * 10,
    },
    "lenet": {
        SMALL: (25 + 1) * 12 + 2 * (25 * 12 + 1) * 12 + (2 * 2 * 12 + 1) * 10,
        COLOUR: (75 + 1) * 12 + 2 * (25 * 12 + 1) * 12 + (8 * 8 * 12 + 1) * 10,
    },
    "convnet": {
        SMALL: (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (2 * 2 * 64 + 1) * 10,
        COLOUR: (27 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (8 * 8 * 64 + 1) * 10,
    },
}
"""Parameters at the defaults with ten classes: (weights of a unit + its bias) times units, layer by layer."""

every_model = pytest.mark.parametrize("name", sorted(MODELS))
every_shape = pytest.mark.parametrize("shape", [SMALL, COLOUR], ids=["8x8x1", "32x32x3"])


@functools.cache
def victim(name, shape):
    """(model, params, three images, their labels)"""
    model = MODELS[name](shape, 10)
    params = jax.jit(model.init)(jax.random.key(0))
    return model, params, jax.random.uniform(jax.random.key(1), (3, *shape)), jnp.array([3, 1, 4])


@functools.cache
def forward(name, shape):
    return jax.jit(victim(name, shape)[0].apply)


@pytest.mark.parametrize("name", sorted({*MODELS, *PARAMETERS}))
def test_every_model_has_a_line(name):
    assert name in PARAMETERS, (
        f"model {name!r} keeps no promise yet: give it a line in PARAMETERS of {__file__}"
    )
    assert name in MODELS, f"PARAMETERS of {__file__} has a line of {name!r}, which is not in the catalog"


@every_model
@every_shape
def test_parameter_count_is_pinned(name, shape):
    assert size(victim(name, shape)[1]["params"]) == PARAMETERS[name][shape]


@every_model
@every_shape
def test_what_a_model_declares_is_so(name, shape):
    model, params, x, _ = victim(name, shape)
    assert (model.shape, model.classes) == (shape, 10)
    logits = forward(name, shape)(params, x)
    assert logits.shape == (3, 10) and logits.dtype == jnp.float32
    assert np.std(logits, axis=1).min() > 0


@every_model
@every_shape
def test_the_declared_head_computes_the_logits(name, shape):
    """kernel is (features, classes), and doubling head and bias doubles the logits."""
    model, params, x, _ = victim(name, shape)
    layer = params["params"]
    for step in model.head:
        layer = layer[step]
    features = layer["kernel"].shape[0]
    assert layer["kernel"].shape == (features, 10) and layer["bias"].shape == (10,)
    doubled = jax.tree_util.tree_map_with_path(
        lambda path, u: 2 * u if tuple(k.key for k in path[1:-1]) == model.head else u, params
    )
    one, two = forward(name, shape)(params, x), forward(name, shape)(doubled, x)
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5, atol=1e-6)


@every_model
def test_initialisation_follows_the_key(name):
    model = victim(name, SMALL)[0]
    one, same, other = (jax.jit(model.init)(jax.random.key(i)) for i in (0, 0, 1))
    leaves = list(zip(*map(jax.tree.leaves, (one, same, other)), strict=True))
    assert all(np.array_equal(a, b) for a, b, _ in leaves)
    assert not any(np.array_equal(a, c) for a, _, c in leaves if a.ndim > 1)


@every_model
@every_shape
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


@every_model
@every_shape
def test_images_do_not_depend_on_each_other(name, shape):
    _, params, x, _ = victim(name, shape)
    together = forward(name, shape)(params, x)
    np.testing.assert_array_equal(forward(name, shape)(params, x.at[1].set(0.0))[::2], together[::2])
    np.testing.assert_allclose(forward(name, shape)(params, x[1:2])[0], together[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(together[0], together[1], rtol=1e-5, atol=1e-6)


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
    ("name", "args", "message"),
    [
        ("mlp", {"hidden": 0}, "hidden must be >= 1, got hidden=0"),
        ("mlp", {"hidden": ()}, r"got hidden=\(\); write hidden=64"),
        ("mlp", {"hidden": (8, 2.5)}, r"hidden must be a whole number, got hidden=2\.5"),
        ("mlp", {"activation_fn": "sigmoyd"}, "unknown activation 'sigmoyd'; did you mean 'sigmoid'"),
        ("mlp", {"init": "zu"}, "unknown init 'zu'"),
        ("convnet", {"width": 0}, "width must be >= 1, got width=0"),
        ("lenet", {"conv": "fft"}, "unknown conv 'fft'"),
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
