"""Augmentation of a training batch."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.types import Key

SHARE = 8
"""Crops are shifted by up to this part of the image's height and width: 4 pixels of 32."""


def augmented(key: Key, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Each image mirrored left to right or not, and cropped at random out of itself with a black border.

    Source: He, Zhang, Ren & Sun, CVPR 2016, section 4.2: 4 pixels around images of 32 x 32.

    Args:
      key: used once.
      x: images; those below 8 pixels are mirrored alone.

    >>> augmented(jax.random.key(0), jnp.ones((2, 16, 16, 1))).shape
    (2, 16, 16, 1)
    """
    n, h, w, _ = x.shape
    pads = (h // SHARE, w // SHARE)
    k_mirror, k_rows, k_columns = jax.random.split(key, 3)
    mirrored = jnp.where(jax.random.bernoulli(k_mirror, 0.5, (n, 1, 1, 1)), x[:, :, ::-1], x)
    framed = jnp.pad(mirrored, ((0, 0), *((p, p) for p in pads), (0, 0)))
    rows, columns = (
        jax.random.randint(k, (n,), 0, 2 * p + 1) for k, p in zip((k_rows, k_columns), pads, strict=True)
    )
    return jax.vmap(lambda image, i, j: lax.dynamic_slice(image, (i, j, 0), x.shape[1:]))(
        framed, rows, columns
    )
