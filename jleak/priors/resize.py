"""Images made larger without weights, by slices and sums."""

import jax.numpy as jnp
from jaxtyping import Array, Float

TAPS = (0.25, 0.75, 0.75, 0.25)
"""The binomial filter [1, 3, 3, 1] in one direction, with the gain of 2 that doubling wants."""


def nearest(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Every pixel as a square of four.

    >>> nearest(jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1))[0, :, :, 0].tolist()
    [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


def filtered(x: Float[Array, "n h w c"], before: int, after: int) -> Float[Array, "n i j c"]:
    """The image with zeros around it, filtered by `TAPS` in both directions; each side shrinks by 3.

    Args:
      x: images.
      before: rows and columns of zeros above and left of the image.
      after: below and right.

    >>> filtered(jnp.ones((1, 4, 4, 1)), 0, 0).ravel().tolist()
    [4.0]
    """
    x = jnp.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    h, w = (side - len(TAPS) + 1 for side in x.shape[1:3])
    x = sum(tap * x[:, i : i + h] for i, tap in enumerate(TAPS))
    return sum(tap * x[:, :, j : j + w] for j, tap in enumerate(TAPS))


def smooth(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Zeros put between the pixels, then `TAPS`: in each direction 3/4 of the nearest pixel, 1/4 of the next.

    Beyond the border the image is 0. Source: Karras et al., CVPR 2020, the skip connections of its generator.

    >>> smooth(jnp.full((1, 1, 2, 1), 16.0))[0, 0, :, 0].tolist()
    [9.0, 12.0, 12.0, 9.0]
    """
    n, h, w, c = x.shape
    x = jnp.stack([x, jnp.zeros_like(x)], 3).reshape(n, h, 2 * w, c)
    x = jnp.stack([x, jnp.zeros_like(x)], 2).reshape(n, 2 * h, 2 * w, c)
    return filtered(x, 2, 1)
