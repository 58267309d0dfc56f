"""What an attacker believes of images before it sees an update: x -> scalar, lower is likelier.

The term of an optimisation attack that keeps the reconstruction natural. Every penalty is a mean over
the batch, so that its weight does not depend on the number of images or their size.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError


def total_variation(x: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Anisotropic total variation: mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|.

    Rudin, Osher & Fatemi, Nonlinear total variation based noise removal algorithms, Physica D 1992,
    in the convention of Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020:
    each direction is a mean over its own differences, of all images and channels, so that the
    paper's weights apply. A direction of one pixel has no differences and counts as 0. The
    derivative is taken as 0 where neighbours agree.

    Args:
      x: images in [0, 1], any number of channels.

    Raises:
      InputError: x is not (n, h, w, c).

    >>> print(total_variation(jnp.array([0.0, 1.0, 1.0, 0.5]).reshape(1, 2, 2, 1)))  # 0.75 + 0.75
    1.5
    """
    _check_images(x)
    return _mean_abs(jnp.diff(x, axis=1)) + _mean_abs(jnp.diff(x, axis=2))


def l2(x: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean of the squared pixels: mean x^2, a Gaussian prior on the image.

    Tikhonov regularisation, as the l2 term of Yin, Mallya, Vahdat, Alvarez, Kautz & Molchanov, See
    through Gradients, CVPR 2021, with a squared norm and a mean in place of the norm.

    Args:
      x: images in [0, 1].

    Raises:
      InputError: x is not (n, h, w, c).

    >>> print(l2(jnp.full((2, 4, 4, 3), 0.5)))
    0.25
    """
    _check_images(x)
    return jnp.mean(jnp.square(x))


def _mean_abs(differences: Float[Array, "n h w c"]) -> Float[Array, ""]:
    """Mean of the magnitudes; 0 where there is nothing to average."""
    return jnp.mean(jnp.abs(differences)) if differences.size else jnp.zeros(())


def _check_images(x: Array) -> None:
    if jnp.ndim(x) != 4:
        raise InputError(f"x must be images (n, h, w, c), got {jnp.shape(x)}; write x[None] for one image")
