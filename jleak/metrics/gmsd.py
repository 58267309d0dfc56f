"""Gradient magnitude similarity: a perceptual distance that needs no trained network."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.metrics.image import check_images

WEIGHTS = (0.096, 0.596, 0.289, 0.019)
"""Of the squared deviations at full size, a half, a quarter and an eighth of it (Zhang et al., 2017)."""

MASKING = 0.5
"""How far an edge masks an error upon it (alpha; Zhang et al., 2017); the paper of one scale has 0."""

CONSTANT = 170.0 / 255.0**2
"""What keeps flat regions similar: 170 for images in [0, 255] (Xue et al., 2014)."""

LUMA = (0.299, 0.587, 0.114)

SMALLEST = 4
"""The least side, in pixels, of an image whose deviation is still taken, but for the first."""


def ms_gmsd(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Multi-scale gradient magnitude similarity deviation, between 0 and 0.5. Lower is better, 0 is best.

    With m the magnitude of the gradient by Prewitt's filters, C = 170/255^2 and alpha = 1/2, the similarity
    at a pixel is

        GMS = ((2 - alpha) m_x m_t + C) / (m_x^2 + m_t^2 - alpha m_x m_t + C),

    and the distance sqrt(sum_s w_s Var(GMS at scale s)): its deviation over the pixels, at full size and at
    halves of it by means of 2 x 2 pixels. Sources: Xue, Zhang, Mou and Bovik, "Gradient Magnitude Similarity
    Deviation", IEEE TIP 2014, eqs. 1-6; Zhang, Sander and Bermak, "Gradient magnitude similarity deviation on
    multiple scales for color image quality assessment", ICASSP 2017, for scales, weights and alpha. Of colour
    images the luma is compared, .299 R + .587 G + .114 B; with any other number of channels their mean.

    It stands in for a learned perceptual distance and is none: its numbers compare with no published LPIPS.
    It is blind to hue, brightness and the sign of contrast (a negative scores 0), and it saturates: strong
    noise, an unrelated image and a blank one are alike near .25 to .33 on photographs (bench/NOTES.md), and a
    blank image is near a smooth one such as a sky.

    Our own choices: pixels beyond the border repeat the last ones (zeros would draw an edge around a bright
    image), an odd last row or column is left out of the means, and a scale counts where its sides are at
    least 4 pixels, the weights of those that count being scaled to sum to one: all four from 32 x 32 on,
    three at 28 x 28, two at 8 x 8. There a *blank* image scores lower than the true one moved by a pixel:
    read `ssim` beside it. Scores compare only with those of images of the same size.

    Args:
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Returns:
      One number an image; NaN where it holds something not finite.

    Raises:
      InputError: not two batches of float images of one shape, or a side below 3 pixels.

    >>> truth = jnp.sin(jnp.arange(32.0)[:, None] * jnp.arange(32.0) / 50).reshape(1, 32, 32, 1) / 2 + 0.5
    >>> moved, other = jnp.roll(truth, 1, 1), jnp.rot90(truth, axes=(1, 2))
    >>> print([f"{ms_gmsd(x, truth)[0]:.2f}" for x in (truth, truth + 0.1, moved, other)])
    ['0.00', '0.00', '0.21', '0.29']
    """
    check_images(x=x, truth=truth)
    if min(x.shape[1:3]) < 3:
        raise InputError(
            f"ms_gmsd needs images of at least 3 x 3 pixels, got {x.shape[1]} x {x.shape[2]}; use mse"
        )
    a, b = luma(x), luma(truth)
    total, weights = jnp.zeros(len(a), a.dtype), 0.0
    for weight in WEIGHTS:
        total, weights = total + weight * jnp.var(dissimilarity(a, b), axis=(1, 2)), weights + weight
        a, b = halved(a), halved(b)
        if min(a.shape[1:]) < SMALLEST:
            break
    return jnp.sqrt(total / weights)


def luma(v: Float[Array, "n h w c"]) -> Float[Array, "n h w"]:
    """One channel of several."""
    channels = v.shape[-1]
    weights = LUMA if channels == len(LUMA) else (1 / channels,) * channels
    return sum(weight * v[..., i] for i, weight in enumerate(weights))


def dissimilarity(a: Float[Array, "n h w"], b: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
    """1 - GMS, exactly 0 where the magnitudes are equal."""
    a, b = magnitude(a), magnitude(b)
    return (a - b) ** 2 / (a * a + b * b - MASKING * a * b + CONSTANT)


def magnitude(v: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
    """That of the gradient by Prewitt's filters."""
    v = jnp.pad(v, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = v[:, :-2] + v[:, 1:-1] + v[:, 2:]
    columns = v[:, :, :-2] + v[:, :, 1:-1] + v[:, :, 2:]
    across, down = rows[:, :, 2:] - rows[:, :, :-2], columns[:, 2:] - columns[:, :-2]
    return jnp.sqrt(across**2 + down**2) / 3.0


def halved(v: Float[Array, "n h w"]) -> Float[Array, "n i j"]:
    """Means of 2 x 2 pixels."""
    n, h, w = v.shape
    v = v[:, : h // 2 * 2, : w // 2 * 2]
    return v.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4))
