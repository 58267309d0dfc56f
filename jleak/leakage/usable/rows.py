"""Updates as rows that a probe can learn from: narrowed, joined over layers, standardised, stacked."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jleak.check import InputError, one_of, whole
from jleak.leakage.layers import Rows
from jleak.leakage.projection import components, sketch
from jleak.types import Key

SPLITS = ("training", "validation", "test")
"""The names of the splits 0, 1 and 2."""

Split = Int[np.ndarray, " m"]
"""Of each row, 0 training, 1 validation, 2 test; on the host, never traced."""

FARTHEST = 10.0
"""Standardised entries are cut off here, so that no outlier alone decides a log-loss."""

HOW = ("pca", "sketch")


def members(split: Split) -> tuple[Split, Split, Split]:
    """The positions of the training, validation and test rows.

    Raises:
      InputError: one of them is empty.

    >>> [where.tolist() for where in members(np.array([0, 2, 0, 1]))]
    [[0, 2], [3], [1]]
    """
    split = np.asarray(split)
    found = tuple(np.flatnonzero(split == part) for part in range(len(SPLITS)))
    for name, where in zip(SPLITS, found, strict=True):
        if not len(where):
            raise InputError(
                f"every split must have a row, but there is none for {name}; number the splits 0, 1 and 2 "
                "(jleak.leakage.usable.draws)"
            )
    return found


def standardised(x: Float[Array, "m p"], split: Split) -> Float[Array, "m p"]:
    """Columns of mean 0 and variance 1 over the training rows; columns constant over these become 0.

    >>> standardised(jnp.array([[1.0, 5.0], [3.0, 5.0], [4.0, 6.0]]), np.array([0, 0, 2])).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    train = x[np.flatnonzero(np.asarray(split) == 0)]
    mean = train.mean(0)
    deviation = jnp.sqrt(jnp.square(train - mean).mean(0))
    varies = deviation > 1e-6 * jnp.abs(mean)  # a constant's own rounding is below that
    z = jnp.where(varies, (x - mean) / jnp.where(varies, deviation, 1.0), 0.0)
    return jnp.clip(z, -FARTHEST, FARTHEST)


def stacked(rows: Rows, split: Split) -> Float[Array, "layers m k"]:
    """All layers' standardised rows in one array, narrower ones filled up with columns of zeros.

    Raises:
      InputError: no layers, layers that differ in their number of rows, rows that are not as many as
        `split`, an entry that is not finite.

    >>> stacked({"a": jnp.ones((3, 2)), "b": jnp.ones((3, 4))}, np.arange(3)).shape
    (2, 3, 4)
    """
    check_rows(rows, split)
    k = max(x.shape[1] for x in rows.values())
    padded = [jnp.pad(standardised(x, split), ((0, 0), (0, k - x.shape[1]))) for x in rows.values()]
    return jnp.stack(padded)


def check_rows(rows: Rows, split: Split) -> None:
    """Checks that there is a finite row an update and layer (see `stacked`; traced entries pass)."""
    if not rows:
        raise InputError("rows must hold a layer at least, got none; take them from by_layer")
    for name, x in rows.items():
        if x.ndim != 2 or len(x) != len(split):
            raise InputError(
                f"rows must have one row an update, {len(split)} by split, got {x.shape} for layer {name!r}; "
                "flatten every update to one row and give each a split"
            )
        if not isinstance(x, jax.core.Tracer) and not bool(jnp.isfinite(x).all()):
            raise InputError(
                f"the rows of layer {name!r} must be finite, got infinities or NaN; leave out the updates "
                "that diverged"
            )


def narrowed(key: Key, rows: Rows, split: Split, *, k: int = 256, how: str = "sketch") -> Rows:
    """Layers of more than `k` columns brought to `k`.

    Args:
      key: of the sketch, which is the same for all rows of a layer.
      rows: the updates.
      split: principal components are those of the training rows.
      k: columns, at most.
      how: `sketch` or `pca` (`jleak.leakage.projection`).

    Raises:
      InputError: `k` is not a whole number >= 1, `how` is unknown, rows as in `stacked`.

    >>> rows = {"a": jnp.ones((5, 2)), "b": jnp.ones((5, 40))}
    >>> [x.shape for x in narrowed(jax.random.key(0), rows, np.arange(5), k=8).values()]
    [(5, 2), (5, 8)]
    """
    whole("k", k)
    one_of("how", how, HOW)
    check_rows(rows, split)
    train = np.flatnonzero(np.asarray(split) == 0)

    def narrow(key, x):
        if x.shape[1] <= k:
            return x
        if how == "pca":
            return components(x[train], k).apply(x)
        return jax.vmap(lambda row: sketch(key, row, k))(x)

    keys = jax.random.split(key, len(rows))
    return {name: narrow(one, x) for one, (name, x) in zip(keys, rows.items(), strict=True)}


def joined(rows: Rows, split: Split) -> Float[Array, "m p"]:
    """All layers side by side: standardised, and divided by the root of a layer's columns, so that none
    outweighs another by being wide.

    >>> joined({"a": jnp.eye(3), "b": jnp.eye(3)}, np.arange(3)).shape
    (3, 6)
    """
    check_rows(rows, split)
    parts = [standardised(x, split) / jnp.sqrt(x.shape[1]) for x in rows.values()]
    return jnp.concatenate(parts, axis=1)


def cumulative(
    key: Key, rows: Rows, split: Split, *, k: int = 256, how: str = "sketch", end: str = "input"
) -> Rows:
    """Sets of layers that grow: what one end of the network gives away by itself.

    Args:
      key, rows, split, k, how: as of `narrowed`, which the joined layers go through.
      end: `input`: the first layer, the first two, ..., all (named `..last`); `output`: all, all but the
        first, ..., the last (named `first..`).

    Raises:
      InputError: as `narrowed`; `end` is unknown.

    >>> rows = {"a": jnp.eye(4), "b": jnp.eye(4)}
    >>> list(cumulative(jax.random.key(0), rows, np.arange(4))), list(
    ...     cumulative(jax.random.key(0), rows, np.arange(4), end="output"))
    (['..a', '..b'], ['a..', 'b..'])
    """
    one_of("end", end, ("input", "output"))
    names = list(rows)
    sets = {}
    for i, name in enumerate(names):
        title, chosen = (f"..{name}", names[: i + 1]) if end == "input" else (f"{name}..", names[i:])
        sets[title] = joined({one: rows[one] for one in chosen}, split)
    return narrowed(key, sets, split, k=k, how=how)
