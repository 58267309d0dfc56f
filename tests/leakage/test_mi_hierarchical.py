"""Mutual information of layers, by the chain rule, where it has a closed form."""

import jax
import numpy as np
import pytest

from jleak.check import InputError
from jleak.leakage.mutual_information import gaussian, hierarchical, ksg

N, SIGMAS = 4000, (1.0, 0.5, 2.0)


@pytest.fixture(scope="module")
def layers():
    """A vector of 2 and three views of it, each through noise of its own."""
    x = jax.random.normal(jax.random.key(0), (N, 2))
    noise = jax.random.normal(jax.random.key(1), (3, N, 2))
    return x, {f"layer{i}": x + s * noise[i] for i, s in enumerate(SIGMAS)}


def told(*sigmas):
    """I(X; those views): precisions add up, log(1 + sum 1/sigma^2)/2 a coordinate."""
    return np.log1p(sum(s**-2 for s in sigmas))


@pytest.mark.parametrize(("estimator", "atol"), [(gaussian, 0.05), (ksg, 0.4)])
def test_layers_have_their_closed_form_and_add_up(layers, estimator, atol):
    x, rows = layers
    if estimator is ksg:  # which falls short where dimensions are many, even below what fewer tell
        x, rows = x[:1000], {name: row[:1000] for name, row in list(rows.items())[:2]}
    found = jax.jit(lambda key: hierarchical(key, x, rows, estimator=estimator))(jax.random.key(2))
    assert list(found.own) == list(found.upto) == list(found.increments) == list(rows)
    for i, (name, s) in enumerate(zip(rows, SIGMAS, strict=False)):
        np.testing.assert_allclose(found.own[name].nats, told(s), atol=atol)
        np.testing.assert_allclose(found.upto[name].nats, told(*SIGMAS[: i + 1]), atol=atol)
        rise = told(*SIGMAS[: i + 1]) - told(*SIGMAS[:i])
        np.testing.assert_allclose(found.increments[name], rise, atol=atol)
        assert found.upto[name].dims.tolist() == [2, 2 * (i + 1)]
    np.testing.assert_allclose(sum(found.increments.values()), found.total.nats, rtol=1e-4)
    assert estimator is ksg or max(one.nats for one in found.own.values()) < found.total.nats
    assert abs(found.total.null) < 0.1


def test_a_layer_that_repeats_another_adds_nothing(layers):
    x, rows = layers
    first = rows["layer0"]
    found = hierarchical(jax.random.key(2), x, {"first": first, "again": -2 * first[:, ::-1]})
    np.testing.assert_allclose(found.increments["again"], 0, atol=0.01)
    np.testing.assert_allclose(found.own["again"].nats, found.own["first"].nats, atol=0.01)


def test_a_wide_layer_does_not_crowd_out_a_narrow_one(layers):
    """Each is reduced by itself: a hundred loud columns of noise leave the one of a bias its place."""
    x, rows = layers
    noise = 100 * jax.random.normal(jax.random.key(3), (N, 100))
    found = hierarchical(jax.random.key(2), x, {"wide": noise, "narrow": rows["layer1"]}, dims=(2, 2))
    np.testing.assert_allclose(found.increments["narrow"], told(0.5), atol=0.05)
    np.testing.assert_allclose(found.own["wide"].nats, 0, atol=0.02)
    shares = [found.own[name].explained for name in ("wide", "narrow")]
    assert shares[0][1] < 0.05
    np.testing.assert_allclose(shares[1], 1, rtol=1e-4)
    np.testing.assert_allclose(found.total.explained, [1, (shares[0][1] + shares[1][1]) / 2], rtol=1e-4)


def test_settings_reach_the_estimator_and_bad_layers_are_refused(layers):
    x, rows = layers
    key = jax.random.key(0)
    with pytest.raises(InputError, match="layers must name at least one layer, got none"):
        hierarchical(key, x, {})
    with pytest.raises(InputError, match="neighbors must be >= 1"):
        hierarchical(key, x, rows, estimator=ksg, neighbors=0)
    with pytest.raises(InputError, match="x and g must be pairs, got 4000 rows of x and 10 of g"):
        hierarchical(key, x, {"short": rows["layer0"][:10]})
    with pytest.raises(InputError, match=r"conv must have a row a pair, got shape \(4000, 2, 1\)"):
        hierarchical(key, x, {"conv": rows["layer0"][..., None]})
    with pytest.raises(InputError, match="dims of x must be <= its columns and rows, got 3"):
        hierarchical(key, x, rows, dims=(3, 2))
