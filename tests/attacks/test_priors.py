"""Penalties that read the update, against what they say of images that are known here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks.priors import feature_match
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch

MODEL = mlp((4, 4, 1), 5, hidden=12)


@functools.cache
def leak(labels):
    params = MODEL.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (len(labels), 4, 4, 1))
    batch = Batch(x, jnp.array(labels))
    return params, batch, fedsgd(MODEL, cross_entropy)(jax.random.key(2), params, batch)


def test_agrees_with_numpy():
    params, batch, update = leak((3, 0, 3))
    head = update["head"]
    kernel, bias = (np.asarray(head[name], np.float64) for name in ("kernel", "bias"))
    x = jax.random.uniform(jax.random.key(5), batch.x.shape)
    wanted = (kernel / bias).T[np.asarray(batch.y)]
    got = feature_match(MODEL)(params, x, batch.y, update)
    np.testing.assert_allclose(got, np.mean((MODEL.features(params, x) - wanted) ** 2), rtol=1e-4)


def test_knows_the_image_of_a_batch_of_one_at_any_scale_of_the_update():
    params, batch, update = leak((2,))
    penalty = feature_match(MODEL)
    smaller = jax.tree.map(lambda leaf: 1e-3 * leaf, update)
    assert penalty(params, batch.x, batch.y, smaller) < 1e-9
    assert penalty(params, 1 - batch.x, batch.y, smaller) > 1e-3


def test_soft_labels_count_as_their_likeliest_class():
    params, batch, update = leak((3, 0, 3))
    soft = 0.6 * jax.nn.one_hot(batch.y, 5) + 0.08
    penalty = feature_match(MODEL)
    assert penalty(params, batch.x, soft, update) == penalty(params, batch.x, batch.y, update)


@pytest.mark.parametrize("zeroed", ["bias", "everything"])
def test_an_update_that_says_nothing_costs_nothing_with_a_finite_gradient(zeroed):
    params, batch, update = leak((3, 0, 3))
    silent = jax.tree.map(jnp.zeros_like, update)
    if zeroed == "bias":
        silent = {**update, "head": {**update["head"], "bias": silent["head"]["bias"]}}
    value, slope = jax.value_and_grad(feature_match(MODEL), 1)(params, batch.x, batch.y, silent)
    assert value == 0
    np.testing.assert_array_equal(slope, 0.0)


def test_lanes_agree_with_single_calls():
    params, batch, update = leak((3, 0, 3))
    penalty, lanes = feature_match(MODEL), jnp.stack([batch.x, 1 - batch.x])
    got = jax.vmap(penalty, (None, 0, None, None))(params, lanes, batch.y, update)
    np.testing.assert_allclose(got, [penalty(params, x, batch.y, update) for x in lanes], rtol=1e-5)


def test_models_that_cannot_say_are_refused():
    params, batch, update = leak((2,))
    with pytest.raises(InputError, match="give it, or drop the penalty"):
        feature_match(MODEL._replace(features=None))
    bare = {**update, "head": {"kernel": update["head"]["kernel"]}}
    with pytest.raises(
        InputError, match="bias of 'head', which has none; use a model whose classifier has one"
    ):
        feature_match(MODEL)(params, batch.x, batch.y, bare)
