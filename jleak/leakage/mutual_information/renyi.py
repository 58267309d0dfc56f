"""Mutual information of order alpha by the spectra of kernel matrices: no densities, any distribution."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, number, whole
from jleak.leakage.mutual_information.estimate import Dims, Estimate, estimate, pairs, shuffled
from jleak.types import Key

MOST = 4
"""Components of each side by default."""

GROUPS = 10
"""Groups of the sample, each left out once, that give the interval."""


def renyi(
    key: Key,
    x: Float[Array, "m px"],
    g: Float[Array, "m pg"],
    *,
    alpha: float = 1.01,
    dims: Dims = None,
    rows: int = 512,
) -> Estimate:
    """S(A) + S(B) - S(A o B / tr(A o B)) of the kernel matrices of x and g, in nats.

    With S(A) = log(tr A^alpha) / (1 - alpha), A_ij = k(x_i, x_j) / m and the Gaussian kernel, as wide as the
    median distance (Sánchez Giraldo, Rao and Príncipe, "Measures of Entropy from Data Using Infinitely
    Divisible Kernels", IEEE Transactions on Information Theory 2015). It is Shannon's information only in
    name: a number of the sample, its size and the width, good for comparing like with like, and well above 0
    for shuffled pairs in more than a few dimensions. Read `nats` beside `null`. The interval is the
    jackknife's over ten groups.

    Args:
      key: for the shuffled pairs, and for which rows are taken.
      x, g: rows that belong together.
      alpha: the order, > 0 and not 1.
      dims: components of each; None: all, up to 4.
      rows: at most as many rows are taken; time grows as their number cubed.

    Raises:
      InputError: as `pairs`; fewer than 20 rows; `alpha` <= 0 or 1.

    >>> x = jax.random.normal(jax.random.key(0), (100, 1))
    >>> found = renyi(jax.random.key(1), x, x)
    >>> bool(found.nats > found.null + 0.5), bool(found.nats < found.cap)
    (True, True)
    """
    number("alpha", alpha, above=0, hint="1.01 is near Shannon's")
    if isinstance(alpha, int | float) and alpha == 1:
        raise InputError("alpha must not be 1, got alpha=1; take 1.01, which is near Shannon's")
    whole("rows", rows, least=2 * GROUPS)
    sample = pairs(x, g, dims, most=MOST, least=2 * GROUPS)
    order, other = jax.random.split(key)
    taken = jax.random.permutation(order, len(x))[: min(rows, len(x))]
    x, g = sample.x[taken], sample.g[taken]
    m = len(taken)
    left = m - m % GROUPS  # of equal groups
    kept = jnp.array([[i for i in range(left) if i % GROUPS != j] for j in range(GROUPS)])

    def measured(g):
        without = lax.map(lambda one: renyi_information(x[one], g[one], alpha), kept)
        error = 1.96 * jnp.sqrt((GROUPS - 1) * without.var())
        return renyi_information(x, g, alpha), error

    nats, errors = lax.map(measured, jnp.stack([g, shuffled(other, g)]))
    return estimate(sample, nats[0], errors[0], nats[1], errors[1], jnp.log(m))


def renyi_information(
    x: Float[Array, "m dx"], g: Float[Array, "m dg"], alpha: float = 1.01
) -> Float[Array, ""]:
    """The estimate of these rows as they are, in nats.

    >>> x = jax.random.normal(jax.random.key(0), (50, 1))
    >>> bool(abs(renyi_information(x, jnp.zeros((50, 1)))) < 1e-4)
    True
    """
    one, other = _kernel(x), _kernel(g)
    return renyi_entropy(one, alpha) + renyi_entropy(other, alpha) - renyi_entropy(one * other, alpha)


def renyi_entropy(kernel: Float[Array, "m m"], alpha: float = 1.01) -> Float[Array, ""]:
    """log(sum of the eigenvalues to the alpha) / (1 - alpha), of a kernel matrix divided by its trace; nats.

    Between 0, where all rows are alike, and log m, where each is like itself alone.

    >>> [round(found.item(), 4) for found in (renyi_entropy(jnp.eye(8)), jnp.log(8))]
    [2.0794, 2.0794]
    """
    values = jnp.maximum(linalg.eigh(kernel / jnp.trace(kernel))[0], 0.0)
    values = values / values.sum()
    logs = jnp.log(jnp.where(values > 0, values, 1.0))
    # sum v^alpha = 1 + sum v (v^(alpha - 1) - 1), of which float32 would lose what matters at alpha near 1
    return jnp.log1p((values * jnp.expm1((alpha - 1) * logs)).sum()) / (1 - alpha)


def _kernel(rows: Float[Array, "m d"]) -> Float[Array, "m m"]:
    """exp(-|z_i - z_j|^2 / 2 w^2), w the median distance of two rows."""
    square = jnp.square(rows).sum(1)
    square = jnp.maximum(square[:, None] + square[None] - 2 * rows @ rows.T, 0.0)
    width = jnp.median(square[jnp.triu_indices(len(rows), 1)])
    return jnp.exp(-square / (2 * jnp.where(width > 0, width, 1.0)))
