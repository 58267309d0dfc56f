"""DiffAugment: random changes of real and generated images alike, through which gradients flow."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jleak.check import InputError, one_of
from jleak.types import Key

NONE = "none"
"""The policy that changes nothing."""

SHIFT = 1 / 8
"""Images are shifted by up to this part of their sides."""

CUT = 1 / 2
"""Sides of the square that is cut out, as part of the image's."""


def diffaugment(policy: str) -> Callable[[Key, Float[Array, "n h w c"]], Float[Array, "n h w c"]]:
    """`(key, x) -> x`, images in [-1, 1] changed at random, each its own way.

    Source: Zhao, Liu, Lin, Zhu and Han, "Differentiable Augmentation for Data-Efficient GAN Training",
    NeurIPS 2020, section 4 and its reference code: the critic sees nothing but changed images, so it cannot
    learn few real ones by heart, and the generator does not learn the changes.

    Args:
      policy: names of `POLICIES` with `-` between them, done in that order, or `"none"`.

    Raises:
      InputError: an unknown name.

    >>> diffaugment("color-cutout")(jax.random.key(0), jnp.zeros((2, 8, 8, 1))).shape
    (2, 8, 8, 1)
    >>> diffaugment("colour")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: unknown augmentation 'colour'; did you mean 'color'? known: color, ...
    """
    names = [] if policy == NONE else str(policy).split("-")
    steps = [POLICIES[one_of("augmentation", name, POLICIES, hint="or none")] for name in names]
    if len({*names}) < len(names):
        raise InputError(f"each augmentation is done once, got augment={policy!r}; leave the second out")

    def change(key, x):
        for i, step in enumerate(steps):
            x = step(jax.random.fold_in(key, i), x)
        return x

    return change


def color(key: Key, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Brightness, saturation and contrast, with u uniform on [0, 1) for each image and each of them.

    x + u - 1/2, then m + 2 u (x - m) for the mean m over a pixel's channels, then m + (u + 1/2) (x - m) for
    the mean m of the image.
    """
    brightness, saturation, contrast = jax.random.uniform(key, (3, len(x), 1, 1, 1))
    x = x + brightness - 0.5
    x = away(x, x.mean(-1, keepdims=True), 2 * saturation)
    return away(x, x.mean((1, 2, 3), keepdims=True), contrast + 0.5)


def away(x: Array, centre: Array, factor: Array) -> Array:
    """x moved away from a centre.

    >>> away(jnp.array([1.0, 3.0]), jnp.array(2.0), jnp.array(2.0)).tolist()
    [0.0, 4.0]
    """
    return centre + factor * (x - centre)


def translation(key: Key, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Shifted by up to an eighth of each side, rounded, in each direction; zeros come in, which are grey."""
    n, *sides, _ = x.shape
    pads = [round(side * SHIFT) for side in sides]
    framed = jnp.pad(x, ((0, 0), *((p, p) for p in pads), (0, 0)))
    starts = [
        jax.random.randint(k, (n,), 0, 2 * p + 1) for k, p in zip(jax.random.split(key), pads, strict=True)
    ]
    return jax.vmap(lambda image, i, j: lax.dynamic_slice(image, (i, j, 0), x.shape[1:]))(framed, *starts)


def cutout(key: Key, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """A rectangle of half the sides set to zero, which is grey; its centre is anywhere in the image."""
    n, h, w, _ = x.shape
    k_rows, k_columns = jax.random.split(key)
    rows, columns = (cut_lines(k, n, side) for k, side in ((k_rows, h), (k_columns, w)))
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0.0, x)


def cut_lines(key: Key, n: int, side: int) -> Bool[Array, "n side"]:
    """Which lines of a side are cut in each of n images: half of them, fewer at the border.

    >>> sorted({*cut_lines(jax.random.key(0), 50, 8).sum(1).tolist()})
    [2, 3, 4]
    """
    cut = round(side * CUT)
    first = jax.random.randint(key, (n, 1), 0, side + 1 - cut % 2) - cut // 2
    lines = jnp.arange(side)
    return (lines >= first) & (lines < first + cut)


POLICIES = {"color": color, "cutout": cutout, "translation": translation}
"""Name -> `(key, x) -> x`."""
