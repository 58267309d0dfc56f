"""What is recovered, and what vouches for it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jleak.types import Labels, Status

RESIDUAL, CONSISTENCY = 256.0, 4096.0
"""What counts as rounding: so many units of the update's last place (eps) in the certificate's two parts.

Within both a vector is `PROVEN` (`jleak.types.Status`).
"""

NOISE = 4.0
"""A residual up to so many times what the noise alone would give is explained by it."""


OPEN = 0.02
"""Expected error of a pixel from which an image is no recovery; believed beforehand is 0.3."""


class Recovery(NamedTuple):
    """Recovered vectors and what vouches for them.

    Attributes:
      x: images (n, h, w, c), or features (n, width); not clipped.
      y: their labels: as granted, else in the order of the classes.
      residual: the certificate's first part, of the batch: the largest relative error of a tensor of the
        gradient computed anew from x, ||A x - dW|| / ||dW||.
      consistency: its second part, of each: ||B (A(x) - A)||, for cross entropy the distance of
        softmax(x W + b) from the probabilities that the solution rests on.
      error: expected root-mean-square error of each from the update's noise, where it is determined.
      status: `Status` of each.
    """

    x: Float[Array, "n ..."]
    y: Labels
    residual: Float[Array, ""]
    consistency: Float[Array, " n"]
    error: Float[Array, " n"]
    status: Int[Array, " n"]


class Evidence(NamedTuple):
    """What a status is decided by.

    Attributes:
      residual, consistency: as in `Recovery`.
      noise: the residual that the update's noise alone would give.
      offset: whether the classes leave no common offset open.
      full: whether the gradient determines every vector; under softmax only fewer than classes.
      entire: whether nothing was removed from the classifier's gradient (`unmasked`).
      readable: whether there is a finite gradient other than zero in every layer.
    """

    residual: Float[Array, ""]
    consistency: Float[Array, " n"]
    noise: Float[Array, ""]
    offset: Bool[Array, ""]
    full: Bool[Array, ""]
    entire: Bool[Array, ""]
    readable: Bool[Array, ""]


def unmasked(dw: Float[Array, "out in"]) -> Bool[Array, ""]:
    """Whether no entry is zero in a row and a column that are not: no sum of outer products leaves such.

    >>> bool(unmasked(jnp.outer(jnp.array([1.0, 2.0]), jnp.array([3.0, 0.0])))), bool(unmasked(jnp.eye(2)))
    (True, False)
    """
    holds = dw != 0
    return ~(~holds & holds.any(1)[:, None] & holds.any(0)).any()


def judge(y: Labels, seen: Evidence, eps: float, classes: int) -> Int[Array, " n"]:
    """The status of each vector, the first that applies.

    Args:
      y: their labels.
      seen: the evidence.
      eps: of the update's type.
      classes: how many there are.

    >>> yes = jnp.array(True)
    >>> seen = Evidence(jnp.array(1e-6), jnp.array([1e-5, 1e-2]), jnp.array(1e-9), yes, yes, yes, yes)
    >>> [Status(int(one)).name for one in judge(jnp.array([0, 3]), seen, 1.2e-7, 10)]
    ['PROVEN', 'APPROXIMATE']
    """
    counts = jax.nn.one_hot(y, classes, dtype=jnp.int32).sum(0)
    exact = seen.full & (seen.residual <= RESIDUAL * eps) & (seen.consistency <= CONSISTENCY * eps)
    noisy = seen.full & (seen.residual <= NOISE * seen.noise)
    repeated = counts[y] > 1
    rules = [
        (~seen.readable, Status.UNREADABLE),
        (exact & repeated, Status.AMBIGUOUS),
        (exact, Status.PROVEN),
        (~seen.entire, Status.MASKED),  # what is missing counts as noise, but is none
        (noisy & repeated, Status.AMBIGUOUS),
        (noisy, Status.NOISY),
        (~seen.offset, Status.COMMON_OFFSET),
        (repeated, Status.CLASS_MEAN),
        (~seen.full, Status.RANK_DEFICIENT),
    ]
    return first(rules, len(y))


def first(rules: list[tuple[Array, Status]], n: int) -> Int[Array, " n"]:
    """Of n vectors the status of the first rule that applies; APPROXIMATE where none does.

    >>> first([(jnp.array([False, True]), Status.MASKED), (True, Status.NOISY)], 2).tolist()
    [1, 8]
    """
    status = jnp.full(n, Status.APPROXIMATE, jnp.int32)
    for condition, name in reversed(rules):  # no jnp.select: it needs argmax (`precision`)
        status = jnp.where(condition, jnp.int32(name), status)
    return status
