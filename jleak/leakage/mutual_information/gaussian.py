"""Mutual information of vectors that are taken for jointly Gaussian: by their covariance."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, whole
from jleak.leakage.mutual_information.estimate import Dims, Estimate, estimate, pairs, shuffled
from jleak.types import Key

MOST = 8
"""Components of each side by default."""


def gaussian(
    key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], *, dims: Dims = None, permutations: int = 20
) -> Estimate:
    """1/2 log(det C_x det C_g / det C) of the principal components' covariance, shrunk.

    Of any joint distribution it sees what is linear: the information of the Gaussian of the same covariance.
    C is shrunk (`ledoit_wolf`), which takes away nearly all of the bias dx dg / 2m of unrelated vectors and
    leaves a little too few nats of closely related ones. The interval is the normal approximation of the
    score's: (x^T C_x^-1 x + g^T C_g^-1 g - z^T C^-1 z)/2 is the influence of a pair z = (x, g) on the
    estimate. Where g is a linear function of x, the information is infinite, and the estimate stops at its
    cap, which shrinkage sets.

    Args:
      key: for the shuffled pairs.
      x, g: rows that belong together.
      dims: components of each; None: all, up to 8.
      permutations: how many shuffles the null is the mean of.

    Raises:
      InputError: as `pairs`; rows <= both dims together + 1; `permutations` < 2.

    >>> x = jax.random.normal(jax.random.key(0), (1000, 2))
    >>> g = x + jax.random.normal(jax.random.key(1), x.shape)
    >>> found = gaussian(jax.random.key(2), x, g)
    >>> bool(abs(found.nats - jnp.log(2)) < 0.1), bool(abs(found.null) < 0.01)
    (True, True)
    """
    whole("permutations", permutations, least=2, hint="the null's interval comes from their spread")
    sample = pairs(x, g, dims, most=MOST, least=3)
    d = sample.x.shape[1]
    if len(x) < sum(sample.x.shape[1:] + sample.g.shape[1:]) + 2:
        raise InputError(
            f"rows must be >= both dims + 2 = {d + sample.g.shape[1] + 2}, got rows={len(x)}; "
            "draw more pairs or keep fewer dims"
        )
    cov, shrinkage = _covariance(sample.x, sample.g)
    score = _scores(cov, sample.x, sample.g)
    nulls = lax.map(
        lambda key: gaussian_information(_covariance(sample.x, shuffled(key, sample.g))[0], d),
        jax.random.split(key, permutations),
    )
    most = -min(d, len(cov) - d) * jnp.log(shrinkage * (2 - shrinkage)) / 2  # all correlations 1 - shrinkage
    return estimate(
        sample,
        gaussian_information(cov, d),
        1.96 * score.std() / jnp.sqrt(len(x)),
        nulls.mean(),
        1.96 * nulls.std(),
        most,
    )


def gaussian_information(covariance: Float[Array, "d d"], split: int) -> Float[Array, ""]:
    """Nats that the first `split` entries of a Gaussian vector tell of the others, and these of them.

    Args:
      covariance: of all of them; positive definite.

    Raises:
      InputError: no entries on one side.

    >>> round(gaussian_information(jnp.array([[1.0, 0.6], [0.6, 1.0]]), 1).item(), 4)  # -log(1 - 0.36)/2
    0.2231
    """
    if not 0 < split < len(covariance):
        raise InputError(f"split must be from 1 to {len(covariance) - 1}, got split={split}")
    parts = covariance[:split, :split], covariance[split:, split:], covariance
    one, other, joint = (linalg.slogdet(part)[1] for part in parts)
    return (one + other - joint) / 2


def ledoit_wolf(rows: Float[Array, "m p"]) -> tuple[Float[Array, "p p"], Float[Array, ""]]:
    """A sample's covariance drawn towards a multiple of the identity, and how far, from 0 to 1.

    C* = (1 - s) C + s mu I with mu = tr C / p and s the least of 1 and b / d, d = |C - mu I|^2 / p,
    b = mean_i |z_i z_i^T - C|^2 / (m p): what minimises the expected squared error (Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis
    2004). Columns that do not vary do not count; they get the variance mu.

    >>> rows = jax.random.normal(jax.random.key(0), (50, 10)) * 2
    >>> covariance, shrinkage = ledoit_wolf(rows)
    >>> bool(shrinkage > 0.5), bool(abs(covariance - 4 * jnp.eye(10)).max() < 1.5)
    (True, True)
    """
    m = len(rows)
    rows = rows - rows.mean(0)
    cov = rows.T @ rows / m
    moves = jnp.diag(cov) > 0
    p = jnp.maximum(moves.sum(), 1)
    mu = jnp.trace(cov) / p
    b = (jnp.square((rows**2).sum(1)).sum() / m - jnp.square(cov).sum()) / (m * p)
    d = jnp.square(cov - mu * jnp.diag(moves.astype(cov.dtype))).sum() / p
    shrinkage = jnp.clip(b / jnp.where(d > 0, d, 1.0), 0.0, 1.0)
    aims = jnp.where(mu > 0, mu, 1.0) * jnp.where(moves, shrinkage, 1.0)
    return (1 - shrinkage) * cov + jnp.diag(aims), shrinkage


def _covariance(x, g):
    return ledoit_wolf(jnp.concatenate([x, g], 1))


def _scores(cov, x, g) -> Float[Array, " m"]:
    """The log of the density ratio of each pair, but for a constant."""
    d = x.shape[1]
    parts = ((x, cov[:d, :d], 1), (g, cov[d:, d:], 1), (jnp.concatenate([x, g], 1), cov, -1))
    return sum(sign * (z * (z @ linalg.inv(c))).sum(1) for z, c, sign in parts) / 2
