"""Image metrics against scikit-image and NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from jleak import metrics
from jleak.check import InputError

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (10, 13, 2), (11, 11, 1), (3, 3, 1), (4, 9, 2)]
mse, psnr, mse_pm1, psnr_pm1, ssim = map(
    jax.jit, (metrics.mse, metrics.psnr, metrics.mse_pm1, metrics.psnr_pm1, metrics.ssim)
)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noise(shape, rng):
    return rng.random(shape), rng.random(shape)


def ramps(shape, rng):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return (xx / shape[1])[..., None] * np.ones(shape), (yy / shape[0])[..., None] * np.ones(shape)


def edges(shape, rng):
    """Flat dark and bright halves, shifted by one pixel: where float32 variances cancel."""
    xx = np.mgrid[: shape[0], : shape[1]][1][..., None] * np.ones(shape)
    return (xx > shape[1] / 2) * 1.0, (xx > shape[1] / 2 - 1) * 0.98


def bright(shape, rng):
    return np.full(shape, 0.9), 0.9 + 1e-3 * rng.normal(size=shape)


def dark(shape, rng):
    return 1e-3 * rng.random(shape), np.zeros(shape)


def grain(shape, rng):
    """Two unrelated faint textures on bright grey: small variances of large numbers."""
    return 0.9 + 0.03 * rng.normal(size=shape), 0.9 + 0.03 * rng.normal(size=shape)


def waves(shape, rng):
    yy, xx = np.mgrid[: shape[0], : shape[1]] / shape[0]
    truth = 0.5 + 0.4 * np.sin(5 * xx + 9 * yy)[..., None] * np.ones(shape)
    return np.clip(truth + 0.1 * rng.normal(size=shape), 0, 1), truth


every_picture = pytest.mark.parametrize("picture", [noise, ramps, edges, bright, dark, grain, waves])


def pairs(picture, shape, n=3):
    """Float32 batches (x, truth)."""
    rng = np.random.default_rng(0)
    drawn = [picture(shape, rng) for _ in range(n)]
    return tuple(np.stack(part).astype(np.float32) for part in zip(*drawn, strict=True))


def skimage_ssim(x, truth):
    """scikit-image on float64, with the sigma that jleak documents for this size."""
    radius = min(5, (min(x.shape[:2]) - 1) // 2)
    return structural_similarity(
        x.astype(np.float64),
        truth.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5 if radius == 5 else radius / 3.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )


@every_shape
@every_picture
def test_ssim_agrees_with_scikit_image(picture, shape):
    x, truth = pairs(picture, shape)
    expected = [skimage_ssim(a, b) for a, b in zip(x, truth, strict=True)]
    np.testing.assert_allclose(ssim(x, truth), expected, rtol=0, atol=1e-5)


@every_shape
@every_picture
def test_mse_and_psnr_agree_with_scikit_image(picture, shape):
    x, truth = pairs(picture, shape)
    wide = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(x, truth, strict=True)]
    errors = [mean_squared_error(a, b) for a, b in wide]
    ratios = [peak_signal_noise_ratio(b, a, data_range=1.0) for a, b in wide]
    np.testing.assert_allclose(mse(x, truth), errors, rtol=1e-5)
    np.testing.assert_allclose(psnr(x, truth), ratios, rtol=1e-5)


@every_shape
@every_picture
def test_pm1_metrics_are_those_of_images_mapped_to_minus_one_to_one(picture, shape):
    x, truth = pairs(picture, shape)
    error = (2.0 * x.astype(np.float64) - 1) - (2.0 * truth.astype(np.float64) - 1)
    expected = np.mean(error**2, axis=(1, 2, 3))
    np.testing.assert_allclose(mse_pm1(x, truth), expected, rtol=1e-5)
    np.testing.assert_allclose(psnr_pm1(x, truth), 10 * np.log10(1 / expected), rtol=1e-5)


def test_pm1_converts_a_row_of_the_ggl_paper():
    """Shared notes on GGL, table 3 (CelebA, noise): MSE-I .0780 is 17.1 dB where images are in [0, 1]."""
    truth = jnp.full((1, 8, 8, 3), 0.5)
    x = truth + np.sqrt(0.0780 / 4)
    assert mse_pm1(x, truth)[0] == pytest.approx(0.0780, rel=1e-4)
    assert psnr(x, truth)[0] == pytest.approx(17.1, abs=0.05)
    assert psnr_pm1(x, truth)[0] == pytest.approx(17.1 - 6.02, abs=0.05)


@pytest.mark.parametrize(
    ("error", "expected"), [(1.0, 0.0), (0.1, 20.0), (1e-3, 60.0), (1e-9, 150.0), (0.0, 150.0)]
)
def test_psnr_of_a_constant_error_and_its_cap(error, expected):
    truth = jnp.zeros((1, 8, 8, 1))
    assert psnr(truth + error, truth)[0] == pytest.approx(expected, abs=1e-4)


def test_ssim_of_a_negative_is_negative():
    x, _ = pairs(noise, (32, 32, 3))
    score = ssim(1 - x, x)
    assert np.all(score < -0.8)
    np.testing.assert_allclose(score, [skimage_ssim(1 - a, a) for a in x], atol=1e-5)


def test_ssim_of_two_constants_is_the_luminance_term():
    a, b = 0.3, 0.6
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    score = ssim(jnp.full((1, 28, 28, 1), a), jnp.full((1, 28, 28, 1), b))
    np.testing.assert_allclose(score, [expected], atol=1e-6)


def test_ssim_averages_the_channels():
    x, truth = pairs(waves, (32, 32, 3))
    channels = [metrics.ssim(x[..., c : c + 1], truth[..., c : c + 1]) for c in range(3)]
    np.testing.assert_allclose(ssim(x, truth), np.mean(channels, axis=0), atol=1e-6)


@pytest.mark.parametrize("size", [(2, 8), (8, 2), (1, 1)])
def test_ssim_refuses_images_smaller_than_its_smallest_window(size):
    x = jnp.zeros((1, *size, 1))
    with pytest.raises(
        InputError, match=f"at least 3 x 3 pixels, got {size[0]} x {size[1]}; use mse or psnr"
    ):
        metrics.ssim(x, x)


def test_best_constant_refuses_one_image_without_a_batch_axis():
    with pytest.raises(InputError, match=r"got truth \(8, 8, 1\)"):
        metrics.best_constant(jnp.zeros((8, 8, 1)))
