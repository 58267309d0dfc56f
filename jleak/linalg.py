"""Decompositions and solutions of one matrix, as JAX has them, that a batch of lanes cannot bring to a halt.

On a CPU jaxlib 0.10.0 to 0.11.0 spread a batch of matrices over the very pool of threads that waits for them:
once every thread waits, none is left to work, and the program stands still for good. It takes several lanes
on several devices (the four lanes of CMA-ES on two devices did it each time). There, what this module has
goes through the lanes of a `vmap`, or a stack of matrices, one matrix after the other; elsewhere it is JAX's
own. Such loops have no reverse mode: what is differentiated needs a rule of its own
(`jleak.search.bayesian.process.evidence`).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.scipy import linalg
from jaxlib import version
from jaxtyping import Array, Float

STALLS = (0, 10, 0) <= version.__version_info__ <= (0, 11, 0)
"""Whether this jaxlib is one of those."""


def one_by_one(fn: Callable) -> Callable:
    """`fn(*arrays, **options)` for which `vmap` is a loop, where a batch could stand still.

    >>> @one_by_one
    ... def inverse(a):
    ...     return jnp.linalg.inv(a)
    >>> jax.vmap(inverse)(jnp.array([[[2.0]], [[4.0]]])).ravel().tolist()
    [0.5, 0.25]
    """

    @functools.wraps(fn)
    def called(*arrays, **options):
        def alone(*arrays):
            return fn(*arrays, **options)

        if STALLS and jax.default_backend() == "cpu":
            alone = sequential_vmap(alone)
            for _ in range(jnp.ndim(arrays[0]) - 2):  # a stack of matrices is a batch as lanes are
                alone = jax.vmap(alone)
        return alone(*arrays)

    return called


@one_by_one
def cho_solve(low: Float[Array, "n n"], b: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """(L L^T)^-1 b.

    >>> cho_solve(jnp.array([[2.0]]), jnp.array([8.0])).tolist()
    [2.0]
    """
    return linalg.cho_solve((low, True), b)


cholesky = one_by_one(jnp.linalg.cholesky)
eigh = one_by_one(jnp.linalg.eigh)
expm = one_by_one(linalg.expm)
inv = one_by_one(jnp.linalg.inv)
qr = one_by_one(jnp.linalg.qr)
slogdet = one_by_one(jnp.linalg.slogdet)
solve = one_by_one(jnp.linalg.solve)
solve_triangular = one_by_one(linalg.solve_triangular)
svd = one_by_one(jnp.linalg.svd)
