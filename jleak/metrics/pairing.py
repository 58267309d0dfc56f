"""Which reconstruction shows which image: a batch's reconstructions have no order."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jleak.check import InputError


def pair(x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]) -> Int[Array, " n"]:
    """The permutation of reconstructions that fits the truth best: `x[perm]` matches `truth`.

    argmin over permutations p of sum_j MSE(x[p(j)], truth[j]): the linear assignment problem, solved
    to the optimum (Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics
    Quarterly 1955). One to one: no reconstruction is counted for two images, none is left out. Carry
    labels along with `y[perm]`. Compiled, n = 128 images of 32 x 32 x 3 take about 10 ms on a CPU.

    An image with a NaN or infinity costs the most against every truth: it gets a truth that the
    finite images leave over, and their assignment is still the best one.

    Args:
      x: reconstructions, in any order.
      truth: as many images.

    Returns:
      perm: for each true image, the index of its reconstruction.

    Raises:
      InputError: not two batches of images of one shape.

    >>> truth = jnp.linspace(0, 1, 4 * 64).reshape(4, 8, 8, 1)
    >>> print(pair(truth[jnp.array([2, 0, 3, 1])], truth))
    [1 3 0 2]
    """
    if jnp.ndim(x) != 4 or jnp.shape(x) != jnp.shape(truth):
        raise InputError(
            f"x and truth must be images (n, h, w, c) of one shape, got {jnp.shape(x)} and "
            f"{jnp.shape(truth)}; give as many reconstructions as images"
        )
    cost = jnp.mean(jnp.square(truth[:, None] - x), axis=(2, 3, 4))
    finite = jnp.isfinite(cost)
    worst = jnp.max(cost, where=finite, initial=0.0)
    rows, columns = optax.assignment.hungarian_algorithm(jnp.where(finite, cost, worst))
    return jnp.zeros_like(columns).at[rows].set(columns)
