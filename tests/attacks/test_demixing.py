"""De-mixing: exact recovery with a certificate, and honest degradation without.

Everything runs in a process that is in single precision; clients compute in double precision where said.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks.demixing import Status, demixing, features, recover
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses import gaussian, prune
from jleak.losses import bce, cross_entropy, mse
from jleak.metrics import pair
from jleak.models import convnet, lenet, mlp
from jleak.types import Batch, Model, Threat, View

SHAPE, PIXELS, CLASSES = (6, 6, 1), 36, 10


def linear(bias=True):
    """A softmax layer on the pixels."""

    def init(key):
        kernel = 0.1 * jax.random.normal(key, (PIXELS, CLASSES))
        return {"params": {"head": {"kernel": kernel} | ({"bias": kernel[0]} if bias else {})}}

    def flat(params, x):
        return x.reshape(len(x), -1)

    def apply(params, x):
        head = params["params"]["head"]
        return flat(params, x) @ head["kernel"] + head.get("bias", 0.0)

    return Model(init, apply, SHAPE, CLASSES, ("head",), flat, (("head",),))


def perceptron(activation):
    chain = (("dense0",), ("dense1",), ("head",))
    net = mlp(SHAPE, CLASSES, hidden=(24, 16), activation_fn=activation, init="torch")
    return net._replace(chain=chain, activation=activation)


MODELS = {
    "linear": linear(),
    "no bias": linear(bias=False),
    **{name: perceptron(name) for name in ("sigmoid", "tanh", "relu", "leaky_relu")},
}


@functools.cache
def attack(name, n, granted=False, starts=1, loss=cross_entropy):
    """The compiled attack of two victims side by side."""
    model = MODELS[name]
    threat = Threat(client=fedsgd(model, loss), model=model, batch=n, loss=loss)
    lanes = View(None, 0, 0 if granted else None)
    return jax.jit(jax.vmap(recover(threat, starts=starts, steps=30), (None, lanes)))


def recovered(name, y, defense=lambda client: client, granted=False, starts=1, loss=cross_entropy):
    """(recovery, batches) of two clients with these labels, in single precision."""
    model, n = MODELS[name], len(y)
    params, client = model.init(jax.random.key(5)), defense(fedsgd(model, loss))
    x = jax.random.uniform(jax.random.key(1), (2, n, *SHAPE))
    y = jnp.stack([jnp.asarray(y)] * 2)
    keys = jax.random.split(jax.random.key(2), 2)
    updates = jax.vmap(client, (0, None, 0))(keys, params, Batch(x, y))
    view = View(params, updates, y if granted else None)
    found = attack(name, n, granted, starts, loss)(jax.random.key(3), view)
    return found, Batch(x, y)


def rmse(x, truth):
    return float(np.sqrt(np.mean((np.asarray(x) - np.asarray(truth)) ** 2)))


def names(status):
    return {Status(int(one)).name for one in np.ravel(status)}


@pytest.mark.parametrize("name", MODELS)
def test_distinct_labels_are_recovered_and_proven(name):
    found, batch = recovered(name, [1, 3, 4, 8], granted=name != "linear")
    assert found.x.dtype == jnp.float32
    np.testing.assert_array_equal(found.y, batch.y)
    assert rmse(found.x, batch.x) < 1e-4
    assert names(found.status) == {"PROVEN"}
    assert found.residual.max() < 1e-5


def test_double_precision_reaches_its_rounding_with_nine_of_ten_classes():
    with jax.enable_x64(True):
        model = MODELS["linear"]
        params = jax.tree.map(lambda u: u.astype(jnp.float64), model.init(jax.random.key(0)))
        x = jax.random.uniform(jax.random.key(1), (9, *SHAPE), jnp.float64)
        y, client = jnp.arange(9), fedsgd(model, cross_entropy)
        view = View(params, client(jax.random.key(2), params, Batch(x, y)))
        threat = Threat(client=client, model=model, batch=9)
        found = jax.jit(recover(threat, starts=1))(jax.random.key(3), view)
        assert found.x.dtype == jnp.float64
        assert rmse(found.x, x) < 1e-12
        assert names(found.status) == {"PROVEN"}


def test_two_images_of_one_class_are_told_apart():
    """From starts that break the symmetry; from one start alone they are class means, and say so."""
    y = [1, 4, 4, 8]
    found, batch = recovered("linear", y, granted=True, starts=6)
    single, _ = recovered("linear", y, granted=True)
    for v in range(2):
        best = found.x[v][pair(found.x[v], batch.x[v])]
        assert rmse(best, batch.x[v]) < 1e-2
        assert names(found.status[v, 1:3]) == {"AMBIGUOUS"}
        assert names(found.status[v, ::3]) == {"PROVEN"}
        np.testing.assert_allclose(single.x[v, 1], single.x[v, 2], atol=1e-3)
        np.testing.assert_allclose(single.x[v, 1], batch.x[v, 1:3].mean(0), atol=0.05)
        assert names(single.status[v, 1:3]) == {"CLASS_MEAN"}
        assert "PROVEN" not in names(single.status[v])


def test_no_absent_class_leaves_a_common_offset():
    found, batch = recovered("linear", list(range(CLASSES)), granted=True)
    assert names(found.status) == {"COMMON_OFFSET"}
    moved = np.asarray(found.x - batch.x)
    own = moved - moved.mean(axis=1, keepdims=True)
    assert np.abs(own).mean() < np.abs(moved).mean()


@pytest.mark.parametrize("loss", [cross_entropy, bce])
def test_noise_is_told_and_its_error_foretold(loss):
    found, batch = recovered("linear", [1, 3, 4, 8], gaussian(sigma=1e-5), granted=True, loss=loss)
    assert names(found.status) == {"NOISY"}
    error = rmse(found.x, batch.x)
    assert 1e-5 < error < 1e-2
    assert 0.3 < found.error.mean() / error < 3


@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_pruned_update_is_never_proven(fraction):
    found, batch = recovered("linear", [1, 3, 4, 8], prune(fraction=fraction), granted=True)
    assert rmse(found.x, batch.x) > 0.01
    assert names(found.status) == {"MASKED"}
    assert np.isfinite(found.x).all()


def test_wrong_labels_are_never_proven():
    model, client = MODELS["linear"], fedsgd(MODELS["linear"], cross_entropy)
    params = model.init(jax.random.key(5))
    x = jax.random.uniform(jax.random.key(1), (2, 4, *SHAPE))
    y = jnp.array([[1, 3, 4, 8]] * 2)
    updates = jax.vmap(client, (None, None, 0))(jax.random.key(2), params, Batch(x, y))
    found = attack("linear", 4, True)(jax.random.key(3), View(params, updates, y.at[:, 0].set(7)))
    assert names(found.status).isdisjoint({"PROVEN", "NOISY"})


@pytest.mark.parametrize("broken", [jnp.nan, 0.0])
def test_an_unreadable_update_says_so_beside_a_good_one(broken):
    good, batch = recovered("linear", [1, 3, 4, 8], granted=True)
    model, client = MODELS["linear"], fedsgd(MODELS["linear"], cross_entropy)
    params = model.init(jax.random.key(5))
    updates = jax.vmap(client, (None, None, 0))(jax.random.key(2), params, batch)
    updates = jax.tree.map(lambda u: u.at[1].multiply(broken), updates)
    found = attack("linear", 4, True)(jax.random.key(3), View(params, updates, batch.y))
    assert names(found.status[0]) == {"PROVEN"}
    assert names(found.status[1]) == {"UNREADABLE"}
    assert np.isnan(found.x[1]).all()


def test_a_layer_narrower_than_the_batch_is_rank_deficient():
    net = mlp(SHAPE, CLASSES, hidden=3, init="torch")._replace(
        chain=(("dense0",), ("head",)), activation="sigmoid"
    )
    client, params = fedsgd(net, cross_entropy), net.init(jax.random.key(0))
    batch = Batch(jax.random.uniform(jax.random.key(1), (5, *SHAPE)), jnp.arange(5))
    view = View(params, client(jax.random.key(2), params, batch), batch.y)
    attack = jax.jit(recover(Threat(client=client, model=net, batch=5), starts=1))
    found = attack(jax.random.key(3), view)
    assert names(found.status) == {"RANK_DEFICIENT"}


def test_another_known_loss_is_solved_the_same_way():
    """An attacker who knows the loss: mean squared error mixes, and hides nothing from it."""
    found, batch = recovered("linear", [1, 3, 4, 8], granted=True, loss=mse, starts=6)
    assert rmse(found.x, batch.x) < 1e-3
    assert names(found.status) == {"PROVEN"}


def test_as_many_images_as_classes_hide_nothing_where_residuals_do_not_sum_to_zero():
    """Softmax leaves a common offset open there; under another loss the residuals have full rank."""
    found, batch = recovered("linear", list(range(CLASSES)), granted=True, loss=bce)
    assert names(found.status) == {"PROVEN"} and rmse(found.x, batch.x) < 1e-3
    more, batch = recovered("linear", [*range(CLASSES), 3, 4], granted=True, loss=bce)
    assert names(more.status) == {"CLASS_MEAN", "RANK_DEFICIENT"} and rmse(more.x, batch.x) > 0.01


def test_images_of_one_class_that_other_images_explain_as_well_are_not_proven():
    """Linear residuals: the gradient holds sum and second moments of a class alone, which rotations keep."""
    found, batch = recovered("linear", [4] * 6, granted=True, loss=mse, starts=6)
    assert rmse(found.x, batch.x) > 0.05
    assert "PROVEN" not in names(found.status)


def test_features_of_a_convolutional_model():
    net = convnet((8, 8, 1), CLASSES, width=4)
    client, params = fedsgd(net, cross_entropy), net.init(jax.random.key(0))
    batch = Batch(jax.random.uniform(jax.random.key(1), (3, 8, 8, 1)), jnp.array([0, 2, 7]))
    view = View(params, client(jax.random.key(2), params, batch), batch.y)
    attack = jax.jit(features(Threat(client=client, model=net, batch=3), starts=1))
    found = attack(jax.random.key(3), view)
    truth = net.features(params, batch.x)
    assert found.x.shape == truth.shape
    assert rmse(found.x, truth) < 1e-3 * float(jnp.abs(truth).mean())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lenet((8, 8, 1), CLASSES)._replace(chain=()), "declares no chain of them; use demixing.features"),
        (perceptron("sigmoid")._replace(activation="gelu"), "others cannot be peeled"),
    ],
)
def test_models_that_cannot_be_peeled_are_refused(model, message):
    with pytest.raises(InputError, match=message):
        demixing(Threat(client=None, model=model))


def test_labels_that_nobody_tells_are_asked_for():
    model = MODELS["linear"]
    view = View(model.init(jax.random.key(0)), model.init(jax.random.key(0))["params"])
    for threat, settings in (
        (Threat(client=None, model=model, loss=mse), {}),
        (Threat(client=None, model=model), {"labels": "joint"}),
    ):
        with pytest.raises(InputError, match="leaves the labels unknown"):
            recover(threat, **settings)(jax.random.key(0), view)
