"""Dense layers and convolutions as one matrix product A W: a row of A for every output position.

For a convolution the rows are patches. What is asked of them here needs no patches where there is a shorter
way: A T is a convolution by T, and at stride 1 an entry of A A^T is a sum of products of pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jleak.models.conv import LAYOUT, im2col, patches, zeros_around

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """How a layer reads what it is given; without a window it is dense.

    Attributes:
      window: sides of the kernel.
      strides: between windows.
      padding: zeros around, or its name.
      convolve: what the layer convolves with.
    """

    window: Pair | None = None
    strides: Pair = (1, 1)
    padding: str | tuple[Pair, ...] = "VALID"
    convolve: Callable[..., Array] | None = None


def geometry(module: nn.Module) -> Geometry | None:
    """That of a dense layer or a plain convolution of images; None for any other layer.

    >>> geometry(nn.Conv(4, (3, 3), strides=2, padding=1))[:3]
    ((3, 3), (2, 2), ((1, 1), (1, 1)))
    >>> geometry(nn.Conv(4, (3, 3), feature_group_count=2)), geometry(nn.LayerNorm())
    (None, None)
    """
    if isinstance(module, nn.Dense):
        return Geometry()
    if not isinstance(module, nn.Conv) or len(module.kernel_size) != 2 or module.mask is not None:
        return None
    plain = {module.input_dilation, module.kernel_dilation, module.feature_group_count} <= {1, None, (1, 1)}
    padding, strides = module.padding, module.strides or 1
    if not plain or padding in ("CIRCULAR", "CAUSAL", "REFLECT"):
        return None
    if not isinstance(padding, str):
        sides = (padding, padding) if isinstance(padding, int) else padding
        padding = tuple((side, side) if isinstance(side, int) else tuple(side) for side in sides)
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    return Geometry(tuple(module.kernel_size), strides, padding, module.conv_general_dilated or _im2col)


def _im2col(x, kernel, strides, padding, **_):
    return im2col(x, kernel, strides, padding)


def rows(layer: Geometry, x: Float[Array, "n ..."]) -> Float[Array, "positions width"]:
    """A: what the layer's kernel multiplies, one image after the other.

    >>> rows(Geometry((2, 2)), jnp.arange(9.0).reshape(1, 3, 3, 1))[1].tolist()
    [1.0, 2.0, 4.0, 5.0]
    """
    if layer.window is None:
        return x.reshape(-1, x.shape[-1])
    x = patches(x, layer.window, layer.strides, layer.padding)
    return x.reshape(x.shape[0] * x.shape[1] * x.shape[2], -1)


def through(layer: Geometry, x: Float[Array, "n ..."], kernel: Float[Array, "..."]) -> Float[Array, "p f"]:
    """A T for a T of the kernel's shape.

    >>> through(Geometry((2, 2), convolve=_im2col), jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))).tolist()
    [[4.0], [4.0], [4.0], [4.0]]
    """
    if layer.window is None:
        return rows(layer, x) @ kernel
    out = layer.convolve(x, kernel, layer.strides, layer.padding, dimension_numbers=LAYOUT)
    return out.reshape(-1, out.shape[-1])


def gram(layer: Geometry, x: Float[Array, "n ..."]) -> Float[Array, "positions positions"]:
    """A A^T.

    At stride 1 two windows' inner product is that of their pixels, summed over the window.

    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> a = rows(Geometry((2, 2)), x)
    >>> bool((gram(Geometry((2, 2)), x) == a @ a.T).all())
    True
    """
    if layer.window is None or layer.strides != (1, 1) or layer.window == (1, 1):
        a = rows(layer, x)
        return a @ a.T
    (kh, kw), (n, h, w, c) = layer.window, x.shape
    padding = zeros_around((h, w), layer.window, (1, 1), layer.padding)
    pixels = x.reshape(-1, c)
    pairs = (pixels @ pixels.T).reshape(n, h, w, n, h, w)
    pairs = jnp.pad(pairs, ((0, 0), *padding, (0, 0), *padding))
    pairs = _along(pairs, (1, 4), kh)
    pairs = _along(pairs, (2, 5), kw)
    positions = n * pairs.shape[1] * pairs.shape[2]
    return pairs.reshape(positions, positions)


def _along(pairs: Array, axes: Pair, side: int) -> Array:
    """Sums over a window's side, both axes moving together."""
    length = pairs.shape[axes[0]] - side + 1

    def shifted(k):
        out = pairs
        for axis in axes:
            out = lax.slice_in_dim(out, k, k + length, axis=axis)
        return out

    return sum(shifted(k) for k in range(side))
