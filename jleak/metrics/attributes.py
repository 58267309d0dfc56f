"""How well an attribute was inferred: accuracies and the area under the ROC curve, with 95 % intervals."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jleak.check import InputError

Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


class Score(NamedTuple):
    """A share between 0 and 1, and its 95 % interval."""

    value: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def accuracy(guess: Int[Array, " n"], true: Int[Array, " n"]) -> Score:
    """Share of right guesses; interval of Wilson (JASA 1927).

    Raises:
      InputError: not as many guesses as truths, or none.

    >>> [round(float(u), 3) for u in accuracy(jnp.array([0, 1, 1, 1]), jnp.array([0, 1, 1, 0]))]
    [0.75, 0.301, 0.954]
    """
    guess, true = _paired(guess, true)
    right = (guess == true).mean()
    return Score(right, *wilson(right, len(true)))


def balanced_accuracy(guess: Int[Array, " n"], true: Int[Array, " n"], *, classes: int = 2) -> Score:
    """Mean over the values of the share of theirs that was found; a guess ahead of all scores 1 / classes.

    Values that do not occur are left out. The interval joins those of Wilson of each recall by the square of
    their distances (Newcombe, Statistics in Medicine 1998, method 10, there for differences).

    Raises:
      InputError: as `accuracy`.

    >>> [round(float(u), 3) for u in balanced_accuracy(jnp.array([0, 1, 1, 1]), jnp.array([0, 1, 1, 0]))]
    [0.75, 0.364, 0.953]
    """
    guess, true = _paired(guess, true)
    of_value = true == jnp.arange(classes)[:, None]
    counts = of_value.sum(1)
    there = counts > 0
    recall = (of_value & (guess == true)).sum(1) / jnp.maximum(counts, 1)
    low, high = wilson(recall, jnp.maximum(counts, 1))
    share = there / there.sum()
    value = (share * recall).sum()

    def joint(distance):
        return jnp.sqrt(jnp.square(share * distance).sum())

    return Score(value, value - joint(recall - low), value + joint(high - recall))


def auc(scores: Float[Array, " n"], true: Bool[Array, " n"] | Int[Array, " n"]) -> Score:
    """The area under the ROC curve: the share of pairs of a positive and a negative that are in order.

    Mann and Whitney's U over n_1 n_0, ties counting half. The interval inverts the score test with the
    variance of Hanley and McNeil (Radiology 1982) at the unknown area, (n_1 + n_0)/2 in place of either
    (Newcombe, Statistics in Medicine 2006, method 5), so it has a width at areas of 0 and 1, too. NaN where
    one side is empty.

    Args:
      scores: higher for likelier.
      true: 1 for positives, 0 for negatives. Of more values, rate each against the rest: `true == value`.

    Raises:
      InputError: as `accuracy`.

    >>> [round(float(u), 3) for u in auc(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1]))]
    [0.75, 0.227, 0.967]
    """
    scores, true = _paired(scores, true)
    true = true.astype(bool)
    ordered = jnp.sort(scores)
    below, up_to = (jnp.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    ranks = (below + up_to + 1) / 2
    ones = true.sum()
    zeros = len(true) - ones
    value = (jnp.where(true, ranks, 0).sum() / ones - (ones + 1) / 2) / zeros
    value = jnp.where(jnp.isfinite(scores).all(), jnp.clip(value, 0, 1), jnp.nan)
    return Score(value, *_hanley_mcneil(value, ones, zeros))


def wilson(share: Float[Array, "..."] | float, count: Int[Array, "..."] | float) -> tuple:
    """The 95 % interval of a share of `count` cases: all p with |share - p| <= z sqrt(p (1 - p) / count).

    Of arrays, traced ones too, or of numbers, then in Python's own floats. Source: Wilson, JASA 1927.

    >>> [round(float(u), 3) for u in wilson(jnp.array(1.0), 10)], [round(u, 3) for u in wilson(1.0, 8)]
    ([0.722, 1.0], [0.676, 1.0])
    """
    spread = Z * (share * (1 - share) / count + Z**2 / (4 * count**2)) ** 0.5
    middle, scale = share + Z**2 / (2 * count), 1 + Z**2 / count
    return abs((middle - spread) / scale), 1 - abs(1 - (middle + spread) / scale)  # rounding stays inside


def _hanley_mcneil(value: Float[Array, ""], ones: Array, zeros: Array) -> tuple[Array, Array]:
    """The areas a with |value - a| = z sqrt(V(a)), by bisection between `value` and 0 or 1."""
    mean = (ones + zeros) / 2 - 1

    def beyond(a):
        variance = a * (1 - a) * (1 + mean * ((1 - a) / (2 - a) + a / (1 + a))) / (ones * zeros)
        return jnp.abs(value - a) > Z * jnp.sqrt(variance)

    def bound(end):
        def halve(_, inside_and_out):
            inside, out = inside_and_out
            a = (inside + out) / 2
            return jnp.where(beyond(a), inside, a), jnp.where(beyond(a), a, out)

        return lax.fori_loop(0, 40, halve, (value, jnp.full_like(value, end)))[0]

    return bound(0.0), bound(1.0)


def _paired(one: Array, true: Array) -> tuple[Array, Array]:
    one, true = jnp.asarray(one), jnp.asarray(true)
    if one.ndim != 1 or one.shape != true.shape or not len(true):
        raise InputError(
            f"there must be one guess and one truth a case, at least one, got {one.shape} and {true.shape}; "
            "give those of one layer"
        )
    return one, true
