"""From published arrays to a generator's variables, by a plan that says of each where it comes from."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jleak import weights
from jleak.check import InputError
from jleak.priors.prior import Prior, card, described

Arrays = Mapping[str, np.ndarray]


class Taken(NamedTuple):
    """Where one of our arrays comes from.

    Attributes:
      names: theirs.
      turn: from these arrays to ours.
    """

    names: tuple[str, ...]
    turn: Callable[..., np.ndarray]


def dense(name: str) -> Taken:
    """The kernel of a dense layer: (out, in) turned to (in, out)."""
    return Taken((name,), np.transpose)


def conv(name: str) -> Taken:
    """The kernel of a convolution: (out, in, h, w) turned to (h, w, in, out)."""
    return Taken((name,), hwio)


def same(name: str) -> Taken:
    """An array that lies as ours does."""
    return Taken((name,), np.asarray)


def hwio(kernel: np.ndarray) -> np.ndarray:
    """(out, in, h, w) turned to (h, w, in, out).

    >>> hwio(np.zeros((5, 3, 1, 2))).shape
    (1, 2, 3, 5)
    """
    return kernel.transpose(2, 3, 1, 0)


def side_of(arrays: Arrays, name: str, axis: int) -> int:
    """The length of one side of a published array, from which the generator's arguments are told.

    Raises:
      InputError: no such array, or no such side.
    """
    if name not in arrays:
        raise InputError(f"{name} is missing")
    if arrays[name].ndim <= axis:
        raise InputError(f"{name} is {arrays[name].shape}, wanted are {axis + 1} sides or more")
    return arrays[name].shape[axis]


def count(arrays: Arrays, prefix: str) -> int:
    """One more than the largest number that follows the prefix in a name: how many layers there are.

    >>> count({"convs.0.bias": 1, "convs.3.bias": 2}, "convs."), count({}, "convs.")
    (4, 0)
    """
    found = (re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in arrays)
    return max((int(one[1]) + 1 for one in found if one), default=0)


def square(pixels: int, channels: int = 1) -> tuple[int, int, int]:
    """(h, w, c) of a square image of so many pixels.

    >>> square(784)
    (28, 28, 1)
    """
    side = math.isqrt(pixels)
    if side * side != pixels:
        raise InputError(f"its images have {pixels} pixels, wanted is a square of pixels")
    return side, side, channels


def converted(
    arrays: Arrays,
    plan: Mapping[str, Taken],
    name: str,
    shape: tuple[int, int, int],
    classes: int = 0,
    args: Mapping[str, Any] | None = None,
) -> Prior:
    """The generator of that name with the arrays in place, float32; its card says what it is.

    Args:
      arrays: as published.
      plan: of every variable, by its dotted path, where it comes from.
      name, shape, classes, args: of the generator, as in a card.

    Raises:
      InputError: arrays that are missing, too many, or of another shape; all are named.
    """
    told = card(name, shape, classes, args)
    made = described(told, Path())
    wanted = {one for taken in plan.values() for one in taken.names}
    wrong = [f"{one} is missing" for one in sorted(wanted - arrays.keys())]
    wrong += [f"{one} is not wanted" for one in sorted(arrays.keys() - wanted)]
    refuse(wrong)
    like = jax.eval_shape(made.init, jax.random.key(0))
    shapes = {path: leaf.shape for path, leaf in weights.named(like).items()}
    ours = {path: turned(arrays, plan[path], shapes[path]) for path in shapes}
    refuse([one for one in ours.values() if isinstance(one, str)])
    leaves = [jnp.asarray(ours[path], jnp.float32) for path in shapes]
    return Prior(made, jax.tree.unflatten(jax.tree.structure(like), leaves), told)


def turned(arrays: Arrays, taken: Taken, shape: tuple[int, ...]) -> np.ndarray | str:
    """Our array of that shape, or what is wrong with theirs."""
    given = [np.asarray(arrays[name], np.float32) for name in taken.names]
    told = f"{' and '.join(taken.names)}, of {' and '.join(str(one.shape) for one in given)},"
    try:
        out = taken.turn(*given)
    except ValueError:  # NumPy's, of an array with other sides
        return f"{told} cannot be turned to {shape}"
    return out if out.shape == shape else f"{told} gives {out.shape}, wanted is {shape}"


def refuse(wrong: list[str]) -> None:
    """Raises what is wrong, the first four by name, if anything is."""
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise InputError(", ".join(wrong[:4]) + more)
