"""Pytree algebra agrees with NumPy on the flattened vectors, and has finite derivatives at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import tree
from jleak.check import InputError


def some(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "w": jnp.asarray(scale * rng.normal(size=(7, 5)), jnp.float32),
        "deep": [jnp.asarray(scale * rng.normal(size=11), jnp.float32), jnp.asarray(scale, jnp.float32)],
    }


def flat(a):
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(a)])


A, B = some(0), some(1)
ZERO = jax.tree.map(jnp.zeros_like, A)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_dot_norm_and_cosine_are_those_of_the_vectors(scale):
    a, b = some(0, scale), some(1, scale)
    u, v = flat(a), flat(b)
    np.testing.assert_allclose(tree.dot(a, b), u @ v, rtol=1e-5)
    np.testing.assert_allclose(tree.norm(a), np.linalg.norm(u), rtol=1e-6)
    np.testing.assert_allclose(tree.cosine(a, b), u @ v / np.linalg.norm(u) / np.linalg.norm(v), rtol=1e-5)
    assert tree.size(a) == u.size


def test_cosine_of_trees_along_and_against():
    np.testing.assert_allclose(tree.cosine(A, jax.tree.map(lambda u: 5 * u, A)), 1, rtol=1e-6)
    np.testing.assert_allclose(tree.cosine(A, jax.tree.map(lambda u: -u / 9, A)), -1, rtol=1e-6)
    assert tree.cosine(A, ZERO) == tree.cosine(ZERO, ZERO) == 0


@pytest.mark.parametrize(
    "fn",
    [
        tree.norm,
        lambda a: tree.cosine(a, B),
        lambda a: tree.cosine(a, a),
        lambda a: tree.dot(tree.unit(a), B),
    ],
)
def test_derivatives_are_finite_at_zero(fn):
    """Also the second ones, which attacks take."""
    assert np.isfinite(flat(jax.grad(fn)(ZERO))).all()
    twice = jax.grad(lambda a: tree.dot(jax.grad(fn)(a), B))(ZERO)
    assert np.isfinite(flat(twice)).all()


def test_derivatives_are_right_away_from_zero():
    u, v = flat(A), flat(B)
    n, m = np.linalg.norm(u), np.linalg.norm(v)
    np.testing.assert_allclose(flat(jax.grad(tree.norm)(A)), u / n, rtol=1e-5)
    slope = jax.grad(lambda a: tree.cosine(a, B))(A)
    np.testing.assert_allclose(flat(slope), v / (n * m) - (u @ v) * u / (n**3 * m), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_unit_has_the_direction_and_length_one(scale):
    a = some(0, scale)
    np.testing.assert_allclose(flat(tree.unit(a)), flat(a) / np.linalg.norm(flat(a)), rtol=1e-5)
    assert np.array_equal(flat(tree.unit(ZERO)), flat(ZERO))


def test_difference_subtracts_trees_that_match():
    np.testing.assert_allclose(flat(tree.difference(A, B)), flat(A) - flat(B), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"w": A["w"], "deep": [A["deep"][0]]}, r"got deep\.1: \(\) and missing"),
        ({**A, "extra": jnp.ones(2)}, r"got extra: missing and \(2,\)"),
        ({**A, "w": jnp.ones((5, 7))}, r"got w: \(7, 5\) and \(5, 7\); compare updates of one model"),
    ],
)
def test_trees_that_do_not_match_are_refused_by_the_leaf_that_differs(other, message):
    with pytest.raises(InputError, match=message):
        tree.difference(A, other)


def test_safe_sqrt_is_the_root_and_zero_at_zero():
    x = jnp.array([0.0, 1e-30, 0.25, 9.0])
    np.testing.assert_allclose(tree.safe_sqrt(x), np.sqrt(np.asarray(x, np.float64)), rtol=1e-6)
    slopes = jax.vmap(jax.grad(tree.safe_sqrt))(x)
    assert slopes[0] == 0
    np.testing.assert_allclose(slopes[2:], [1, 1 / 6], rtol=1e-6)


def test_what_is_not_a_number_has_no_length():
    """A broken reconstruction must never look like a perfect one."""
    broken = {"w": jnp.array([jnp.nan, 1.0])}
    assert np.isnan(tree.norm(broken)) and np.isnan(tree.safe_sqrt(jnp.nan))
    assert np.isinf(tree.safe_sqrt(jnp.inf))


def test_select_takes_one_tree_whole():
    for keep, wanted in ((True, A), (False, B)):
        got = jax.jit(tree.select)(keep, A, B)
        assert np.array_equal(flat(got), flat(wanted))
    lanes = jax.vmap(tree.select, (0, None, None))(jnp.array([True, False]), A, B)
    np.testing.assert_array_equal(lanes["w"], jnp.stack([A["w"], B["w"]]))


def test_select_keeps_what_is_not_taken_out_of_the_numbers():
    broken = jax.tree.map(lambda u: u * jnp.nan, A)
    assert np.array_equal(flat(tree.select(False, broken, B)), flat(B))


def test_draws_are_shaped_like_the_tree_and_independent_between_leaves():
    like = {
        name: jnp.zeros((10, 100), dtype)
        for name, dtype in zip("abc", ("float32", "float16", "float32"), strict=True)
    }
    noise = tree.draws(jax.random.normal, jax.random.key(0), like)
    assert jax.tree.map(lambda u: (u.shape, u.dtype), noise) == jax.tree.map(
        lambda u: (u.shape, u.dtype), like
    )
    correlation = np.corrcoef(np.stack([np.ravel(u).astype(float) for u in jax.tree.leaves(noise)]))
    assert np.abs(correlation - np.eye(3)).max() < 0.15


def test_streams_are_apart_from_each_other_and_from_the_key():
    key = jax.random.key(0)
    names = ["data", "model", "client", "attack", "init", "steps", "inner", "update"]
    keys = [key, *(tree.stream(key, name) for name in names), tree.stream(jax.random.key(1), "data")]
    assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == len(keys)
    assert jnp.array_equal(jax.random.key_data(tree.stream(key, "data")), jax.random.key_data(keys[1]))
