"""Penalties that read the update, against what they say of images that are known here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks import inverting_tuned
from jleak.attacks.priors import demixed, feature_match, held, ratios
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses import clip, prune
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch, Threat, View

MODEL = mlp((4, 4, 1), 5, hidden=12)
STARTS = jax.random.key(7)


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


def targets(labels, defense=lambda client: client):
    params, batch, _ = leak(labels)
    client = fedsgd(MODEL, cross_entropy)
    view = View(params, defense(client)(jax.random.key(2), params, batch))
    threat = Threat(client=client, model=MODEL, batch=len(labels))
    return (
        jax.jit(demixed(threat))(jax.random.key(3), view, batch.y),
        MODEL.features(params, batch.x),
        view,
        batch,
    )


def test_demixed_features_are_the_images_own_where_ratios_are_mixtures():
    (wanted, told), truth, view, batch = targets((3, 0, 2))
    np.testing.assert_allclose(wanted, truth, atol=1e-4)
    assert told.all() and held(MODEL, view.params, batch.x, wanted, told) < 1e-9
    assert feature_match(MODEL)(view.params, batch.x, batch.y, view.update) > 1e-4


@pytest.mark.parametrize(
    ("labels", "defense", "unsure"),
    [((3, 0, 3), clip(bound=1e9), [0, 2]), ((3, 0, 2), prune(fraction=0.5), [0, 1, 2])],
)
def test_what_is_not_proven_stays_a_ratio(labels, defense, unsure):
    (wanted, _), _, view, batch = targets(labels, defense)
    ratio, _ = ratios(MODEL, view.update, batch.y)
    np.testing.assert_allclose(wanted[np.array(unsure)], ratio[np.array(unsure)], rtol=1e-5)


def test_demixed_targets_need_labels_and_lead_the_tuned_attack(digits):
    batch = Batch(jnp.asarray(digits.x[:4]), jnp.asarray(digits.labels[:4]))
    model = mlp((8, 8, 1), 10, hidden=32)
    params, client = model.init(jax.random.key(0)), fedsgd(model, cross_entropy)
    view = View(params, client(jax.random.key(1), params, batch), batch.y)
    threat = Threat(client=client, model=model, batch=4)

    def apart(by):
        """Of the features that the attack ends with, its weight on the update's distance aside."""
        found = jax.jit(inverting_tuned(threat, steps=60, tv=0.0, features=100.0, targets=by))(STARTS, view)
        return float(jnp.mean((model.features(params, found.x) - model.features(params, batch.x)) ** 2))

    assert apart("demixing") < 0.5 * apart("ratio")
    with pytest.raises(InputError, match="grant them .known_labels., or name a label attack"):
        inverting_tuned(threat, targets="demixing").init(STARTS, view._replace(labels=None))
    with pytest.raises(InputError, match="unknown targets 'demix'"):
        inverting_tuned(threat, targets="demix")


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
