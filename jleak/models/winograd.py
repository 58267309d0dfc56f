"""Winograd's convolution by 3x3 kernels, F(2x2, 3x3): 16 products where patches take 36.

    y = A^T [ (G g G^T) * (B^T d B) ] A       for every tile d of 4x4 pixels, which overlap by two

(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1.) Over channels
the star is one matrix product for each of the 16 places in a tile. The three transforms are linear and made
of sums; left to autodiff their derivatives cost what the products save, so each is a primitive whose
transpose is written beside it.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak.models.primitive import bilinear, primitive, transposes

Sides = tuple[int, int, int, int]
POSITIONS = 256
"""Of fewer outputs the kernel's transforms cost what the products save (bench/NOTES.md)."""
CHANNELS = 32
"""Of fewer channels in or out the image's transforms do."""


def worth(x: tuple[int, ...], kernel: tuple[int, ...], strides, padding) -> bool:
    """Whether this convolution is one of 3x3 at stride 1, of enough outputs and channels for `winograd`.

    >>> worth((1, 16, 16, 64), (3, 3, 64, 64), (1, 1), ((1, 1), (1, 1)))
    True
    >>> worth((1, 16, 16, 64), (3, 3, 64, 64), (2, 2), ((1, 1), (1, 1)))
    False
    """
    (n, *sides, _), (kh, kw, *channels) = x, kernel
    outputs = [side + sum(pad) - 2 for side, pad in zip(sides, padding, strict=True)]
    square = (kh, kw) == (3, 3) and tuple(strides) == (1, 1)
    return square and n * outputs[0] * outputs[1] >= POSITIONS and min(channels) >= CHANNELS


def winograd(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"], padding: tuple[tuple[int, int], ...]
) -> Float[Array, "n i j f"]:
    """Convolution at stride 1, two by two outputs at a time; a last odd one beside a zero.

    >>> x, w = jnp.arange(16.0).reshape(1, 4, 4, 1), jnp.ones((3, 3, 1, 1))
    >>> winograd(x, w, ((0, 0), (0, 0)))[0, :, :, 0].tolist()
    [[45.0, 54.0], [81.0, 90.0]]
    """
    outputs = [side + sum(pad) - 2 for side, pad in zip(x.shape[1:3], padding, strict=True)]
    even = [(low, high + size % 2) for (low, high), size in zip(padding, outputs, strict=True)]
    x = jnp.pad(x, ((0, 0), *even, (0, 0)))
    n, h, w, _ = x.shape
    tiles = _tiles.bind(x, sides=x.shape)
    sums = _products.bind(tiles, _taps.bind(kernel))
    y = _assembled.bind(sums, sides=(n, h - 2, w - 2, kernel.shape[3]))
    return y[:, : outputs[0], : outputs[1]]


# Each transform is the same small matrix along rows, then along columns: applied to lists of slices, so that
# all of it is sums of whole rows of channels.


def _pixels(d):  # B^T
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _pixels_t(v):
    return [v[0], v[1] - v[2] + v[3], v[1] + v[2] - v[0], -v[3]]


def _sums(m):  # A^T
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _sums_t(y):
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]


def _cut(x: Float[Array, "n h w c"], *, sides: Sides) -> Float[Array, "16 tiles c"]:
    n, h, w, c = sides
    rows, columns = h // 2 - 1, w // 2 - 1
    taps = _pixels([x[:, i : i + 2 * rows : 2] for i in range(4)])
    places = [v for tap in taps for v in _pixels([tap[:, :, j : j + 2 * columns : 2] for j in range(4)])]
    return jnp.stack(places).reshape(16, n * rows * columns, c)


def _folded(v: Float[Array, "16 tiles c"], *, sides: Sides) -> Float[Array, "n h w c"]:
    n, h, w, c = sides
    v = v.reshape(4, 4, n, h // 2 - 1, w // 2 - 1, c)
    return _overlap(_pixels_t([_overlap(_pixels_t(list(row)), 2) for row in v]), 1)


def _overlap(taps: list[Array], axis: int) -> Array:
    """Four taps of every tile along an axis, tiles two apart, summed where they overlap."""

    def shifted(tap, low):
        return jnp.pad(tap, [(low, 1 - low) if k == axis else (0, 0) for k in range(tap.ndim)])

    even, odd = (shifted(taps[k], 0) + shifted(taps[k + 2], 1) for k in range(2))
    out = jnp.stack([even, odd], axis + 1)
    return out.reshape(*out.shape[:axis], -1, *out.shape[axis + 2 :])


def _assemble(m: Float[Array, "16 tiles f"], *, sides: Sides) -> Float[Array, "n h w f"]:
    n, h, w, f = sides
    rows = _sums(list(m.reshape(4, 4, n, h // 2, w // 2, f)))
    return jnp.stack([jnp.stack(_sums(list(row)), 3) for row in rows], 2).reshape(sides)


def _apart(y: Float[Array, "n h w f"], *, sides: Sides) -> Float[Array, "16 tiles f"]:
    n, h, w, f = sides
    y = y.reshape(n, h // 2, 2, w // 2, 2, f)
    rows = _sums_t([y[:, :, i] for i in range(2)])
    return jnp.stack([m for row in rows for m in _sums_t([row[:, :, :, j] for j in range(2)])]).reshape(
        16, -1, f
    )


# The kernel's transform is a product with the matrix of all 16 places: sums would be fused with what comes
# before them, and that, for a gradient's cotangent the whole distance, be computed again for every place.

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_PLACES = np.kron(_G, _G)


def _kernel(g: Float[Array, "3 3 *rest"]) -> Float[Array, "16 *rest"]:
    return jnp.tensordot(jnp.asarray(_PLACES, g.dtype), g.reshape(9, *g.shape[2:]), 1)


def _kernel_t(u: Float[Array, "16 *rest"]) -> Float[Array, "3 3 *rest"]:
    return jnp.tensordot(jnp.asarray(_PLACES.T, u.dtype), u, 1).reshape(3, 3, *u.shape[1:])


# A stack of products: with tiles (k, p, c), kernels (k, c, f) and sums (k, p, f), each from the other two.


def _of_tiles(tiles, kernels):
    return tiles @ kernels


def _of_sums(sums, kernels):
    return sums @ kernels.swapaxes(1, 2)


def _of_both(tiles, sums):
    return tiles.swapaxes(1, 2) @ sums


# Under vmap the place in a tile stays the first axis, a product's batch; candidates come second.


def _from_images(made):
    """The rule of a transform of images to places: candidates are more images."""

    def batched(arrays, axes, *, sides):
        x = jnp.moveaxis(arrays[0], axes[0], 0)
        more = (len(x) * sides[0], *sides[1:])
        out = made.bind(x.reshape(more), sides=more)
        return out.reshape(16, len(x), -1, out.shape[-1]), 1

    return batched


def _to_images(made):
    """The rule of a transform of places to images."""

    def batched(arrays, axes, *, sides):
        x = jnp.moveaxis(arrays[0], axes[0], 1)
        more = (x.shape[1] * sides[0], *sides[1:])
        out = made.bind(x.reshape(16, -1, x.shape[-1]), sides=more)
        return out.reshape(x.shape[1], *sides), 0

    return batched


def _own(u, axis, count):
    """A stack for every candidate, (16 count, rows, columns)."""
    shared = axis is None
    u = jnp.broadcast_to(u[:, None], (16, count, *u.shape[1:])) if shared else u
    return u.reshape(-1, *u.shape[2:])


def _beside(fn):
    """The rule of a stack of products: candidates are the second axis, more rows of a shared kernel, and more
    products where the kernel is their own."""

    def batched(arrays, axes):
        (x, y), (i, j) = arrays, axes
        x, y = (u if axis is None else jnp.moveaxis(u, axis, 1) for u, axis in zip(arrays, axes, strict=True))
        if j is None and fn is not _of_both:
            return fn(x.reshape(16, -1, x.shape[3]), y).reshape(*x.shape[:3], -1), 1
        count = (x if j is None else y).shape[1]
        x, y = (_own(u, axis, count) for u, axis in ((x, i), (y, j)))
        out = fn(x, y)
        return out.reshape(16, count, *out.shape[1:]), 1

    return lambda _: batched


def _after_places(fn, given, made):
    """The rule of a kernel's transform: candidates come after the kernel's places."""

    def batched(arrays, axes):
        return fn(jnp.moveaxis(arrays[0], axes[0], given)), made

    return lambda _: batched


_tiles = primitive("winograd_tiles", _cut, _from_images)
_image = primitive("winograd_image", _folded, _to_images)
_assembled = primitive("winograd_assembled", _assemble, _to_images)
_spread = primitive("winograd_spread", _apart, _from_images)
_taps = primitive("winograd_taps", _kernel, _after_places(_kernel, 2, 1))
_untapped = primitive("winograd_untapped", _kernel_t, _after_places(_kernel_t, 1, 2))
_products = primitive("winograd_products", _of_tiles, _beside(_of_tiles))
_rows = primitive("winograd_rows", _of_sums, _beside(_of_sums))
_kernels = primitive("winograd_kernels", _of_both, _beside(_of_both))
for pair in ((_tiles, _image), (_assembled, _spread), (_taps, _untapped)):
    transposes(*pair)
bilinear(_products, _rows, _kernels)
