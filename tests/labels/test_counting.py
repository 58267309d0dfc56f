"""From real numbers to counts and back, against oracles that do it the slow way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jleak.labels.counting import apportion, counts_of, greedy, labels_of, onto_simplex, sampled


def draws(seed, count, n):
    return np.random.default_rng(seed).normal(0.8, 1.5, (count, n)).astype(np.float32)


def projected(x, total):
    """The point of the simplex nearest to x, by a bisection on what is taken off each entry."""
    x = x.astype(np.float64)
    low, high = x.min() - total, x.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(x - middle, 0).sum() > total else (low, middle)
    return np.maximum(x - low, 0)


def whole_numbers(n, total):
    """Every vector of n whole numbers >= 0 of that sum."""
    return np.array([c for c in itertools.product(range(total + 1), repeat=n) if sum(c) == total])


@pytest.mark.parametrize("total", [1, 4, 7])
def test_apportion_is_the_nearest_of_all_whole_vectors_to_the_simplex_point(total):
    """Largest remainders minimise the distance to a point of the right sum, in every norm."""
    known, shares = whole_numbers(4, total), draws(total, 100, 4)
    found = np.asarray(jax.jit(jax.vmap(lambda x: apportion(x, total)))(shares))
    assert found.dtype == np.int32
    assert (found >= 0).all() and (found.sum(1) == total).all()
    for x, counts in zip(shares, found, strict=True):
        distance = ((known - projected(x, total)) ** 2).sum(1)
        assert counts.tolist() == known[distance.argmin()].tolist()


def test_apportion_keeps_whole_numbers_and_rounds_up_the_largest_remainder():
    assert apportion(jnp.array([3.0, 0.0, 5.0]), 8).tolist() == [3, 0, 5]
    assert apportion(jnp.array([1.3, 1.1, 1.6]), 4).tolist() == [1, 1, 2]
    assert apportion(jnp.full(4, 0.25), 1).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("total", [1, 7, 4096])
@pytest.mark.parametrize(
    "shares",
    [
        [np.nan] * 5,
        [np.inf, 1.0, -np.inf, np.nan, 0.0],
        [0.0] * 5,
        [-5.0] * 5,
        [1e30, -1e30, 0.0, 3e38, -3e38],
        [1e9, 1e9, 0.0, 0.0, 0.0],
    ],
)
def test_apportion_gives_the_total_whatever_it_is_given(shares, total):
    found = np.asarray(apportion(jnp.array(shares), total))
    assert found.sum() == total and (found >= 0).all()


def test_onto_simplex_against_scipy():
    for x in draws(0, 12, 5):
        solved = minimize(
            lambda p, x=x: ((p - x) ** 2).sum(),
            np.full(5, 0.6),
            jac=lambda p, x=x: 2 * (p - x),
            bounds=[(0, None)] * 5,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 3, "jac": lambda p: np.ones(5)},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        np.testing.assert_allclose(onto_simplex(jnp.asarray(x), 3.0), solved.x, atol=1e-5)


def test_onto_simplex_leaves_its_own_points_alone():
    x = jnp.array([0.5, 0.0, 2.5])
    np.testing.assert_allclose(onto_simplex(x, 3.0), x, atol=1e-6)


def slow_greedy(values, impact, counts, total):
    values, counts = list(values), list(counts)
    while sum(counts) < total:
        c = values.index(min(values))
        values[c] = np.float32(values[c] - impact[c])
        counts[c] += 1
    return counts


@pytest.mark.parametrize("total", [0, 3, 9])
def test_greedy_against_a_loop(total):
    """From counts below and above the total; one impact for all classes, or one each."""
    rng = np.random.default_rng(total)
    values = rng.normal(size=(60, 6)).astype(np.float32)
    impact = -rng.uniform(0.1, 1, (60, 6)).astype(np.float32)
    counts = rng.integers(0, 2, (60, 6)).astype(np.int32)
    found = jax.jit(jax.vmap(lambda *a: greedy(*a, total)))(values, impact, counts)
    assert found.tolist() == [slow_greedy(*a, total) for a in zip(values, impact, counts, strict=True)]
    found = jax.jit(jax.vmap(lambda v, i, c: greedy(v, i, c, total)))(values, impact[:, 0], counts)
    one = np.repeat(impact[:, :1], 6, axis=1)
    assert found.tolist() == [slow_greedy(*a, total) for a in zip(values, one, counts, strict=True)]


@pytest.mark.parametrize(("n", "classes"), [(1, 2), (5, 10), (64, 10), (7, 100)])
def test_labels_and_counts_are_each_others_inverse(n, classes):
    y = np.random.default_rng(n).integers(0, classes, (20, n))
    counts = jax.jit(jax.vmap(lambda y: counts_of(y, classes)))(jnp.asarray(y))
    assert counts.tolist() == [np.bincount(row, minlength=classes).tolist() for row in y]
    labels = jax.jit(jax.vmap(lambda c: labels_of(c, n)))(counts)
    np.testing.assert_array_equal(labels, np.sort(y))


def test_sampled_follows_its_shares():
    keys = jax.random.split(jax.random.key(0), 500)
    found = jax.vmap(lambda key: sampled(key, jnp.array([0.5, 0.3, 0.2, 0.0]), 40))(keys)
    assert (found.sum(1) == 40).all()
    # 20,000 draws: the standard error of a share is at most 0.0035
    np.testing.assert_allclose(found.mean(0) / 40, [0.5, 0.3, 0.2, 0.0], atol=0.014)
