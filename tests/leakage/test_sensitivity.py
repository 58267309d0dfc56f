"""Norms of the derivative of an update, against the closed form of notes B.2 and a Jacobian in full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage.jacobian import linear
from jleak.leakage.sensitivity import attribute_sensitivity, operator_norms, sensitivity
from jleak.losses import cross_entropy
from jleak.models import lenet
from jleak.types import Batch, Model

D, CLASSES = 12, 5


@pytest.fixture(scope="module")
def dense():
    """One dense layer without a bias, as notes B.2 have it."""

    def init(key):
        return {"params": {"head": {"kernel": jax.random.normal(key, (D, CLASSES))}}}

    def apply(params, x):
        return x.reshape(len(x), -1) @ params["params"]["head"]["kernel"]

    return Model(init, apply, (3, 4, 1), CLASSES, ("head",))


def closed_form(w, x, y):
    """||J||_F^2 = d ||p - y||^2 + ||x||^2 ||C W||_F^2 + 2 (p - y)^T C W x."""
    z = w @ x
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    r, c = p - np.eye(CLASSES)[y], np.diag(p) - np.outer(p, p)
    return D * r @ r + x @ x * ((c @ w) ** 2).sum() + 2 * r @ c @ w @ x


def test_the_frobenius_norm_of_a_dense_layer_is_its_closed_form(dense):
    params = dense.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (1, 3, 4, 1))
    found = sensitivity(
        jax.random.key(2), dense, fedsgd(dense, cross_entropy), params, Batch(x, jnp.array([2])), probes=4000
    )
    w = np.asarray(params["params"]["head"]["kernel"], float).T
    true = np.sqrt(closed_form(w, np.asarray(x, float).ravel(), 2))
    np.testing.assert_allclose(found.frobenius, [true], rtol=0.03)
    np.testing.assert_allclose(found.per_parameter, [true / np.sqrt(D * CLASSES)], rtol=0.03)


@pytest.fixture(scope="module")
def held(digits):
    model = lenet(digits.shape, digits.classes)
    x, y = digits.x[:2].astype("float32") / 16, digits.labels[:2].astype("int32")
    return model, fedsgd(model, cross_entropy), model.init(jax.random.key(1)), Batch(x, y)


@pytest.fixture(scope="module")
def program(held):
    """The norms of a network, compiled."""
    model, client, *_ = held
    return jax.jit(
        lambda params, batch: sensitivity(jax.random.key(3), model, client, params, batch, probes=2000)
    )


@pytest.fixture(scope="module")
def matrices(held):
    """Each layer's J by all pixels of the batch, in float64; and its update."""
    model, client, params, batch = held

    @jax.jit
    def pushed(params, batch):
        at = linear(jax.random.key(0), model, client, params, batch)
        return jax.lax.map(at.push, jnp.eye(batch.x.size).reshape(-1, *batch.x.shape)), at.update

    return [
        (np.asarray(v, float).T, np.asarray(g, float)) for v, g in zip(*pushed(params, batch), strict=True)
    ]


def test_norms_of_a_network_are_those_of_its_jacobian(held, matrices, program):
    found = program(*held[2:])
    x = np.asarray(held[-1].x, float)
    for i, (j, g) in enumerate(matrices):
        own = np.sqrt((j**2).sum() / 2)
        length = np.sqrt((x**2).sum() / 2)
        np.testing.assert_allclose(found.frobenius[i], own, rtol=0.05)
        np.testing.assert_allclose(found.relative[i], own * length / np.linalg.norm(g), rtol=0.05)


def test_operator_norms_are_those_of_the_jacobian(held, matrices):
    model, client, params, batch = held
    found = jax.jit(lambda *args: operator_norms(jax.random.key(3), model, client, *args, steps=100))(
        params, batch
    )
    for i, (j, _) in enumerate(matrices):
        np.testing.assert_allclose(found.one[i], np.abs(j).sum(0).max(), rtol=1e-4)
        np.testing.assert_allclose(found.two[i], np.linalg.norm(j, 2), rtol=0.02)


def test_a_batch_of_copies_is_less_sensitive_by_its_size(held, program):
    """dG/dx_i = J(x_i) / B."""
    *_, params, batch = held
    one = Batch(batch.x[:1], batch.y[:1])
    two = Batch(jnp.repeat(one.x, 2, 0), jnp.repeat(one.y, 2, 0))  # of the shape of `held`: its program
    alone, among = program(params, one), program(params, two)
    np.testing.assert_allclose(among.frobenius * 2, alone.frobenius, rtol=0.1)


def test_a_confident_model_is_insensitive(dense):
    """p -> y: the residual and its derivative vanish."""
    x, y = jnp.ones((1, 3, 4, 1)), jnp.array([2])
    sure = {"params": {"head": {"kernel": jnp.zeros((D, CLASSES)).at[:, 2].set(3.0)}}}
    found = sensitivity(jax.random.key(0), dense, fedsgd(dense, cross_entropy), sure, Batch(x, y))
    assert found.frobenius[0] < 1e-6


def test_a_layer_that_shares_nothing_moves_by_no_share(dense):
    def silent(key, params, batch):
        return {"head": {"kernel": jnp.zeros((D, CLASSES)) * batch.x.sum()}}

    batch = Batch(jnp.ones((1, 3, 4, 1)), jnp.array([2]))
    found = sensitivity(jax.random.key(0), dense, silent, dense.init(jax.random.key(0)), batch)
    assert found.relative.tolist() == [0.0]


def test_attribute_sensitivity_of_a_linear_client_is_its_closed_form(dense):
    """The update is the mean image: along is the length of the mean step, apart that over the deviation."""

    def client(key, params, batch):
        return {"head": {"kernel": batch.x.reshape(len(batch.x), -1).mean(0)}}

    rng = np.random.default_rng(0)
    values = np.arange(400) % 2
    x = rng.normal(size=(400, 1, 3, 4, 1)).astype("float32") + 2.0 * values[:, None, None, None, None]
    batches = Batch(jnp.asarray(x), jnp.zeros((400, 1), int))
    found = attribute_sensitivity(
        jax.random.key(0), dense, client, dense.init(jax.random.key(0)), batches, jnp.asarray(values)
    )
    step = x[values == 1].mean(0) - x[values == 0].mean(0)
    spread = np.sqrt(sum(x[values == v].var(0).sum() for v in (0, 1)) / 2)
    np.testing.assert_allclose(found.along, [np.linalg.norm(step)], rtol=1e-4)
    np.testing.assert_allclose(found.apart, [np.linalg.norm(step) / spread], rtol=0.01)


def test_bad_input_is_named(held, dense):
    with pytest.raises(InputError, match="probes must be >= 1, got probes=0"):
        sensitivity(jax.random.key(0), *held, probes=0)
    with pytest.raises(InputError, match=r"values must be one a batch, shape \(2,\), got \(3,\)"):
        model, client, params, batch = held
        batches = jax.tree.map(lambda leaf: leaf[:, None], batch)
        attribute_sensitivity(jax.random.key(0), model, client, params, batches, jnp.zeros(3))
