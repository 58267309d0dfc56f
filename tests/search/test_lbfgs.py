"""L-BFGS of one evaluation a step, against the textbook's two loops in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.search.lbfgs import Pairs, inverse_hessian, lbfgs, remembered


def two_loops(s, y, g):
    """Nocedal and Wright, algorithm 7.4; pairs oldest first."""
    q, alphas = np.array(g, np.float64), []
    for a, b in zip(s[::-1], y[::-1], strict=True):
        alphas.append(a @ q / (a @ b))
        q -= alphas[-1] * b
    q *= s[-1] @ y[-1] / (y[-1] @ y[-1])
    for a, b, alpha in zip(s, y, alphas[::-1], strict=True):
        q += (alpha - b @ q / (a @ b)) * a
    return q


@pytest.mark.parametrize("seen", [1, 3, 5, 12])
def test_the_compact_form_is_the_two_loops(seen):
    """Also when the memory of five has gone round."""
    rng = np.random.default_rng(seen)
    root = rng.normal(size=(8, 8))
    hessian = root @ root.T + np.eye(8)
    s = rng.normal(size=(seen, 8))
    y, g = s @ hessian, rng.normal(size=8)
    pairs = Pairs(*jnp.zeros((2, 5, 8)), *jnp.zeros((2, 5, 5)), jnp.array(0))
    for a, b in zip(s, y, strict=True):
        pairs = remembered(pairs, jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32), jnp.array(True))
    wanted = two_loops(s[-5:], y[-5:], g)
    np.testing.assert_allclose(inverse_hessian(pairs, jnp.asarray(g)), wanted, rtol=2e-3, atol=2e-4)


def test_without_pairs_it_goes_down_the_gradient():
    pairs = Pairs(*jnp.zeros((2, 5, 8)), *jnp.zeros((2, 5, 5)), jnp.array(0))
    np.testing.assert_array_equal(inverse_hessian(pairs, jnp.arange(8.0)), jnp.arange(8.0))


@pytest.mark.parametrize("told, sign", [(False, 1.0), (True, -1.0)])
def test_pairs_that_are_not_told_or_curve_downwards_are_left_out(told, sign):
    pairs = Pairs(*jnp.zeros((2, 5, 8)), *jnp.zeros((2, 5, 5)), jnp.array(0))
    after = remembered(pairs, jnp.ones(8), sign * jnp.ones(8), jnp.array(told))
    assert all(np.array_equal(a, b) for a, b in zip(pairs, after, strict=True))


def descent(value, x, steps, **settings):
    tx = lbfgs(**settings)

    def step(carry, _):
        x, state = carry
        loss, grad = jax.value_and_grad(value)(x)
        move, state = tx.update(grad, state, x, value=loss)
        return (x + move, state), (loss, state.level)

    return jax.lax.scan(step, (x, tx.init(x)), None, length=steps)


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_what_is_accepted_only_goes_down():
    (x, _), (losses, levels) = jax.jit(lambda x: descent(rosenbrock, x, 150))(jnp.full(6, -1.2))
    assert np.all(np.diff(levels) <= 0) and np.any(np.diff(losses) > 0)
    np.testing.assert_allclose(x, 1.0, atol=1e-2)


def test_an_ill_conditioned_bowl_needs_few_evaluations():
    """Condition 1e4 in 30 dimensions: gradient descent would need tens of thousands."""
    scales = jnp.logspace(0, 4, 30)
    _, (_, levels) = jax.jit(lambda x: descent(lambda x: jnp.sum(scales * x**2), x, 150))(jnp.ones(30))
    assert levels[-1] < 1e-4 * levels[0]


def test_lanes_do_not_wait_for_each_other():
    starts = jax.random.normal(jax.random.key(0), (4, 6))
    run = jax.jit(lambda x: descent(rosenbrock, x, 25)[1][1])
    np.testing.assert_allclose(
        jax.vmap(run)(starts), jnp.stack([run(x) for x in starts]), rtol=1e-2, atol=1e-4
    )


def test_points_that_are_not_finite_are_left():
    def cliff(x):
        return jnp.where(x[0] < 0.0, jnp.nan, jnp.sum((x - 0.01) ** 2))

    (_, state), (_, levels) = jax.jit(lambda x: descent(cliff, x, 60, lr=30.0))(jnp.array([3.0, -4.0]))
    assert np.isfinite(levels).all() and levels[-1] < 1e-3 * levels[0]
    assert np.isfinite(state.origin).all()


def test_at_the_bottom_it_stays():
    (x, _), _ = descent(lambda x: jnp.sum(x**2), jnp.zeros(3), 5)
    np.testing.assert_array_equal(x, 0.0)


def test_trees_keep_their_structure():
    def value(tree):
        return jnp.sum((tree["a"] - 1.0) ** 2) + jnp.sum((tree["b"] + 2.0) ** 2)

    tree = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(3)}
    tx, state = lbfgs(), lbfgs().init(tree)
    for _ in range(10):
        loss, grad = jax.value_and_grad(value)(tree)
        move, state = tx.update(grad, state, tree, value=loss)
        tree = jax.tree.map(jnp.add, tree, move)
    np.testing.assert_allclose(tree["a"], 1.0, atol=1e-4)
    np.testing.assert_allclose(tree["b"], -2.0, atol=1e-4)


def test_what_it_needs_is_said():
    with pytest.raises(InputError, match="memory must be >= 1"):
        lbfgs(memory=0)
    with pytest.raises(InputError, match=r"call update\(grads, state, point, value=...\)"):
        lbfgs().update(jnp.ones(2), lbfgs().init(jnp.ones(2)), jnp.ones(2))
