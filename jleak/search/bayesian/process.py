"""Gaussian process regression on a buffer of fixed size, some of whose rows count.

Rows that do not count are put apart: their kernel is that of unit noise, their value 0. They then change
neither the posterior nor the likelihood, and shapes stay what they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from jleak import linalg
from jleak.tree import safe_sqrt, select

LENGTHS, AMPLITUDE, NOISE = (0.005, 2.0), (0.05, 20.0), (5e-4, 0.2)
"""Bounds of lengthscales, signal and noise variance, for points in [0, 1]^d and standardised values."""

RATE = 0.1
"""Adam's rate on the unbounded parameters."""


class Kernel(NamedTuple):
    """Parameters of the kernel and of the noise, unbounded (`values` has them within their bounds).

    Attributes:
      lengths: lengthscales, one a dimension.
      amplitude: signal variance.
      noise: noise variance.
    """

    lengths: Float[Array, " d"]
    amplitude: Float[Array, ""]
    noise: Float[Array, ""]


class Data(NamedTuple):
    """What is regressed on.

    Attributes:
      x: points in [0, 1]^d, a row each.
      y: their values.
      known: the rows that count.
    """

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    known: Bool[Array, " n"]


def kernel(d: int, length: float = 0.5, amplitude: float = 1.0, noise: float = 0.005) -> Kernel:
    """The kernel with these values; the defaults are where a fit begins.

    >>> held = values(kernel(1))
    >>> round(float(held.lengths[0]), 3), round(float(held.amplitude), 3), round(float(held.noise), 3)
    (0.5, 1.0, 0.005)
    """
    return Kernel(
        jnp.full(d, _free(length, LENGTHS), float),
        jnp.full((), _free(amplitude, AMPLITUDE), float),
        jnp.full((), _free(noise, NOISE), float),
    )


def values(raw: Kernel) -> Kernel:
    """The parameters within their bounds: their logarithms are sigmoids of what is free."""
    return Kernel(_held(raw.lengths, LENGTHS), _held(raw.amplitude, AMPLITUDE), _held(raw.noise, NOISE))


def _held(raw: Array, bounds: tuple[float, float]) -> Array:
    low, high = jnp.log(jnp.array(bounds))
    return jnp.exp(low + (high - low) * jax.nn.sigmoid(raw))


def _free(value: float, bounds: tuple[float, float]) -> Array:
    low, high = jnp.log(jnp.array(bounds))
    share = (jnp.log(value) - low) / (high - low)
    return jnp.log(share) - jnp.log1p(-share)


def matern(a: Float[Array, "n d"], b: Float[Array, "m d"], held: Kernel) -> Float[Array, "n m"]:
    """Matern-5/2 with a lengthscale for each dimension: amplitude (1 + s + s^2 / 3) exp(-s), s = sqrt(5) r.

    r is the distance in lengthscales (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
    equation 4.17).

    >>> held = Kernel(jnp.array([2.0]), jnp.array(3.0), jnp.array(0.1))
    >>> round(float(matern(jnp.array([[0.0]]), jnp.array([[2.0]]), held)[0, 0]), 4)
    1.572
    """
    a, b = a / held.lengths, b / held.lengths
    product = jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
    square = jnp.sum(a**2, 1)[:, None] + jnp.sum(b**2, 1) - 2 * product
    s = safe_sqrt(5 * square)
    return held.amplitude * (1 + s + s**2 / 3) * jnp.exp(-s)


def covariance(held: Kernel, data: Data) -> Float[Array, "n n"]:
    """The covariance of the values, noise included; what is not known is apart, with variance 1."""
    both = data.known[:, None] & data.known
    apart = jnp.where(data.known, held.noise, 1.0)
    return jnp.where(both, matern(data.x, data.x, held), 0.0) + jnp.diag(apart)


def factor(k: Float[Array, "n n"], y: Float[Array, " n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """The Cholesky factor L of a covariance, and the inverse of that covariance times y."""
    low = linalg.cholesky(k)
    return low, linalg.cho_solve(low, y)


@jax.custom_vjp
def evidence(k: Float[Array, "n n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    """-(y^T K^-1 y + log det K) / 2, with its gradient in closed form (Rasmussen and Williams, equation 5.9).

    >>> round(float(evidence(jnp.array([[2.0]]), jnp.array([1.0]))), 4)
    -0.5966
    """
    return evidence_and_factor(k, y)[0]


def evidence_and_factor(k, y):
    low, weights = factor(k, y)
    return -0.5 * (y @ weights) - jnp.sum(jnp.log(jnp.diag(low))), (low, weights)


def evidence_gradient(kept, change):
    low, weights = kept
    inverse = linalg.cho_solve(low, jnp.eye(len(low), dtype=low.dtype))
    return 0.5 * change * (jnp.outer(weights, weights) - inverse), -change * weights


evidence.defvjp(evidence_and_factor, evidence_gradient)


def likelihood(raw: Kernel, data: Data) -> Float[Array, ""]:
    """The log marginal likelihood (ibid., equation 2.30)."""
    fits = evidence(covariance(values(raw), data), jnp.where(data.known, data.y, 0.0))
    return fits - 0.5 * data.known.sum() * jnp.log(2 * jnp.pi)


def posterior(
    raw: Kernel, data: Data, x: Float[Array, "m d"]
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Mean and covariance of the function, without noise, at `x` (ibid., equations 2.25 and 2.26)."""
    held = values(raw)
    low, weights = factor(covariance(held, data), jnp.where(data.known, data.y, 0.0))
    across = jnp.where(data.known[:, None], matern(data.x, x, held), 0.0)
    gone = linalg.solve_triangular(low, across, lower=True)
    return across.T @ weights, matern(x, x, held) - jnp.matmul(gone.T, gone, precision=lax.Precision.HIGHEST)


def fitted(raw: Kernel, moments: PyTree, data: Data, steps: int) -> tuple[Kernel, PyTree]:
    """`steps` steps of Adam up the likelihood, from where the last fit ended; none where that fails.

    Args:
      raw: where it begins.
      moments: Adam's, from `begun`.
      data: what is regressed on.
      steps: how many; 0 for none.
    """
    tx = optax.adam(RATE)

    def step(state, _):
        raw, moments = state
        slope = jax.grad(lambda raw: -likelihood(raw, data) / jnp.maximum(data.known.sum(), 1))(raw)
        moves, after = tx.update(slope, moments, raw)
        works = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slope)]).all()
        return select(works, (optax.apply_updates(raw, moves), after), state), None

    return lax.scan(step, (raw, moments), length=steps)[0]


def begun(raw: Kernel) -> PyTree:
    """Adam's moments before the first step."""
    return optax.adam(RATE).init(raw)
