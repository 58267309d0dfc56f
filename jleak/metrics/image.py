"""How near a reconstruction is to the truth, pixel by pixel: (x, truth) -> one number an image.

Images are (n, h, w, c) floats in [0, 1], x[i] compared with truth[i]; `pair` puts a batch in that
order. Nothing is clipped, and an image with a NaN scores NaN without touching the others.
"""

import math

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from jleak.check import InputError

PSNR_CAP = 150.0
"""PSNR of a perfect image, dB: the MSE is floored at 1e-15."""

_MSE_FLOOR = 10.0 ** (-PSNR_CAP / 10)
_RADIUS, _SIGMA, _TRUNCATE = 5, 1.5, 3.5  # SSIM's window: 11 pixels
_C1, _C2 = 0.01**2, 0.03**2


def mse(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Mean squared error: mean over pixels and channels of (x - truth)^2. Lower is better, 0 is best.

    Args:
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: not two batches of float images of one shape.

    >>> print(mse(jnp.full((1, 8, 8, 1), 0.5), jnp.zeros((1, 8, 8, 1))))
    [0.25]
    """
    check_images(x=x, truth=truth)
    return jnp.mean(jnp.square(x - truth), axis=(1, 2, 3))


def psnr(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Peak signal-to-noise ratio for a peak of 1: -10 log10(MSE), in dB. Higher is better.

    The MSE is floored at 1e-15, i.e. PSNR is capped at 150 dB (`PSNR_CAP`), so that a perfect image
    has a finite score and means over images exist. Equals scikit-image's `peak_signal_noise_ratio`
    with `data_range=1` below the cap.

    Args:
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: not two batches of float images of one shape.

    >>> x = jnp.stack([jnp.full((8, 8, 1), 0.1), jnp.zeros((8, 8, 1))])
    >>> print([f"{v:.2f}" for v in psnr(x, jnp.zeros((2, 8, 8, 1)))])
    ['20.00', '150.00']
    """
    return -10.0 * jnp.log10(jnp.maximum(mse(x, truth), _MSE_FLOOR))


def mse_pm1(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Mean squared error of the images mapped to [-1, 1]: 4 MSE. Lower is better, 0 is best.

    "MSE-I" of Li, Zhang, Liu & Liu, Auditing Privacy Defenses in Federated Learning via Generative
    Gradient Leakage (GGL), CVPR 2022, arXiv 2203.15696: only for comparison with its tables.

    Args:
      x: reconstructions in [0, 1], not in [-1, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: not two batches of float images of one shape.

    >>> print(mse_pm1(jnp.full((1, 8, 8, 1), 0.5), jnp.zeros((1, 8, 8, 1))))
    [1.]
    """
    return 4.0 * mse(x, truth)


def psnr_pm1(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """PSNR as GGL counts it: images mapped to [-1, 1], yet a peak of 1. In dB, higher is better.

    -10 log10(4 MSE) = `psnr` - 6.02 dB (Li, Zhang, Liu & Liu, GGL, CVPR 2022, arXiv 2203.15696): only
    for comparison with its tables. Capped at 143.98 dB, 6.02 dB below the cap of `psnr`.

    Args:
      x: reconstructions in [0, 1], not in [-1, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: not two batches of float images of one shape.

    >>> print([f"{v:.2f}" for v in psnr_pm1(jnp.full((1, 8, 8, 1), 0.1), jnp.zeros((1, 8, 8, 1)))])
    ['13.98']
    """
    return psnr(x, truth) - 10.0 * math.log10(4.0)


def ssim(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Mean structural similarity, between -1 and 1. Higher is better, 1 is best.

    Wang, Bovik, Sheikh & Simoncelli, Image Quality Assessment, IEEE TIP 2004, eqs. 13-17:
    mean of (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2)) over all windows that
    lie inside the image and over channels, C1 = 0.01^2, C2 = 0.03^2; the local means m, variances s^2
    and the covariance are weighted by a Gaussian of sigma 1.5 cut to 11 x 11. Equals scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=sigma, use_sample_covariance=False,
    data_range=1)`.

    An image smaller than 11 x 11 (an 8 x 8 digit) shrinks the window: its radius is
    r = min(5, (min(h, w) - 1) // 2) and sigma = r / 3.5 where r < 5, so that the Gaussian is still
    cut at 3.5 sigma. Such scores compare only with those of images of the same size.

    Args:
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: not two batches of float images of one shape, or h or w below 3.

    >>> truth = jnp.linspace(0, 1, 64).reshape(1, 8, 8, 1)
    >>> print([f"{ssim(x, truth)[0]:.3f}" for x in (truth, truth / 2, 1 - truth)])
    ['1.000', '0.649', '-0.898']
    """
    check_images(x=x, truth=truth)
    if min(x.shape[1:3]) < 3:
        raise InputError(
            f"ssim needs images of at least 3 x 3 pixels, got {x.shape[1]} x {x.shape[2]}; use mse or psnr"
        )
    mx, my, error = _blur(x), _blur(truth), x - truth
    variances = _local_variance(x) + _local_variance(truth)
    # (2 a b + C) / (a^2 + b^2 + C) = 1 - (a - b)^2 / (...), and likewise sx^2 + sy^2 - 2 sxy = var(x - y)
    luminance = 1.0 - _blur(error) ** 2 / (mx * mx + my * my + _C1)
    structure = 1.0 - _local_variance(error) / (variances + _C2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def best_constant(truth: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The null reconstruction: every image replaced by its best single grey value a channel.

    The mean over pixels minimises the MSE, hence maximises the PSNR, among images that are constant
    in each channel. It knows nothing of the content but is drawn from the truth, so its score is the
    floor that a report compares with: an attack below it has not shown that anything leaked.

    Args:
      truth: images in [0, 1].

    Returns:
      Images of the same shape, each constant in each channel.

    Raises:
      InputError: truth is not a batch of float images.

    >>> truth = jnp.array([0.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
    >>> print(best_constant(truth).ravel(), f"{psnr(best_constant(truth), truth)[0]:.2f} dB")
    [0.5 0.5 0.5 0.5] 6.02 dB
    """
    check_images(truth=truth)
    return jnp.broadcast_to(jnp.mean(truth, axis=(1, 2), keepdims=True), truth.shape)


def _local_variance(x: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
    """Gaussian-weighted variance of each window."""
    x = x - jnp.mean(x, axis=(1, 2), keepdims=True)  # small terms: less float32 rounding
    return _blur(x * x) - _blur(x) ** 2


def _blur(x: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
    """Gaussian means over all windows inside the image, as two products with banded matrices.

    XLA's convolution is slow on a CPU; `HIGHEST` keeps float32 where an accelerator would round.
    """
    radius = min(_RADIUS, (min(x.shape[1:3]) - 1) // 2)
    sigma = _SIGMA if radius == _RADIUS else radius / _TRUNCATE
    rows, columns = (_bands(size, radius, sigma).astype(x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, x, columns, precision=Precision.HIGHEST)


def _bands(size: int, radius: int, sigma: float) -> Float[Array, "windows size"]:
    """Row i holds the Gaussian weights of the window that starts at pixel i."""
    offset = jnp.arange(size) - jnp.arange(size - 2 * radius)[:, None] - radius
    weights = jnp.where(jnp.abs(offset) <= radius, jnp.exp(-0.5 * (offset / sigma) ** 2), 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def check_images(**images: Array) -> None:
    """Raises an InputError unless all are batches of float images of one shape."""
    shapes = {name: jnp.shape(image) for name, image in images.items()}
    if any(len(shape) != 4 for shape in shapes.values()) or len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"images must be (n, h, w, c) of one shape, got {got}; write x[None] for one image")
    for name, image in images.items():
        dtype = jnp.result_type(image)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(f"{name} must hold floats in [0, 1], got {dtype}; divide bytes by 255")
