"""The one function through which every model convolves.

XLA's CPU backend takes its fast path only for convolutions at the top level of a program. Inside
`lax.scan` and under `vmap`, where attacks live, weight gradients of `lax.conv` fall into naive loops:
1.4 to 6 times slower than the same sums written as patches and one matrix product, and wide 3x3 ones
twice as fast again by Winograd's. On a GPU patches are measured and the others are not (bench/NOTES.md).
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.check import one_of
from jleak.models.product import product
from jleak.models.windows import windows
from jleak.models.winograd import winograd, worth

FORMS = ("auto", "winograd", "im2col", "lax")
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(form: str = "auto") -> Callable[..., Array]:
    """A drop-in for `flax.linen.Conv(conv_general_dilated=...)`.

    Args:
      form: `"im2col"` (patches and a matrix product), `"winograd"` (Winograd's where it pays, im2col where
        not), `"lax"` (XLA's own), or `"auto"`: winograd on CPUs, im2col on GPUs, XLA's own elsewhere, decided
        when the model is traced.

    Raises:
      InputError: unknown form.

    >>> x, w = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
    >>> convolution("im2col")(x, w, (1, 1), "SAME").shape
    (1, 4, 4, 2)
    """
    return functools.partial(_convolve, one_of("conv", form, FORMS))


def _convolve(form, lhs, rhs, window_strides, padding, *, dimension_numbers=LAYOUT, **options):
    if form == "auto":
        form = {"cpu": "winograd", "gpu": "im2col"}.get(jax.default_backend(), "lax")
    layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if form == "lax" or not _plain(layout, **options):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, dimension_numbers=layout, **options
        )
    padding = zeros_around(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    if form == "winograd" and worth(lhs.shape, rhs.shape, window_strides, padding):
        return winograd(lhs, rhs, padding)
    return im2col(lhs, rhs, window_strides, padding)


def _plain(layout, *, lhs_dilation=None, rhs_dilation=None, feature_group_count=1, **_) -> bool:
    """Whether the convolution is one that `im2col` writes: NHWC, HWIO, no dilation, no groups."""
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    nhwc = tuple(layout) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    return nhwc and not dilated and feature_group_count == 1


def im2col(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c f"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Float[Array, "n i j f"]:
    """Convolution as patches and one matrix product.

    Patches are multiplied as the matrix that they lie as: `einsum` would sort what it sums over by letter and
    have them transposed.

    >>> x, w = jnp.arange(16.0).reshape(1, 4, 4, 1), jnp.ones((2, 2, 1, 1))
    >>> im2col(x, w, (2, 2), "VALID")[0, :, :, 0].tolist()
    [[10.0, 18.0], [42.0, 50.0]]
    """
    rows = patches(x, kernel.shape[:2], strides, padding)
    positions, width, features = rows.shape[:3], math.prod(kernel.shape[:3]), kernel.shape[3]
    matrix = rows.reshape(math.prod(positions), width)
    return product(matrix, kernel.reshape(width, features)).reshape(*positions, features)


def patches(
    x: Float[Array, "n h w c"],
    window: tuple[int, int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Float[Array, "n rows columns kh kw c"]:
    """What a convolution's kernel multiplies, at every position of its output.

    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> patches(x, (2, 2), (1, 1), "VALID")[0, 0, 1, :, :, 0].tolist()
    [[1.0, 2.0], [4.0, 5.0]]
    """
    padding = zeros_around(x.shape[1:3], window, strides, padding)
    return windows(jnp.pad(x, ((0, 0), *padding, (0, 0))), window, strides)


def zeros_around(
    sides: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Sequence[tuple[int, int]]:
    """How many rows and columns of zeros a padding, given by name or number, puts around an image.

    >>> zeros_around((4, 4), (3, 3), (1, 1), "SAME")
    [(1, 1), (1, 1)]
    """
    return lax.padtype_to_pads(sides, window, strides, padding) if isinstance(padding, str) else padding
