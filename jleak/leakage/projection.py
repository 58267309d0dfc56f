"""Fewer numbers for a vector: a random sketch for any length, principal components for a sample."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jleak import linalg
from jleak.check import whole
from jleak.types import Key

NONZEROS = 4
"""Places to which the sketch sends each entry."""


class Components(NamedTuple):
    """Principal components of a sample.

    Attributes:
      mean: of the sample.
      axes: the directions, a row each, divided by the deviation along it: what they give has variance 1.
        Directions along which the sample does not vary are 0.
      explained: the share of the variance that lies along them.
    """

    mean: Float[Array, " p"]
    axes: Float[Array, "k p"]
    explained: Float[Array, ""]

    def apply(self, rows: Float[Array, "... p"]) -> Float[Array, "... k"]:
        """The coordinates of these vectors."""
        return (rows - self.mean) @ self.axes.T


class Plan(NamedTuple):
    """Where a sketch sends each entry of a vector, and with which sign; `NONZEROS` places each."""

    places: Int[Array, "s p"]
    signs: Float[Array, "s p"]


def plan(key: Key, p: int, k: int) -> Plan:
    """The sketch of vectors of `p` entries to `k`, drawn once for all of them.

    Raises:
      InputError: k is not a whole number >= 1.

    >>> plan(jax.random.key(0), 9, 4).places.shape == (NONZEROS, 9)
    True
    """
    whole("k", k)
    k_place, k_sign = jax.random.split(key)
    return Plan(
        jax.random.randint(k_place, (NONZEROS, p), 0, k), jax.random.rademacher(k_sign, (NONZEROS, p), float)
    )


def sketched(v: Float[Array, " p"], of: Plan, k: int) -> Float[Array, " k"]:
    """The vector, sketched by a plan.

    >>> v = jnp.arange(9.0)
    >>> of = plan(jax.random.key(0), 9, 4)
    >>> bool(jnp.allclose(sketched(2 * v, of, 4), 2 * sketched(v, of, 4)))
    True
    """
    found = jnp.zeros(k, v.dtype).at[of.places].add(of.signs.astype(v.dtype) * v)
    return found / jnp.sqrt(jnp.asarray(NONZEROS, v.dtype))


def sketch(key: Key, v: Float[Array, " p"], k: int) -> Float[Array, " k"]:
    """A random projection of `v` that keeps lengths in the mean; `v` itself, filled with zeros, up to k.

    Every entry is added, with random signs, to `NONZEROS` random places of the result, which is divided by
    sqrt(NONZEROS) (Kane and Nelson, "Sparser Johnson-Lindenstrauss Transforms", J. ACM 2014). It takes as
    much memory as `v`, not k times that. The same key projects all vectors alike.

    Raises:
      InputError: k is not a whole number >= 1.

    >>> v = jnp.ones(10_000)
    >>> found = sketch(jax.random.key(0), v, 256)
    >>> found.shape, bool(abs(found @ found / (v @ v) - 1) < 0.3)
    ((256,), True)
    """
    whole("k", k)
    if len(v) <= k:
        return jnp.zeros(k, v.dtype).at[: len(v)].set(v)
    return sketched(v, plan(key, len(v), k), k)


def components(rows: Float[Array, "m p"], k: int) -> Components:
    """The `k` leading principal components of a sample, scaled to variance 1 along each.

    By the m x m products of the rows, where p is larger.

    Raises:
      InputError: k is not a whole number >= 1.

    >>> rows = jnp.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])
    >>> found = components(rows, 1)
    >>> found.explained.item(), [round(abs(u), 2) for u in found.apply(rows).ravel().tolist()]
    (1.0, [1.22, 0.0, 1.22])
    """
    whole("k", k)
    m, p = rows.shape
    mean = rows.mean(0)
    apart = rows - mean
    products = apart @ apart.T if p > m else apart.T @ apart
    sizes, vectors = linalg.eigh(products)
    sizes, vectors = sizes[::-1][:k], vectors[:, ::-1][:, :k]
    kept = sizes > 1e-6 * jnp.maximum(sizes[0], jnp.finfo(rows.dtype).tiny)
    root = jnp.sqrt(jnp.where(kept, sizes, 1.0))
    # squares along an axis: `sizes` over m; in the dual, the axis itself is apart.T @ vector / root
    axes = (vectors.T @ apart) / root[:, None] if p > m else vectors.T
    axes = jnp.where(kept[:, None], axes * jnp.sqrt(m) / root[:, None], 0.0)
    axes = jnp.zeros((k, p), rows.dtype).at[: len(axes)].set(axes)
    whole_ = jnp.trace(products)
    return Components(mean, axes, jnp.where(whole_ > 0, jnp.where(kept, sizes, 0.0).sum() / whole_, 1.0))
