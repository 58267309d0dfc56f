"""Mutual information by the distances to nearest neighbours: of a few dimensions, of any distribution."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Int

from jleak.check import InputError, whole
from jleak.leakage.mutual_information.estimate import Dims, Estimate, estimate, pairs, shuffled
from jleak.types import Key

MOST = 4
"""Components of each side by default."""

PARTS, QUANTILE = 10, 2.262
"""Disjoint parts of the sample that give the interval, and Student's 97.5 % quantile for as many."""

CHUNK = 64
"""Rows whose distances to all others are in memory at once."""

JITTER = 1e-5


def ksg(
    key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], *, neighbors: int = 3, dims: Dims = None
) -> Estimate:
    """psi(k) + psi(m) - mean(psi(n_x + 1) + psi(n_g + 1)): the first estimator of KSG.

    Of each pair, n_x and n_g count those nearer in x, and in g, than its k-th neighbour is in the largest of
    all coordinates (Kraskov, Stögbauer and Grassberger, "Estimating mutual information", Physical Review E
    2004, equation 8). For no more than some ten dimensions in all: it falls short where the information is
    large and the dimensions are several. Components of variance 1, with noise of 1e-5 so that no two
    distances are equal, as its authors have it.

    Its variance falls as 1/m, so that of ten disjoint parts, over ten, is that of the whole (Holmes and
    Nemenman, "Estimation of mutual information for real-valued data with error bars and controlled bias",
    Physical Review E 2019).

    Args:
      key: for the shuffled pairs, the parts and the noise.
      x, g: rows that belong together; time grows as their number squared, memory as the number.
      neighbors: k; more lowers the variance and raises the bias.
      dims: components of each; None: all, up to 4.

    Raises:
      InputError: as `pairs`; fewer than neighbors + 2 rows for each of ten parts.

    >>> x = jax.random.normal(jax.random.key(0), (1000, 1))
    >>> g = jnp.exp(x + jax.random.normal(jax.random.key(1), x.shape))
    >>> found = ksg(jax.random.key(2), x, g)
    >>> bool(abs(found.nats - jnp.log(2) / 2) < 0.1), bool(abs(found.null) < 0.1)
    (True, True)
    """
    whole("neighbors", neighbors)
    sample = pairs(x, g, dims, most=MOST)
    m = len(x)
    if m // PARTS < neighbors + 2:
        raise InputError(
            f"rows must be >= {PARTS} * (neighbors + 2) = {PARTS * (neighbors + 2)}, got rows={m}, "
            f"neighbors={neighbors}; draw more pairs or take fewer neighbors"
        )
    order, other, *noise = jax.random.split(key, 4)
    x, g = (
        (rows + JITTER * jax.random.normal(one, rows.shape))[jax.random.permutation(order, m)]
        for one, rows in zip(noise, (sample.x, sample.g), strict=True)
    )

    def measured(g):
        parts = [rows[: m - m % PARTS].reshape(PARTS, -1, rows.shape[1]) for rows in (x, g)]
        spread = lax.map(lambda part: nearest_information(*part, neighbors), tuple(parts)).std(ddof=1)
        return nearest_information(x, g, neighbors), QUANTILE * spread / jnp.sqrt(PARTS)

    nats, errors = lax.map(measured, jnp.stack([g, shuffled(other, g)]))
    return estimate(sample, nats[0], errors[0], nats[1], errors[1], digamma(m) - digamma(neighbors))


def nearest_information(
    x: Float[Array, "m dx"], g: Float[Array, "m dg"], neighbors: int = 3
) -> Float[Array, ""]:
    """The estimate of these rows as they are, in nats; at most psi(m) - psi(neighbors).

    Equal distances from a row count as one neighbour.

    Raises:
      InputError: as many neighbors as rows, or more.

    >>> x = jax.random.uniform(jax.random.key(0), (200, 1))
    >>> bool(nearest_information(x, x**2) > 3)
    True
    """
    x, g = jnp.asarray(x), jnp.asarray(g)
    m = len(x)
    if whole("neighbors", neighbors) >= m:
        raise InputError(f"neighbors must be < rows, got neighbors={neighbors}, rows={m}; draw more pairs")

    def one(i):
        own = jnp.arange(m) == i
        apart = [jnp.where(own, jnp.inf, _apart(rows.T, i)) for rows in (x, g)]
        reach = _smallest(jnp.maximum(*apart), neighbors)
        return sum(digamma((distance < reach).sum() + 1.0) for distance in apart)

    found = lax.map(one, jnp.arange(m), batch_size=min(m, CHUNK))
    return digamma(neighbors) + digamma(m) - found.mean()


def _apart(columns: Float[Array, "d m"], i: Int[Array, ""]) -> Float[Array, " m"]:
    """Of each row to row i, the largest difference of a coordinate."""
    return functools.reduce(jnp.maximum, [jnp.abs(column - column[i]) for column in columns])


def _smallest(values: Float[Array, " m"], k: int) -> Float[Array, ""]:
    """The k-th smallest of distinct values: in k passes, sixty times as fast on a CPU as `lax.top_k`."""
    found = values.min()
    for _ in range(k - 1):
        found = jnp.where(values > found, values, jnp.inf).min()
    return found
