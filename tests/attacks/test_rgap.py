"""R-GAP: the image of one gradient, exactly, and the count of what determines it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks.rgap import layer, ranks, rgap
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses import clip, gaussian, prune
from jleak.losses import bce, cross_entropy, mse
from jleak.models import convnet, lenet, mlp, resnet20
from jleak.models.conv import im2col
from jleak.types import Batch, Model, Stage, Status, Threat, View

SHAPE, CLASSES = (8, 8, 1), 10
ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "leaky_relu": jax.nn.leaky_relu, "softplus": jax.nn.softplus}


def two(activation, classes=CLASSES, bias=False, width=6):
    """Two convolutions of 5x5, strides 2 and 1, and a dense head; without biases unless said."""
    plan = (("a", 2, (5, 5, 1, width)), ("b", 1, (5, 5, width, width)))

    def init(key):
        keys = iter(jax.random.split(key, 6))
        layers = {}
        for name, shape in [(name, shape) for name, _, shape in plan] + [("head", (16 * width, classes))]:
            bound = 2.0 / np.sqrt(np.prod(shape[:-1]))
            kernel = jax.random.uniform(next(keys), shape, minval=-bound, maxval=bound)
            layers[name] = {"kernel": kernel}
            if bias:
                layers[name]["bias"] = 0.3 * jax.random.normal(next(keys), shape[-1:])
        return {"params": layers}

    def apply(params, x):
        for name, stride, _ in plan:
            layer = params["params"][name]
            x = im2col(x, layer["kernel"], (stride, stride), [(2, 2), (2, 2)]) + layer.get("bias", 0.0)
            x = ACTIVATIONS[activation](x)
        head = params["params"]["head"]
        return x.reshape(len(x), -1) @ head["kernel"] + head.get("bias", 0.0)

    stages = (Stage(("a",), 2, 2), Stage(("b",), 1, 2), Stage(("head",)))
    return Model(init, apply, SHAPE, classes, ("head",), activation=activation, stages=stages)


MODELS = {
    "lenet": lenet(SHAPE, CLASSES),
    "mlp": mlp(SHAPE, CLASSES, hidden=(32, 16), activation_fn="tanh", bias=False),
    "two classes": two("sigmoid", classes=2),
    "biased": two("leaky_relu", bias=True),
    "bare": two("softplus"),
}


@functools.cache
def attack(name, loss):
    """The compiled attack of two victims side by side."""
    model = MODELS[name]
    found = rgap(Threat(client=fedsgd(model, loss), model=model, loss=loss))
    return jax.jit(jax.vmap(found, (None, View(None, 0))))


def attacked(name, defense=lambda client: client, loss=cross_entropy):
    """(reconstructions, images, labels, parameters) of two clients of one image each."""
    model = MODELS[name]
    params, client = model.init(jax.random.key(5)), defense(fedsgd(model, loss))
    x = jax.random.uniform(jax.random.key(1), (2, 1, *SHAPE))
    y = jnp.array([[1], [0]])
    many = jax.jit(jax.vmap(client, (0, None, 0)))
    updates = many(jax.random.split(jax.random.key(2)), params, Batch(x, y))
    return attack(name, loss)(jax.random.key(3), View(params, updates)), x, y, params


def psnr(x, truth):
    return -10 * np.log10(
        np.mean((np.asarray(x, np.float64) - np.asarray(truth, np.float64)) ** 2, (1, 2, 3, 4))
    )


def names(recs):
    return {Status(int(one)).name for one in np.ravel(recs.certificate.status)}


@pytest.mark.parametrize("name", MODELS)
def test_one_image_is_exact_and_certified(name):
    recs, x, y, _ = attacked(name)
    assert psnr(recs.x, x).min() > 80
    np.testing.assert_array_equal(recs.y, y)
    assert recs.loss.max() < 1e-5
    np.testing.assert_array_equal(recs.evaluations, 1)
    assert names(recs) == {"PROVEN"}
    np.testing.assert_array_equal(recs.certificate.residual, recs.loss)


def test_a_head_with_bias_tells_its_residual_whatever_the_loss():
    recs, x, y, _ = attacked("biased", loss=bce)
    assert psnr(recs.x, x).min() > 80
    np.testing.assert_array_equal(recs.y, y)


def test_with_biases_no_factor_on_the_update_matters():
    """But the own loss does not know the factor, and says that nothing is certified."""
    recs, x, _, _ = attacked("biased", defense=clip(bound=0.01))
    assert psnr(recs.x, x).min() > 80
    assert recs.loss.min() > 1
    assert names(recs) == {"APPROXIMATE"}


def test_noise_is_amplified_and_shows_in_the_loss():
    found = {s: attacked("lenet", defense=gaussian(sigma=s)) for s in (1e-6, 1e-4)}
    quality = [psnr(recs.x, x).min() for recs, x, _, _ in found.values()]
    assert quality[0] > quality[1] + 30 > 60
    losses = [float(recs.loss.max()) for recs, *_ in found.values()]
    assert 1e-7 < losses[0] < 0.1 * losses[1] < 1
    assert names(found[1e-4][0]) == {"NOISY"}


def test_a_pruned_update_is_told():
    recs, x, _, _ = attacked("lenet", defense=prune(fraction=0.9))
    assert names(recs) == {"MASKED"} and psnr(recs.x, x).max() < 40


def test_an_update_that_is_not_finite_gives_no_image():
    model = MODELS["lenet"]
    params = model.init(jax.random.key(0))
    updates = jax.tree.map(lambda u: jnp.stack([u, jnp.nan * u]), params["params"])
    recs = attack("lenet", cross_entropy)(jax.random.key(0), View(params, updates))
    assert np.isfinite(recs.x[0]).all() and np.isnan(recs.x[1]).all() and np.isnan(recs.loss[1])
    assert int(recs.certificate.status[1, 0]) == Status.UNREADABLE


def systems(model, params, x, y):
    """The stacked system of every layer in its padded input, entry by entry; by hand."""
    w = {name: np.asarray(leaf["kernel"], np.float64) for name, leaf in params["params"].items()}
    inputs, outputs, h = {}, {}, np.asarray(x, np.float64)
    for name, stride in (("a", 2), ("b", 1)):
        inputs[name] = np.pad(h, ((2, 2), (2, 2), (0, 0)))
        outputs[name] = convolved(inputs[name], w[name], stride)
        h = 1 / (1 + np.exp(-outputs[name]))
        outputs[name] = h
    z = h.ravel() @ w["head"]
    k = np.exp(z - z.max()) / np.exp(z - z.max()).sum() - np.eye(len(z))[y]
    k = (w["head"] @ k).reshape(h.shape)
    found = {}
    for name, stride in (("b", 1), ("a", 2)):
        k = k * outputs[name] * (1 - outputs[name])
        size = inputs[name].shape
        basis = np.eye(np.prod(size)).reshape(-1, *size)
        gradient = np.stack([correlated(e, k, w[name].shape, stride).ravel() for e in basis], 1)
        weight = np.stack([convolved(e, w[name], stride).ravel() for e in basis], 1)
        inner = np.zeros(size, bool)
        inner[2:-2, 2:-2] = True
        padding = np.eye(inner.size)[~inner.ravel()]
        found[name] = (gradient, weight, padding)
        k = (weight.T @ k.ravel()).reshape(size)[2:-2, 2:-2]
    return found


def windows(x, stride):
    """Every 5x5 window: (i, j, rows, columns, channels)."""
    rows, columns = range(0, x.shape[0] - 4, stride), range(0, x.shape[1] - 4, stride)
    return np.array([[x[i : i + 5, j : j + 5] for j in columns] for i in rows])


def convolved(x, w, stride):
    return np.einsum("ijabc,abco->ijo", windows(x, stride), w)


def correlated(x, k, shape, stride):
    return np.einsum("ijabc,ijo->abco", windows(x, stride), k).reshape(shape)


@pytest.mark.parametrize("width", [6, 1])
def test_ranks_are_those_of_the_explicit_systems(width):
    """Six filters determine every input, one does not."""
    model = two("sigmoid", width=width)
    params = model.init(jax.random.key(5))
    x = jax.random.uniform(jax.random.key(1), (1, *SHAPE))
    found = ranks(model, params, Batch(x, jnp.array([1])))
    assert [rank.path for rank in found] == [("a",), ("b",), ("head",)]
    explicit = systems(model, params, x[0], 1)
    for rank in found[:2]:
        blocks = explicit[rank.path[0]]
        assert (rank.gradient, rank.weight, rank.padding) == tuple(len(block) for block in blocks)
        assert rank.unknowns == blocks[0].shape[1]
        scaled = np.concatenate([block / np.abs(block).max() for block in blocks])
        assert rank.rank == np.linalg.matrix_rank(scaled)
        assert np.isfinite(rank.condition) == (rank.rank == rank.unknowns)
    assert (found[0].rank == found[0].unknowns) == (width == 6)
    head = found[2]
    assert (head.weight, head.padding, head.rank) == (0, 0, head.unknowns) == (0, 0, 16 * width)


def test_what_is_not_determined_stays_near_grey_and_is_not_certified():
    model = two("sigmoid", width=1)
    client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(5))
    batch = Batch(jax.random.uniform(jax.random.key(1), (1, *SHAPE)), jnp.array([1]))
    view = View(params, client(jax.random.key(2), params, batch))
    rec = jax.jit(rgap(Threat(client=client, model=model)))(jax.random.key(3), view)
    error = np.sqrt(np.mean((rec.x - batch.x) ** 2))
    assert 0.01 < error < np.sqrt(np.mean((0.5 - batch.x) ** 2))
    assert names(rec) == {"RANK_DEFICIENT"}


@pytest.mark.parametrize("model", [MODELS["lenet"], lenet((12, 9, 3), 4, activation_fn="relu")])
def test_declared_stages_are_the_model(model):
    params = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (1, *model.shape))
    act = layer.ACTIVATIONS["sigmoid"]
    if model.activation != "sigmoid":  # the layers are declared whatever can be inverted
        act, model = act._replace(value=jax.nn.relu), model._replace(activation="sigmoid")
    logits = jax.jit(lambda p: layer.forward(layer.layers(model, p, p["params"]), act, x)[-1])(params)
    np.testing.assert_allclose(logits, model.apply(params, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("threat", "message"),
    [
        (Threat(client=None, model=MODELS["lenet"], batch=2), "a single image, got batch=2; use batch=1 or"),
        (Threat(client=None, model=lenet(SHAPE, 10, activation_fn="relu")), "ReLU, cannot be inverted"),
        (Threat(client=None, model=resnet20((32, 32, 3), 10)), "declares none .* use model=lenet or mlp"),
        (Threat(client=None, model=convnet(SHAPE, 10)), "pools, normalises or branches"),
    ],
)
def test_what_cannot_be_gone_through_is_refused(threat, message):
    with pytest.raises(InputError, match=message):
        rgap(threat)


def test_a_head_without_bias_needs_cross_entropy():
    model = MODELS["bare"]
    params = model.init(jax.random.key(0))
    found = rgap(Threat(client=fedsgd(model, mse), model=model, loss=mse))
    with pytest.raises(InputError, match="from softmax cross entropy alone"):
        found(jax.random.key(0), View(params, params["params"]))


def test_another_models_update_is_refused():
    model = MODELS["bare"]
    params = model.init(jax.random.key(0))
    update = {"head": params["params"]["head"]}
    with pytest.raises(InputError, match="declares a layer at 'a', but the update"):
        rgap(Threat(client=fedsgd(model, cross_entropy), model=model))(
            jax.random.key(0), View(params, update)
        )
