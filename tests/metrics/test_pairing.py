"""Pairing against SciPy's linear_sum_assignment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from jleak.check import InputError
from jleak.metrics import pair

SIZES = [1, 2, 8, 32]
jitted_pair, fast_pair = jax.jit(pair), jax.jit(jax.vmap(pair))


def costs(x, truth):
    """(truth, x) matrix of mean squared errors, float64."""
    return ((truth.astype(np.float64)[:, None] - x[None]) ** 2).mean((2, 3, 4))


def optimum(x, truth):
    cost = costs(x, truth)
    return cost[linear_sum_assignment(cost)].sum()


def noisy_batches(n, count, level, seed=0):
    """Reconstructions of shuffled truths; also with pixels rounded, so that ties occur."""
    rng = np.random.default_rng(seed)
    truth = rng.random((count, n, 4, 4, 1))
    x = np.stack([images[rng.permutation(n)] for images in truth]) + level * rng.normal(size=truth.shape)
    x[::3], truth[::3] = np.round(x[::3]), np.round(truth[::3])
    return x.astype(np.float32), truth.astype(np.float32)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("level", [0.1, 2.0])
def test_agrees_with_scipy_under_jit_and_vmap(n, level):
    x, truth = noisy_batches(n, 30, level)
    for perm, one, other in zip(np.asarray(fast_pair(x, truth)), x, truth, strict=True):
        assert sorted(perm) == list(range(n))
        cost = costs(one, other)[np.arange(n), perm].sum()
        assert cost == pytest.approx(optimum(one, other), rel=1e-5)


@pytest.mark.parametrize("n", [1, 8])
def test_undoes_a_shuffle(n):
    rng = np.random.default_rng(n)
    truth, order = jnp.array(rng.random((n, 8, 8, 1)), jnp.float32), rng.permutation(n)
    perm = jitted_pair(truth[order], truth)
    assert perm.shape == (n,)
    assert jnp.issubdtype(perm.dtype, jnp.integer)
    np.testing.assert_array_equal(truth[order][perm], truth)
    np.testing.assert_array_equal(order[perm], np.arange(n))  # labels travel along


def test_is_optimal_where_the_nearest_image_is_not():
    """Both reconstructions are nearest to the first truth; greedily, the second would pay .81."""
    x = jnp.array([0.4, 0.1]).reshape(2, 1, 1, 1)
    truth = jnp.array([0.3, 1.0]).reshape(2, 1, 1, 1)
    np.testing.assert_array_equal(pair(x, truth), [1, 0])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("broken", [[0], [3], [1, 4], [0, 1, 2, 3, 4]])
def test_broken_images_get_what_is_left(poison, broken):
    rng = np.random.default_rng(0)
    truth = rng.random((5, 4, 4, 1)).astype(np.float32)
    order = rng.permutation(5)
    x = truth[order] + 0.01 * rng.normal(size=truth.shape).astype(np.float32)
    x[broken, 1, 1] = poison
    perm = np.asarray(jitted_pair(x, truth))
    assert sorted(perm) == list(range(5))
    whole = [i for i in range(5) if perm[i] not in broken]
    assert len(whole) == 5 - len(broken)
    np.testing.assert_array_equal(order[perm[whole]], whole)


def test_the_finite_images_are_still_paired_best():
    x, truth = noisy_batches(8, 20, 0.5)
    x[:, 2] = np.nan
    for perm, one, other in zip(np.asarray(fast_pair(x, truth)), x, truth, strict=True):
        cost = np.nan_to_num(costs(one, other), nan=0.0)
        assert cost[np.arange(8), perm].sum() == pytest.approx(
            cost[linear_sum_assignment(cost)].sum(), rel=1e-5
        )


@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 8, 8, 3), (8, 8, 1)])
def test_batches_that_do_not_fit_are_refused(shape):
    with pytest.raises(InputError, match="of one shape"):
        pair(jnp.zeros((2, 8, 8, 1)), jnp.zeros(shape))
