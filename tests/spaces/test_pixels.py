"""Where a search starts, what its points show, and where it may go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jleak.check import InputError
from jleak.spaces import STARTS, pixels

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


def test_a_uniform_start_spans_mean_and_std():
    start = pixels(SHAPE, mean=0.5, std=0.25, box=False, start="uniform").init(jax.random.key(0))
    assert stats.kstest(np.ravel(start), stats.uniform(0.25, 0.5).cdf).pvalue > 1e-3


def test_a_patterned_start_repeats_a_patch_of_its_own_in_every_image():
    start = pixels((50, 10, 7, 3), mean=0.5, std=0.25, box=False, start="patterned").init(jax.random.key(0))
    i, j = np.indices((10, 7))
    np.testing.assert_array_equal(start, start[:, i % 4, j % 4])
    patches = np.ravel(start[:, :4, :4])
    assert np.unique(patches).size > 0.99 * patches.size
    assert stats.kstest(patches, stats.norm(0.5, 0.25).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(), (40, 30, 3), (5, 1, 1, 3)])
def test_a_start_from_the_mean_is_that_image_and_noise_is_around_it(shape):
    mean = np.random.default_rng(0).uniform(0.3, 0.7, shape)
    start, noisy = (
        pixels(SHAPE, mean=mean, std=0.01, box=True, start=name).init(jax.random.key(0))
        for name in ("mean", "normal")
    )
    np.testing.assert_allclose(start, np.broadcast_to(mean, SHAPE), rtol=1e-6)
    assert 0.009 < np.std(noisy - start) < 0.011


def test_a_start_from_zeros_is_black():
    start = pixels(SHAPE, mean=0.5, std=0.25, box=True, start="zeros").init(jax.random.key(0))
    np.testing.assert_array_equal(start, jnp.zeros(SHAPE))


@pytest.mark.parametrize("name", STARTS)
def test_every_start_is_of_its_key_under_vmap_and_in_the_box(name):
    space = pixels((2, 6, 6, 1), mean=0.9, std=0.5, box=True, start=name)
    keys = jax.random.split(jax.random.key(0), 3)
    lanes = jax.vmap(space.init)(keys)
    np.testing.assert_array_equal(lanes, [space.init(key) for key in keys])
    assert lanes.min() >= 0 and lanes.max() <= 1
    assert np.all(lanes[0] == lanes[1]) == (name in ("mean", "zeros"))


@pytest.mark.parametrize("mean", [np.zeros((30, 40, 3)), np.zeros((1, 5, 40, 30, 3))])
def test_a_mean_of_another_shape_is_refused(mean):
    with pytest.raises(InputError, match=r"a number, or an image that fits \(40, 30, 3\)"):
        pixels(SHAPE, mean=mean, std=0.1, box=True)


def test_an_unknown_start_is_refused():
    with pytest.raises(InputError, match="unknown start 'patern'; did you mean 'patterned'"):
        pixels(SHAPE, mean=0.5, std=0.1, box=True, start="patern")
