"""The mixing of a batch in a dense layer, against closed forms and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage import mixing
from jleak.losses import bce, cross_entropy, mse, sigmoid_mse
from jleak.models import mlp
from jleak.types import Batch

N, CLASSES = 4, 10


@pytest.fixture(scope="module")
def held(digits):
    """A perceptron whose classifier is zero, so that every logit is, and a batch of distinct labels."""
    model = mlp(digits.shape, CLASSES, hidden=16)
    params = model.init(jax.random.key(0))
    weights = params["params"]
    flat = {**params, "params": {**weights, "head": jax.tree.map(jnp.zeros_like, weights["head"])}}
    return model, params, flat, Batch(jnp.asarray(digits.x[:N], jnp.float32), jnp.arange(N))


@pytest.mark.parametrize(
    ("loss", "mu"),
    [(cross_entropy, (N - 1) / (CLASSES - 1)), (sigmoid_mse, N - 1), (bce, N - 1), (mse, 0.0)],
)
def test_mixing_coefficients_at_zero_logits_have_their_closed_form(held, loss, mu):
    """Notes E.3: (B - 1)/(n - 1) for cross entropy, B - 1 for sigmoid outputs, 0 for linear ones."""
    model, _, flat, batch = held
    np.testing.assert_allclose(mixing(model, loss, flat, batch).mu, mu, rtol=1e-5)


def test_condition_and_rank_of_cross_entropy_have_their_closed_form(held):
    """R = (1/n - Y)/B: singular values sqrt(1 - B/n) once and 1 B - 1 times, over B."""
    model, _, flat, batch = held
    found = mixing(model, cross_entropy, flat, batch)
    values = np.r_[np.ones(N - 1), np.sqrt(1 - N / CLASSES)]
    np.testing.assert_allclose(found.singular, values / N, rtol=1e-5)
    np.testing.assert_allclose(found.condition, values[0] / values[-1], rtol=1e-5)
    share = values / values.sum()
    np.testing.assert_allclose(found.rank, np.exp(-(share * np.log(share)).sum()), rtol=1e-5)


def test_identical_labels_leave_one_mixture(held):
    model, params, flat, batch = held
    same = batch._replace(y=jnp.zeros(N, int))
    found = mixing(model, cross_entropy, flat, same)
    assert np.isinf(found.condition)
    np.testing.assert_allclose(found.rank, 1, atol=1e-4)
    assert mixing(model, cross_entropy, params, same).condition > 20
    assert mixing(model, cross_entropy, params, batch).condition < 2


def test_more_images_than_classes_cannot_be_told_apart(held):
    model, params, _, batch = held
    many = Batch(jnp.tile(batch.x, (3, 1, 1, 1)), jnp.arange(3 * N) % CLASSES)
    assert np.isinf(mixing(model, cross_entropy, params, many).condition)


@pytest.mark.parametrize("layer", [("head",), ("dense0",)])
def test_residuals_are_what_the_gradient_is_made_of(held, layer):
    """dW = R^T H and db = R^T 1, also in a hidden layer."""
    model, params, _, batch = held
    found = mixing(model, cross_entropy, params, batch, layer=layer)
    update = fedsgd(model, cross_entropy)(jax.random.key(0), params, batch)[layer[0]]
    h = model.features(params, batch.x) if layer == ("head",) else batch.x.reshape(N, -1)
    np.testing.assert_allclose(h.T @ found.residuals, update["kernel"], atol=1e-6)
    np.testing.assert_allclose(found.residuals.sum(0), update["bias"], atol=1e-6)
    size = np.abs(found.residuals)
    ratios = (size.sum(0) - size) / size
    wanted = ratios[np.arange(N), batch.y] if layer == ("head",) else ratios.min(1)
    np.testing.assert_allclose(found.mu, wanted, rtol=1e-4)


def test_a_layer_that_is_not_there_is_named(held):
    model, params, _, batch = held
    with pytest.raises(InputError, match="layer 'conv' must be a dense layer with a bias.*'head'"):
        mixing(model, cross_entropy, params, batch, layer=("conv",))
