"""The windows of an image and their transpose, each in the form that is fast.

Windows are copies of slices. What autodiff makes of that, backwards, is one padded image for each slice, all
of which are added: for a 5x5 kernel at stride 2 ten images, most of them zeros. `fold` takes the positions
that a stride tells apart one after the other, and pads by whole windows alone. The two are primitives of
JAX, each the other's transpose, so that derivatives of any order and kind keep to these forms.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.models.primitive import primitive, transposes

Pair = tuple[int, int]


def windows(
    x: Float[Array, "n h w c"], window: Pair, strides: Pair
) -> Float[Array, "n rows columns kh kw c"]:
    """Every window of the image, in two steps, columns then rows: kh + kw slices are taken and not kh * kw.

    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> windows(x, (2, 2), (1, 1))[0, 0, 1, :, :, 0].tolist()
    [[1.0, 2.0], [4.0, 5.0]]
    """
    return _windows.bind(x, window=tuple(window), strides=tuple(strides), sides=tuple(x.shape[1:3]))


def fold(y: Float[Array, "n rows columns kh kw c"], strides: Pair, sides: Pair) -> Float[Array, "n h w c"]:
    """The transpose of `windows`: every pixel's sum over the windows that show it.

    Args:
      y: a number for every pixel of every window.
      strides: between windows.
      sides: (h, w) of the image.

    >>> fold(jnp.ones((1, 2, 2, 2, 2, 1)), (1, 1), (3, 3))[0, :, :, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    return _fold.bind(y, window=tuple(y.shape[3:5]), strides=tuple(strides), sides=tuple(sides))


def _cut(x, *, window, strides, sides):
    (kh, kw), (sh, sw), (h, w) = window, strides, sides
    rows, columns = (h - kh) // sh + 1, (w - kw) // sw + 1
    x = jnp.stack([x[:, :, j : j + sw * (columns - 1) + 1 : sw] for j in range(kw)], axis=3)
    return jnp.stack([x[:, i : i + sh * (rows - 1) + 1 : sh] for i in range(kh)], axis=3)


def _sum(y, *, window, strides, sides):
    (kh, kw), (sh, sw), (h, w) = window, strides, sides
    y = _overlap([y[:, :, :, i] for i in range(kh)], 1, sh, h)
    return _overlap([y[:, :, :, j] for j in range(kw)], 2, sw, w)


def _overlap(taps: list[Array], axis: int, stride: int, side: int) -> Array:
    """The taps' entry p at p * stride + (the tap's number) of an axis of that length, summed.

    Taps whose numbers differ by the stride fall on the same entries, a whole window apart.
    """
    reach = -(-len(taps) // stride)

    def shifted(tap, t):
        around = [(0, 0)] * tap.ndim
        around[axis] = (t, reach - 1 - t)
        return jnp.pad(tap, around)

    phases = [
        sum(shifted(tap, t) for t, tap in enumerate(taps[r::stride])) for r in range(min(stride, len(taps)))
    ]
    phases += [jnp.zeros_like(phases[0])] * (stride - len(phases))
    out = jnp.stack(phases, axis + 1)
    out = out.reshape(*out.shape[:axis], -1, *out.shape[axis + 2 :])
    out = lax.slice_in_dim(out, 0, min(side, out.shape[axis]), axis=axis)
    around = [(0, 0)] * out.ndim
    around[axis] = (0, side - out.shape[axis])
    return jnp.pad(out, around)


def _more_images(made):
    """The rule under vmap: candidates are more images."""

    def batched(arrays, axes, **settings):
        x = jnp.moveaxis(arrays[0], axes[0], 0)
        out = made.bind(x.reshape(-1, *x.shape[2:]), **settings)
        return out.reshape(*x.shape[:2], *out.shape[1:]), 0

    return batched


_windows = primitive("windows", _cut, _more_images)
_fold = primitive("fold", _sum, _more_images)
transposes(_windows, _fold)
