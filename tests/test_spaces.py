"""Where a search starts, what its points show, and where it may go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jleak.check import InputError
from jleak.spaces import pixels

SHAPE = (5, 40, 30, 3)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.25)])
def test_pixels_start_as_the_noise_that_they_state(mean, std):
    start = pixels(SHAPE, mean=mean, std=std, box=False).init(jax.random.key(0))
    assert start.shape == SHAPE
    assert stats.kstest(np.ravel(start), stats.norm(mean, std).cdf).pvalue > 1e-3


def test_a_box_holds_start_and_steps_and_moves_nothing_inside():
    space = pixels(SHAPE, mean=0.5, std=1.0, box=True)
    start = space.init(jax.random.key(0))
    assert start.min() == 0 and start.max() == 1
    x = jnp.array([-3.0, 0.0, 0.25, 1.0, 7.0])
    np.testing.assert_array_equal(space.project(x), [0, 0, 0.25, 1, 1])
    np.testing.assert_array_equal(pixels(SHAPE, mean=0.5, std=1.0, box=False).project(x), x)


def test_pixels_are_the_images_with_derivative_one():
    space = pixels((1, 2, 2, 1), mean=0.5, std=0.25, box=True)
    x = 3 * space.init(jax.random.key(1))
    np.testing.assert_array_equal(space.decode(x), x)
    np.testing.assert_array_equal(jax.grad(lambda x: space.decode(x).sum())(x), jnp.ones_like(x))


@pytest.mark.parametrize("std", [-0.1, float("nan")])
def test_a_spread_that_cannot_be_is_refused(std):
    with pytest.raises(InputError, match="std must be"):
        pixels(SHAPE, mean=0.5, std=std, box=True)
