"""Soteria: which features it removes, by float64 derivatives, and what an attacker who knows of it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defending import KEY, equal, flat, near, of, shared

from jleak.check import InputError
from jleak.clients import Telling, chain, fedavg, fedsgd, on_update, telling
from jleak.defenses import clip, dp_sgd, gaussian, prune, soteria
from jleak.defenses.soteria import SOTERIA, TOGETHER, scores
from jleak.losses import cross_entropy
from jleak.models import lenet, mlp
from jleak.tree import dot
from jleak.types import Batch

FRACTIONS = [0.1, 0.5, 0.8, 0.95, 1.0]


def by_hand(params, x):
    """The scores of a perceptron with sigmoids, in double precision: d r / d x = r (1 - r) W."""
    w, b = (np.asarray(params["params"]["dense0"][name], np.float64) for name in ("kernel", "bias"))
    r = 1 / (1 + np.exp(-(np.asarray(x, np.float64).reshape(len(x), -1) @ w + b)))
    return np.sum(r * (1 - r) * np.linalg.norm(w, axis=0) / (np.abs(r) + 1e-10), axis=0)


def test_scores_of_a_perceptron_are_those_of_the_formula(three):
    assert list(three.params["params"]) == ["dense0", "head"]
    wanted = by_hand(three.params, three.batch.x)
    np.testing.assert_allclose(scores(three.model, three.params, three.batch.x), wanted, rtol=1e-5)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_smallest_scores_go_and_nothing_else_changes(fraction, three):
    s = by_hand(three.params, three.batch.x)
    order = np.argsort(s)
    gone = int(np.ceil(fraction * (s.size - 1)))  # below the quantile
    wanted = np.array(three.view.update["head"]["kernel"])
    wanted[order[:gone]] = 0
    got = shared(soteria(fraction=fraction), three)
    np.testing.assert_array_equal(got["head"]["kernel"], wanted)
    assert equal(got | {"head": got["head"] | {"kernel": 0}}, three.view.update | {
        "head": three.view.update["head"] | {"kernel": 0}
    })  # fmt: skip
    assert gone >= 3


def test_scores_of_a_wide_network_with_negative_features():
    """In chunks that do not divide the width, by finite differences of every pixel; signs do not matter."""
    model = mlp((2, 3, 1), 3, hidden=(7, TOGETHER + 5), activation_fn="tanh")
    params, x = model.init(KEY), jax.random.uniform(KEY, (2, 2, 3, 1))

    def features(x):
        h = np.asarray(x, np.float64).reshape(len(x), -1)
        for layer in ("dense0", "dense1"):
            kernel, bias = (np.asarray(params["params"][layer][n], np.float64) for n in ("kernel", "bias"))
            h = np.tanh(h @ kernel + bias)
        return h

    total, x, step = 0, np.asarray(x, np.float64), 1e-6
    r = features(x)
    assert (r < -0.05).any()
    for i in np.ndindex(2, 3, 1):
        moved = step * (np.arange(6).reshape(2, 3, 1) == np.ravel_multi_index(i, (2, 3, 1)))
        total = total + ((features(x + moved) - features(x - moved)) / (2 * step)) ** 2
    wanted = np.sum(np.sqrt(total) / np.abs(r), axis=0)
    np.testing.assert_allclose(scores(model, params, jnp.asarray(x, jnp.float32)), wanted, rtol=1e-3)


def test_dead_features_have_the_score_zero(three):
    """And go first, all together."""
    model = mlp((8, 8, 1), 10, hidden=20, activation_fn="relu")
    params = model.init(KEY)
    params["params"]["dense0"]["bias"] = params["params"]["dense0"]["bias"].at[:4].set(-100.0)
    found = np.asarray(scores(model, params, three.batch.x))
    assert (found[:4] == 0).all() and (found[4:] >= 0).all() and np.isfinite(found).all()


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_who_knows_of_soteria_shares_the_true_update_on_the_true_batch(fraction, three, small):
    seen = shared(soteria(fraction=fraction), three)
    view = three.view._replace(update=seen)
    adapted = SOTERIA.adapt(view)
    assert equal(shared(adapted, three), seen)
    other = small(3, seed=1)
    assert equal(shared(SOTERIA.belief(view, fraction=fraction), other), shared(adapted, other))
    mask = np.asarray(seen["head"]["kernel"] != 0).any(1)
    guess = shared(adapted, other)
    np.testing.assert_array_equal(
        guess["head"]["kernel"], np.where(mask[:, None], other.view.update["head"]["kernel"], 0)
    )
    np.testing.assert_array_equal(guess["dense0"]["kernel"], other.view.update["dense0"]["kernel"])


def test_the_mask_is_read_off_every_class(three):
    """A feature of which the first class says nothing is not taken for removed, as GGL's code takes it."""
    update = jax.tree.map(jnp.ones_like, three.view.update)
    update["head"]["kernel"] = update["head"]["kernel"].at[3, 0].set(0.0).at[5].set(0.0)
    adapted = SOTERIA.adapt(three.view._replace(update=update))
    gone = ~np.asarray(shared(adapted, three)["head"]["kernel"]).any(1)
    assert np.flatnonzero(gone).tolist() == [5]


@pytest.mark.parametrize("seen", ["defended", "zero"])
def test_attacks_can_differentiate_through_the_imitation(seen, three):
    """The gradient with respect to the image is finite, and that of the entries that are left."""
    update = shared(soteria(fraction=0.7), three)
    if seen == "zero":
        update = jax.tree.map(jnp.zeros_like, update)
    adapted = SOTERIA.adapt(three.view._replace(update=update))
    mask = (update["head"]["kernel"] != 0).any(1)[:, None]
    ones = jax.tree.map(jnp.ones_like, update)
    masked = ones | {"head": ones["head"] | {"kernel": mask * ones["head"]["kernel"]}}

    def total(defense, weights, x):
        return dot(weights, shared(defense, three._replace(batch=three.batch._replace(x=x))))

    got = jax.grad(lambda x: total(adapted, ones, x))(three.batch.x)
    wanted = jax.grad(lambda x: total(chain(), masked, x))(three.batch.x)
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    known = jax.grad(lambda x: total(soteria(fraction=0.7), ones, x))(three.batch.x)
    assert np.isfinite(known).all()


def test_it_knows_the_model_behind_every_client_and_defense(three):
    """And removes the same features of them all: those that the parameters sent choose."""
    wanted = ~np.asarray(shared(soteria(), three)["head"]["kernel"]).any(1)
    local = fedavg(three.model, cross_entropy, steps=3)
    assert 0.7 < wanted.mean() < 0.85
    inner = {
        "fedavg": (local, chain()),
        "clip": (three.client, clip(bound=0.1)),
        "noise": (three.client, gaussian(sigma=1.0)),
        "dp_sgd": (three.client, dp_sgd()),
        "all": (local, chain(clip(bound=0.1), prune(fraction=0.01), gaussian(sigma=0.1))),
        "twice": (three.client, soteria()),
    }
    for name, (client, defense) in inner.items():
        update = shared(chain(defense, soteria()), three._replace(client=client))
        got = ~np.asarray(update["head"]["kernel"]).any(1)
        np.testing.assert_array_equal(got, wanted, err_msg=name)
    outer = shared(chain(soteria(), clip(bound=0.1)), three)
    near(outer, shared(clip(bound=0.1), three._replace(client=of(shared(soteria(), three)))))
    assert np.linalg.norm(flat(outer)) <= 0.1 * (1 + 1e-6)


def test_a_convolutional_network_loses_features_of_its_dense_layer(three):
    model = lenet((8, 8, 1), 10)
    params = model.init(KEY)
    client = soteria(fraction=0.5)(fedsgd(model, cross_entropy))
    kernel = np.asarray(jax.jit(client)(KEY, params, three.batch)["head"]["kernel"])
    assert (~kernel.any(1)).mean() == pytest.approx(0.5, abs=1 / len(kernel))


def test_what_it_needs_is_named(three):
    own = on_update(lambda key, update: update)(of(three.view.update))
    with pytest.raises(InputError, match="soteria needs a client that tells its model.*Telling"):
        shared(soteria(), three._replace(client=own))
    mute = three.model._replace(features=None)
    with pytest.raises(InputError, match="a model that tells its features; give its Model a `features`"):
        shared(soteria(), three._replace(client=fedsgd(mute, cross_entropy)))
    short = {"dense0": three.view.update["dense0"]}
    with pytest.raises(InputError, match="declares its classifier at 'head'"):
        shared(soteria(), three._replace(client=Telling(three.model, of(short))))
    with pytest.raises(InputError, match="declares its classifier at 'head'"):
        shared(SOTERIA.adapt(three.view._replace(update=short)), three)
    assert telling(three.client, own).model is three.model


def test_the_batch_of_the_client_is_scored_one_by_one(three):
    """Scores are sums over images, so a batch's are the sums of its images' own."""
    alone = [scores(three.model, three.params, three.batch.x[i : i + 1]) for i in range(3)]
    got = scores(three.model, three.params, three.batch.x)
    np.testing.assert_allclose(got, np.sum(alone, axis=0), rtol=1e-5)
    one = three._replace(batch=Batch(three.batch.x[:1], three.batch.y[:1]))
    assert not equal(shared(soteria(), one), shared(soteria(), three))
