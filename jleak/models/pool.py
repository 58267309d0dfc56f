"""Pooling that differentiates twice, under `vmap`, without windowed primitives."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "n h w c"], window: int, stride: int, padding: int = 0
) -> Float[Array, "n i j c"]:
    """The largest value of each window: of its rows, then of its columns, by strided slices.

    XLA's own pooling has for derivative a scatter, which is slow on a CPU and worse under `vmap`. Among equal
    values of a window the derivative is shared.

    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2, 2)[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, sides, constant_values=-jnp.inf)
    for axis in (1, 2):
        count = max((x.shape[axis] - window) // stride + 1, 0)
        before = (slice(None),) * axis
        slices = [x[(*before, slice(i, i + stride * count, stride))] for i in range(window)]
        x = functools.reduce(jnp.maximum, slices)
    return x


def mean_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """The mean over all pixels (Lin et al., ICLR 2014).

    Raises:
      ZeroDivisionError: there is no pixel.

    >>> mean_pool(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[1.5]]
    """
    _, h, w, _ = x.shape
    return x.sum((1, 2)) * (1 / (h * w))
