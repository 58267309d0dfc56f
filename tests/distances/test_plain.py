"""Distances against NumPy in float64 and vectors made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import ALL, flat, update

from jleak import distances
from jleak.check import InputError


def numpy_distance(name, a, b):
    a, b = flat(a), flat(b)
    if name == "l2":
        return np.sum((a - b) ** 2)
    if name == "l1":
        return np.sum(np.abs(a - b))
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_numpy(distance, seed):
    a, b = update(seed), update(seed + 100)
    np.testing.assert_allclose(distance(a, b), numpy_distance(distance.__name__, a, b), rtol=1e-5)


@pytest.mark.parametrize("distance", ALL)
def test_is_symmetric_and_zero_for_equal_updates(distance):
    a, b = update(0), update(1)
    assert distance(a, b) == distance(b, a)
    assert distance(a, a) == pytest.approx(0.0, abs=1e-6)
    assert distance(a, b) > 0.1


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (distances.l2, 20.0),
        (distances.mean_l2, 10.0),
        (distances.l1, 6.0),
        (distances.cosine, 1 - 12 / np.sqrt(30 * 14)),
    ],
)
def test_hand_made_vectors(distance, expected):
    a = {"w": jnp.array([5.0, 1.0]), "b": jnp.array(2.0)}
    b = {"w": jnp.array([1.0, 3.0]), "b": jnp.array(2.0)}
    np.testing.assert_allclose(distance(a, b), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 7.0, 1e5])
def test_cosine_ignores_length(scale):
    a, b = update(0), update(1)
    longer = jax.tree.map(lambda leaf: scale * leaf, a)
    np.testing.assert_allclose(distances.cosine(longer, b), distances.cosine(a, b), rtol=1e-5)
    assert distances.cosine(longer, a) == pytest.approx(0.0, abs=1e-6)


def test_cosine_of_opposite_and_orthogonal_updates():
    a = update(0)
    assert distances.cosine(a, jax.tree.map(jnp.negative, a)) == pytest.approx(2.0, abs=1e-6)
    x, y = {"w": jnp.array([1.0, 0.0]), "b": jnp.zeros(1)}, {"w": jnp.zeros(2), "b": jnp.ones(1)}
    assert distances.cosine(x, y) == 1.0


def test_cosine_is_over_the_whole_tree_and_not_a_mean_of_tensors():
    a = {"w": jnp.array([10.0]), "b": jnp.array([1.0])}
    b = {"w": jnp.array([10.0]), "b": jnp.array([-1.0])}
    assert distances.cosine(a, b) == pytest.approx(1 - 99 / 101, rel=1e-4)  # a mean of tensors gives 1


def test_l1_and_l2_grow_with_length_as_they_should():
    a, b = update(0), update(1)
    double = [jax.tree.map(lambda leaf: 2 * leaf, tree) for tree in (a, b)]
    np.testing.assert_allclose(distances.l1(*double), 2 * distances.l1(a, b), rtol=1e-6)
    np.testing.assert_allclose(distances.l2(*double), 4 * distances.l2(a, b), rtol=1e-6)


def test_gradients_have_their_closed_forms():
    a, b = update(0), update(1)
    u, v = flat(a), flat(b)
    norms = np.linalg.norm(u) * np.linalg.norm(v)
    closed = {
        distances.l2: 2 * (u - v),
        distances.l1: np.sign(u - v),
        distances.cosine: u * (u @ v) / (norms * (u @ u)) - v / norms,
    }
    for distance, expected in closed.items():
        np.testing.assert_allclose(flat(jax.jit(jax.grad(distance))(a, b)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("zero", ["first", "second", "both", "equal"])
def test_two_derivatives_are_finite_where_an_update_is_zero(distance, zero):
    a, b = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, -1.0])}
    a = jax.tree.map(jnp.zeros_like, a) if zero in ("first", "both") else a
    b = jax.tree.map(jnp.zeros_like, b) if zero in ("second", "both") else (a if zero == "equal" else b)
    both = (0, 1)
    functions = [distance, jax.grad(distance, argnums=both), jax.hessian(distance, argnums=both)]
    derivatives = jax.jit(lambda a, b: [fn(a, b) for fn in functions])(a, b)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(derivatives))


def test_cosine_with_a_zero_update_is_one():
    a = update(0)
    assert distances.cosine(jax.tree.map(jnp.zeros_like, a), a) == 1.0


@pytest.mark.parametrize("distance", ALL)
def test_jit_and_vmap_agree_with_the_plain_call(distance):
    ones, others = [update(s) for s in range(3)], [update(s + 10) for s in range(3)]
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (ones, others)]
    got = jax.jit(jax.vmap(distance))(*stacks)
    np.testing.assert_allclose(got, [distance(a, b) for a, b in zip(ones, others, strict=True)], rtol=1e-5)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)},
            r"w: \(3,\) and \(3, 1\); compare updates of one model",
        ),
        ({"w": jnp.zeros(3)}, r"b: \(1,\) and missing"),
        ({"w": jnp.zeros(3), "b": jnp.zeros(1), "c": jnp.zeros(1)}, r"c: missing and \(1,\)"),
    ],
)
def test_updates_of_two_models_are_refused(distance, other, message):
    with pytest.raises(InputError, match=message):
        distance({"w": jnp.zeros(3), "b": jnp.zeros(1)}, other)
