"""Transposed convolution of stride 2 as one matrix product and a sum of windows.

XLA's CPU backend is slow at convolutions inside `lax.scan` and under `vmap`, where searches live
(`jleak.models.conv`). Every input pixel spreads a window of its own over the output: the windows of all
pixels are one matrix product, and where they overlap they are summed (`jleak.models.windows.fold`). With
windows of side 2 they do not overlap, and the sum is a rearrangement of pixels. For kernels of side 4 this is
faster than four convolutions of side 2, one for each parity of row and column (bench/NOTES.md).
"""

import math

from flax import linen as nn
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.models.product import product
from jleak.models.windows import fold

STRIDE = 2
KERNELS = (2, 4)
"""Sides of kernels that double the image exactly: side 2 without padding, side 4 with a padding of 1."""


def spread(x: Float[Array, "n h w c"], kernel: Float[Array, "c k k f"]) -> Float[Array, "n i j f"]:
    """The transposed convolution of stride 2 without padding: height 2 (h - 1) + k, width 2 (w - 1) + k.

    out[2 i + a, 2 j + b, f] = sum over i, j, a, b and c of x[i, j, c] kernel[c, a, b, f]. It is
    `ConvTranspose2d` of PyTorch, whose kernels (c, f, k, k) lie here as (c, k, k, f).

    Args:
      x: images.
      kernel: of side k.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 10.0]]).reshape(1, 1, 2, 1)
    >>> spread(x, jnp.ones((1, 3, 3, 1)))[0, 0, :, 0].tolist()
    [1.0, 1.0, 11.0, 10.0, 10.0]
    """
    n, h, w, c = x.shape
    k, features = kernel.shape[1], kernel.shape[3]
    windows = product(x.reshape(n * h * w, c), kernel.reshape(c, math.prod(kernel.shape[1:])))
    sides = (STRIDE * (h - 1) + k, STRIDE * (w - 1) + k)
    return fold(windows.reshape(n, h, w, k, k, features), (STRIDE, STRIDE), sides)


def doubled(x: Float[Array, "n h w c"], kernel: Float[Array, "c k k f"]) -> Float[Array, "n 2*h 2*w f"]:
    """The same with its border cut off, (k - 2) / 2 wide, so that height and width double.

    Args:
      x: images.
      kernel: of an even side k.

    >>> import jax.numpy as jnp
    >>> kernel = jnp.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    >>> doubled(jnp.array([[1.0, 10.0]]).reshape(1, 1, 2, 1), kernel)[0, :, :, 0].tolist()
    [[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]]
    """
    cut = (kernel.shape[1] - STRIDE) // 2
    rows, columns = (slice(cut, cut + STRIDE * side) for side in x.shape[1:3])
    return spread(x, kernel)[:, rows, columns]


class Doubled(nn.Module):
    """A layer of it, with a bias.

    Attributes:
      width: output channels.
      kernel: side of the kernel, one of `KERNELS`.
      gain: variance of the outputs over the mean square of the inputs at the start; 2 in front of a ReLU
        (He et al., ICCV 2015).
    """

    width: int
    kernel: int = 2
    gain: float = 2.0

    @nn.compact
    def __call__(self, x):
        inputs = x.shape[-1]
        deviation = math.sqrt(self.gain * STRIDE**2 / (inputs * self.kernel**2))
        shape = (inputs, self.kernel, self.kernel, self.width)
        kernel = self.param("kernel", nn.initializers.normal(deviation), shape)
        return doubled(x, kernel) + self.param("bias", nn.initializers.zeros, (self.width,))


def kernel_side(value: int) -> int:
    """`value`, if it is among `KERNELS`.

    >>> kernel_side(3)
    Traceback (most recent call last):
    jleak.check.InputError: kernel must be 2 or 4, got kernel=3; these double the image exactly
    """
    if value not in KERNELS:
        raise InputError(f"kernel must be 2 or 4, got kernel={value}; these double the image exactly")
    return value
