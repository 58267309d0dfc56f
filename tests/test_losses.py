"""Losses against NumPy in float64, written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import losses
from jleak.check import InputError

ALL = [losses.cross_entropy, losses.mse, losses.bce, losses.sigmoid_mse]
N, CLASSES = 5, 7


def numpy_loss(name, z, y):
    """The definition, without tricks for stability."""
    z, y = np.asarray(z, np.float64), np.asarray(y, np.float64)
    if name == "cross_entropy":
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return -(y * np.log(p)).sum(1).mean()
    if name == "mse":
        return ((z - y) ** 2).mean()
    s = 1 / (1 + np.exp(-z))
    if name == "sigmoid_mse":
        return ((s - y) ** 2).mean()
    return -(y * np.log(s) + (1 - y) * np.log(1 - s)).mean()


def case(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(N, CLASSES)).astype(np.float32)
    return jnp.array(logits), rng.integers(0, CLASSES, N), rng.dirichlet(np.ones(CLASSES), N)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_hard_labels_agree_with_numpy(loss, seed):
    logits, y, _ = case(seed)
    expected = numpy_loss(loss.__name__, logits, np.eye(CLASSES)[y])
    np.testing.assert_allclose(loss(logits, jnp.array(y)), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_soft_labels_agree_with_numpy(loss, seed):
    logits, _, y = case(seed)
    np.testing.assert_allclose(
        loss(logits, jnp.array(y, jnp.float32)), numpy_loss(loss.__name__, logits, y), rtol=1e-5
    )


@pytest.mark.parametrize("loss", ALL)
def test_one_hot_rows_equal_hard_labels(loss):
    logits, y, _ = case(0)
    assert loss(logits, jnp.array(y)) == loss(logits, jax.nn.one_hot(y, CLASSES))


@pytest.mark.parametrize("loss", ALL)
def test_is_a_mean_over_the_batch(loss):
    logits, y, _ = case(0)
    singles = [loss(logits[i : i + 1], jnp.array(y[i : i + 1])) for i in range(N)]
    np.testing.assert_allclose(loss(logits, jnp.array(y)), np.mean(singles), rtol=1e-6)


def test_gradients_have_their_closed_forms():
    logits, y, _ = case(1)
    target = np.eye(CLASSES)[y]
    z = np.asarray(logits, np.float64)
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-z))
    closed = {
        losses.cross_entropy: (softmax - target) / N,
        losses.mse: 2 * (z - target) / (N * CLASSES),
        losses.bce: (sigmoid - target) / (N * CLASSES),
        losses.sigmoid_mse: 2 * (sigmoid - target) * sigmoid * (1 - sigmoid) / (N * CLASSES),
    }
    for loss, expected in closed.items():
        np.testing.assert_allclose(jax.jit(jax.grad(loss))(logits, jnp.array(y)), expected, atol=1e-6)


def test_hessian_of_cross_entropy_has_its_closed_form():
    z = jnp.array([[0.3, -1.0, 2.0]])
    p = np.asarray(jax.nn.softmax(z))[0]
    hessian = jax.jit(jax.hessian(losses.cross_entropy))(z, jnp.array([1]))[0, :, 0, :]
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-6)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_two_derivatives_are_finite(loss, scale):
    logits = scale * jnp.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    y = jnp.array([1, 1])
    derivatives = jax.jit(lambda z: (loss(z, y), jax.grad(loss)(z, y), jax.hessian(loss)(z, y)))(logits)
    assert all(np.all(np.isfinite(derivative)) for derivative in derivatives)


@pytest.mark.parametrize("loss", ALL)
def test_gradient_in_soft_labels_agrees_with_differences(loss):
    logits, _, y = case(2)
    y = jnp.array(y, jnp.float32)
    step = np.random.default_rng(0).normal(size=y.shape)
    slope = float(jnp.vdot(jax.jit(jax.grad(loss, argnums=1))(logits, y), step))
    ends = [numpy_loss(loss.__name__, logits, np.asarray(y) + h * step) for h in (1e-4, -1e-4)]
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3)


@pytest.mark.parametrize("loss", ALL)
def test_jit_and_vmap_agree_with_the_plain_call(loss):
    stack = [case(seed) for seed in range(3)]
    logits, y = jnp.stack([c[0] for c in stack]), jnp.array([c[1] for c in stack])
    np.testing.assert_allclose(
        jax.jit(jax.vmap(loss))(logits, y), [loss(*pair) for pair in zip(logits, y, strict=True)], rtol=1e-5
    )


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_unknown_label_is_seen(loss, label):
    logits, _, _ = case(0)
    assert np.isnan(loss(logits, jnp.array([0, 1, 2, 3, label])))


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (jnp.zeros(N), "cast hard labels to int"),
        (jnp.zeros((N, CLASSES), int), "soft labels to float"),
        (jnp.zeros((N, CLASSES + 1)), rf"\(n, {CLASSES}\), got float32 \({N}, {CLASSES + 1}\)"),
        (jnp.zeros(N + 1, int), f"each of the {N} rows of logits, got {N + 1}"),
    ],
)
def test_labels_that_do_not_fit_are_refused(loss, y, message):
    with pytest.raises(InputError, match=message):
        loss(jnp.zeros((N, CLASSES)), y)


def test_logits_of_one_image_are_refused():
    with pytest.raises(InputError, match=r"logits must be \(n, classes\), got \(3,\)"):
        losses.mse(jnp.zeros(3), jnp.array([1]))


def test_one_hot_or_soft_keeps_soft_labels():
    y = jnp.array([[0.25, 0.75]])
    assert losses.one_hot_or_soft(y, 2) is y
