"""Penalties against NumPy in float64 and images made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import penalties
from jleak.check import InputError

ALL = [penalties.total_variation, penalties.l2]
SHAPES = [(1, 8, 8, 1), (3, 5, 7, 3), (2, 32, 32, 5)]


def images(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_agrees_with_numpy(shape):
    x = images(shape)
    wide = x.astype(np.float64)
    down = np.abs(wide[:, 1:] - wide[:, :-1]).mean()
    across = np.abs(wide[:, :, 1:] - wide[:, :, :-1]).mean()
    np.testing.assert_allclose(penalties.total_variation(jnp.array(x)), down + across, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_agrees_with_numpy(shape):
    x = images(shape)
    np.testing.assert_allclose(penalties.l2(jnp.array(x)), np.mean(x.astype(np.float64) ** 2), rtol=1e-5)


def test_total_variation_of_images_made_by_hand():
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 5)[None, :, None, None], (2, 5, 4, 3))
    board = jnp.array(np.indices((6, 6)).sum(0) % 2, jnp.float32)[None, :, :, None]
    assert penalties.total_variation(jnp.full((2, 8, 8, 3), 0.7)) == 0.0
    assert penalties.total_variation(ramp) == pytest.approx(0.25)
    assert penalties.total_variation(ramp.transpose(0, 2, 1, 3)) == pytest.approx(0.25)
    assert penalties.total_variation(board) == pytest.approx(2.0)


def test_total_variation_prefers_the_smooth_image():
    yy, xx = np.mgrid[:16, :16] / 16
    smooth = jnp.array(0.5 + 0.4 * np.sin(3 * xx + 2 * yy), jnp.float32)[None, :, :, None]
    noisy = smooth + 0.1 * jax.random.normal(jax.random.key(0), smooth.shape)
    assert penalties.total_variation(smooth) < 0.5 * penalties.total_variation(noisy)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 1, 3, 1), 0.5), ((1, 3, 1, 1), 0.5), ((2, 1, 1, 3), 0.0)]
)
def test_total_variation_of_one_pixel_wide_images(shape, expected):
    x = jnp.broadcast_to(jnp.array([0.0, 1.0, 1.0]), (2, 3)).ravel()[: np.prod(shape)].reshape(shape)
    assert penalties.total_variation(x) == pytest.approx(expected)
    assert np.all(np.isfinite(jax.jit(jax.grad(penalties.total_variation))(x)))


@pytest.mark.parametrize("penalty", ALL)
def test_weight_does_not_depend_on_the_number_of_images(penalty):
    x = jnp.array(images((2, 8, 8, 3)))
    np.testing.assert_allclose(penalty(jnp.concatenate([x, x, x])), penalty(x), rtol=1e-6)


@pytest.mark.parametrize("penalty", ALL)
@pytest.mark.parametrize("flat", [True, False])
def test_gradient_is_finite_and_agrees_with_differences(penalty, flat):
    x = jnp.full((2, 4, 4, 2), 0.3) if flat else jnp.array(images((2, 4, 4, 2)))
    gradient, hessian = jax.jit(lambda x: (jax.grad(penalty)(x), jax.hessian(penalty)(x)))(x)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(hessian))
    if not flat:
        step = images(x.shape, 1) - 0.5
        ends = [float(penalty(x + h * step)) for h in (1e-3, -1e-3)]
        assert float(jnp.vdot(gradient, step)) == pytest.approx(
            (ends[0] - ends[1]) / 2e-3, rel=0.02, abs=1e-4
        )


@pytest.mark.parametrize("penalty", ALL)
def test_jit_and_vmap_agree_with_the_plain_call(penalty):
    x = jnp.array(images((4, 2, 6, 6, 3)))
    np.testing.assert_allclose(jax.jit(jax.vmap(penalty))(x), [penalty(one) for one in x], rtol=1e-5)


@pytest.mark.parametrize("penalty", ALL)
def test_one_image_without_a_batch_axis_is_refused(penalty):
    with pytest.raises(
        InputError, match=r"x must be images \(n, h, w, c\), got \(8, 8, 1\); write x\[None\]"
    ):
        penalty(jnp.zeros((8, 8, 1)))
