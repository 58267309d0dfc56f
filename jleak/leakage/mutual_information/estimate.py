"""What an estimator of mutual information finds, and what all of them do to a sample first."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float, Int

from jleak.check import InputError, whole
from jleak.leakage.projection import components
from jleak.types import Key

Dims = tuple[int, int] | None
"""How many principal components of x and of g to keep; None: all, up to what suits the estimator."""


class Estimate(NamedTuple):
    """Mutual information of two vectors, estimated from independent pairs, and how far to trust it.

    Attributes:
      nats: the estimate; can be below 0, which the information cannot.
      low, high: 95 % interval over samples of this size. It does not cover the bias.
      null: what the estimator says of the same vectors in shuffled pairs, where the truth is 0.
      null_error: half the width of the 95 % interval of what shuffled pairs give. A null farther than that
        from 0 is a bias.
      cap: the largest value that the estimator can show, or that its sample can support; near it the
        information may be any larger.
      dims: of x and of g, how many principal components were kept.
      explained: the share of each one's variance along them. What lies outside is not counted: in the mean,
        an estimate is of no more than the information of the components.
    """

    nats: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    null: Float[Array, ""]
    null_error: Float[Array, ""]
    cap: Float[Array, ""]
    dims: Int[Array, " 2"]
    explained: Float[Array, " 2"]

    @property
    def bits(self) -> Float[Array, ""]:
        """The estimate in bits."""
        return self.nats / jnp.log(2.0)


class Pairs(NamedTuple):
    """A sample as estimators take it: principal components, of variance 1 each.

    Attributes:
      x, g: the two vectors, a row each.
      dims: their lengths.
      explained: the share of the variance that was kept.
    """

    x: Float[Array, "m dx"]
    g: Float[Array, "m dg"]
    dims: Int[Array, " 2"]
    explained: Float[Array, " 2"]


def pairs(
    x: Float[Array, "m px"], g: Float[Array, "m pg"], dims: Dims, *, most: int, least: int = 2
) -> Pairs:
    """The sample in few numbers: its leading principal components, each side by itself.

    Mutual information does not change under invertible maps, so that whitening costs nothing; leaving
    components out can only lower it. Copies of a column and units make no difference to what comes out.

    Args:
      x, g: row i of one belongs to row i of the other.
      dims: how many of each; None for all of them, up to `most`.
      least: how many rows the estimator needs.

    Raises:
      InputError: not matrices, unequal numbers of rows, too few of them, more dims than columns or rows.

    >>> x = jax.random.normal(jax.random.key(0), (100, 3))
    >>> found = pairs(x, x @ jnp.ones((3, 10)), (2, 1), most=8)
    >>> found.x.shape, found.g.shape, [round(share, 1) for share in found.explained.tolist()]
    ((100, 2), (100, 1), [0.7, 1.0])
    """
    rows = {"x": x, "g": g}
    for name, side in rows.items():
        matrix(name, side, least=least)
    if len(x) != len(g):
        raise InputError(
            f"x and g must be pairs, got {len(x)} rows of x and {len(g)} of g; draw both together"
        )
    kept = dims or tuple(min(most, *side.shape) for side in rows.values())
    found = [leading(name, side, k) for (name, side), k in zip(rows.items(), kept, strict=True)]
    (x, share), (g, other) = found
    return Pairs(x, g, jnp.array(kept), jnp.stack([share, other]))


def matrix(name: str, rows: Float[Array, "m p"], *, least: int = 2) -> None:
    """Refuses what has not at least so many rows.

    Raises:
      InputError: not a matrix, too few rows.

    >>> matrix("x", jnp.ones(3))
    Traceback (most recent call last):
    jleak.check.InputError: x must have a row a pair, got shape (3,); flatten each into one row
    """
    shape = jnp.shape(rows)
    if len(shape) != 2:
        raise InputError(f"{name} must have a row a pair, got shape {shape}; flatten each into one row")
    if shape[0] < least:
        raise InputError(f"rows must be >= {least}, got {shape[0]} of {name}; draw more pairs")


def leading(name: str, rows: Float[Array, "m p"], k: int) -> tuple[Float[Array, "m k"], Float[Array, ""]]:
    """The k leading principal components of these rows, and the share of the variance along them.

    Raises:
      InputError: k > columns or rows.

    >>> leading("x", jnp.ones((3, 2)), 5)
    Traceback (most recent call last):
    jleak.check.InputError: dims of x must be <= its columns and rows, got 5 of shape (3, 2); keep fewer
    """
    if whole(f"dims of {name}", k) > min(rows.shape):
        raise InputError(
            f"dims of {name} must be <= its columns and rows, got {k} of shape {rows.shape}; keep fewer"
        )
    found = components(rows, k)
    return found.apply(rows), found.explained


def normal_scores(rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """Each column by its ranks, as the quantiles of a normal; equal values have the same.

    Increasing maps, which leave mutual information as it is and heavy tails behind.

    >>> [round(score, 2) for score in normal_scores(jnp.array([[1.0], [-2.0], [1e9]])).ravel().tolist()]
    [0.0, -0.97, 0.97]
    """
    ordered = jnp.sort(rows, axis=0)
    sides = ("left", "right")
    low, high = (
        jax.vmap(lambda a, v, s=s: jnp.searchsorted(a, v, side=s), 1, 1)(ordered, rows) for s in sides
    )
    return ndtri((low + high) / (2 * len(rows)))


def shuffled(key: Key, g: Float[Array, "m p"]) -> Float[Array, "m p"]:
    """The rows in random order: pairs of which nothing is told."""
    return jax.random.permutation(key, g)


def estimate(
    sample: Pairs,
    nats: Float[Array, ""],
    error: Float[Array, ""],
    null: Float[Array, ""],
    null_error: Float[Array, ""],
    cap: Float[Array, ""],
) -> Estimate:
    """The estimate of a sample, with half the width of its interval."""
    cap = jnp.asarray(cap, nats.dtype)
    return Estimate(nats, nats - error, nats + error, null, null_error, cap, sample.dims, sample.explained)


def capped(found: Estimate, share: float = 0.9) -> Bool[Array, ""]:
    """Whether an estimate is so near its cap, above that share of it, that it only bounds from below.

    >>> x = jax.random.normal(jax.random.key(0), (200, 1))
    >>> from jleak.leakage.mutual_information import ksg
    >>> bool(capped(ksg(jax.random.key(1), x, x)))
    True
    """
    return found.nats > share * found.cap
