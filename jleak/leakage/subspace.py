"""How far apart the updates of two attribute values lie: angles between the subspaces that they span.

A measure of latent information that trains no probe, after Mo et al., arXiv 2105.13929, who measure it by
"subspace distance"; which distance, of which dimension, could not be read: the choices here are jleak's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, whole
from jleak.types import Key


class Distances(NamedTuple):
    """Between two k-dimensional subspaces, by their principal angles t: each 0 for equal, 1 for orthogonal.

    Attributes:
      geodesic: (sum t^2)^(1/2) over sqrt(k) pi / 2.
      chordal: (sum sin^2 t)^(1/2) over sqrt(k).
      projection: max sin t = ||U_0 U_0^T - U_1 U_1^T||_2.
    """

    geodesic: Float[Array, "..."]
    chordal: Float[Array, "..."]
    projection: Float[Array, "..."]


class Subspaces(NamedTuple):
    """How far apart two sets of updates lie, and how far apart they would if they were alike.

    Attributes:
      angles: principal angles between all of the one and all of the other, in radians, least first.
      distances: by those.
      across: between random halves of the one and of the other, mean over halvings.
      null: between two random halves of the same one, mean over halvings and both of them. As large as
        `across`, and so near 1 for long rows, where the values make no difference.
      excess: `across` - `null`: what the attribute moves. Around 0 where nothing.
    """

    angles: Float[Array, " k"]
    distances: Distances
    across: Distances
    null: Distances
    excess: Distances


def subspace_distance(
    key: Key,
    a_rows: Float[Array, "a p"],
    b_rows: Float[Array, "b p"],
    *,
    k: int,
    centred: bool = False,
    splits: int = 8,
) -> Subspaces:
    """The distance of the updates of one attribute value to those of another, and its null.

    Subspaces are the k leading right singular vectors of the rows. All halves have equally many rows, half
    of the smaller set's, since a subspace wanders more the fewer rows it is made of. Where there are as many
    rows of each, row i of the one may be matched to row i of the other in all but the attribute (the same
    labels, say): both are halved alike, and the half of one is held against the other half of the other, so
    that what tells two halves apart besides the attribute is in the null as well. It works in an orthonormal
    basis of the span of all rows (thin QR), where there are fewer of them than entries: memory as the rows
    take, and no squared condition as in their Gram matrix.

    Args:
      key: of the halvings.
      a_rows, b_rows: one layer's updates under each value, a row each.
      k: dimensions of the subspaces; at most the rows of a half (one less if centred) and the entries of a
        row.
      centred: takes each set's mean from its rows, so that only directions of variation count; without,
        the mean update counts as a direction.
      splits: random halvings.

    Returns:
      NaN where the rows span fewer than k dimensions.

    Raises:
      InputError: rows of different lengths, or `k` out of its bounds.

    >>> a, b = jax.random.normal(jax.random.key(0), (2, 20, 3)) * jnp.array([[[5, 1, 1]], [[1, 5, 1]]])
    >>> found = subspace_distance(jax.random.key(1), a, b, k=1)
    >>> bool(found.distances.geodesic > 0.9), bool(found.null.geodesic < 0.3)
    (True, True)
    """
    size = min(len(a_rows), len(b_rows)) // 2
    _checked(a_rows, b_rows, k, size - centred)
    whole("splits", splits)
    a, b = _in_own_span(a_rows, b_rows)

    def bases(key, rows):
        halves = jax.random.permutation(key, rows)[: 2 * size].reshape(2, size, -1)
        return [_basis(half, k, centred) for half in halves]

    def halved(key):
        keys = (key, key) if len(a) == len(b) else jax.random.split(key)
        (a0, a1), (b0, b1) = bases(keys[0], a), bases(keys[1], b)
        across = _mean([distances(_angles(one, other)) for one, other in ((a0, b1), (a1, b0))])
        return across, _mean([distances(_angles(a0, a1)), distances(_angles(b0, b1))])

    across, null = jax.vmap(halved)(jax.random.split(key, splits))
    across, null = (jax.tree.map(lambda leaf: leaf.mean(), part) for part in (across, null))
    angles = _angles(_basis(a, k, centred), _basis(b, k, centred))
    excess = jax.tree.map(jnp.subtract, across, null)
    return Subspaces(angles, distances(angles), across, null, excess)


def principal_angles(
    a_rows: Float[Array, "a p"], b_rows: Float[Array, "b p"], *, k: int, centred: bool = False
) -> Float[Array, " k"]:
    """The angles between the k leading right singular subspaces, in radians in [0, pi/2], least first.

    cos t_i are the singular values of U_0^T U_1, sin t_i those of (I - U_0 U_0^T) U_1 (Björck and Golub,
    "Numerical Methods for Computing Angles Between Linear Subspaces", Math. Comp. 1973); each is taken where
    it is the flatter one's inverse: below pi/4 the sine, which resolves angles of the size of rounding, where
    the cosine loses all below its root.

    Raises:
      InputError: as `subspace_distance`.

    >>> a, b = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 1e-4]])
    >>> print(principal_angles(a, b, k=1))
    [0.0001]
    """
    _checked(a_rows, b_rows, k, min(len(a_rows), len(b_rows)) - centred)
    a, b = _in_own_span(a_rows, b_rows)
    return _angles(_basis(a, k, centred), _basis(b, k, centred))


def distances(angles: Float[Array, " k"]) -> Distances:
    """The distances of subspaces with these principal angles.

    >>> [float(d) for d in distances(jnp.array([jnp.pi / 2, jnp.pi / 2]))]
    [1.0, 1.0, 1.0]
    """
    sines = jnp.sin(angles)
    return Distances(
        jnp.sqrt(jnp.square(angles).mean()) / (jnp.pi / 2), jnp.sqrt(jnp.square(sines).mean()), sines.max()
    )


def _checked(a: Array, b: Array, k: int, most: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(
            f"a_rows and b_rows must have a row an update, all of one length, got {a.shape} and {b.shape}; "
            "give one layer's updates of either value"
        )
    whole("k", k)
    most = min(most, a.shape[1])
    if k > most:
        raise InputError(
            f"k must be <= {most}, what the smaller set (halved for the null) and its rows of {a.shape[1]} "
            f"can span, got k={k} for {len(a)} and {len(b)} rows; use a smaller k or more updates"
        )


def _in_own_span(a: Float[Array, "a p"], b: Float[Array, "b p"]) -> tuple[Array, Array]:
    """Both in coordinates of an orthonormal basis of all rows, where that makes them shorter."""
    both = jnp.concatenate([a, b])
    if len(both) < both.shape[1]:
        both = linalg.qr(both.T, mode="r").T
    return both[: len(a)], both[len(a) :]


def _basis(rows: Float[Array, "m p"], k: int, centred: bool) -> Float[Array, "p k"]:
    """The k leading right singular vectors; NaN where the rows do not span as many dimensions."""
    rows = rows - rows.mean(0) if centred else rows
    _, sizes, axes = linalg.svd(rows, full_matrices=False)
    spanned = sizes[k - 1] > max(rows.shape) * jnp.finfo(rows.dtype).eps * sizes[0]
    return jnp.where(spanned, axes[:k].T, jnp.nan)


def _angles(u: Float[Array, "p k"], v: Float[Array, "p k"]) -> Float[Array, " k"]:
    inner = u.T @ v
    off = v - u @ inner
    defined = jnp.isfinite(inner).all()  # LAPACK does not return from every NaN
    inner, off = (jnp.where(defined, matrix, 0.0) for matrix in (inner, off))
    cosines = jnp.clip(linalg.svd(inner, compute_uv=False), 0, 1)
    sines = jnp.clip(linalg.svd(off, compute_uv=False), 0, 1)[::-1]
    sines = jnp.concatenate([jnp.zeros(len(cosines) - len(sines), sines.dtype), sines])
    angles = jnp.where(cosines > jnp.sqrt(0.5), jnp.arcsin(sines), jnp.arccos(cosines))
    return jnp.where(defined, angles, jnp.nan)


def _mean(found: list[Distances]) -> Distances:
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *found)
