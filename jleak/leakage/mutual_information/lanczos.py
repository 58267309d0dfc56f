"""Functions of a matrix that is known by its products alone, by Lanczos' method, orthogonalised twice."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg

Product = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""`v -> B v`, for a symmetric B >= 0 on arrays of one shape."""


def quadrature(product: Product, v: Float[Array, "..."], steps: int) -> Float[Array, ""]:
    """v^T log(I + B) v for a symmetric B >= 0.

    Exact after as many steps as B has different eigenvalues.

    >>> found = quadrature(lambda z: jnp.array([1.0, 3.0]) * z, jnp.ones(2), 2)
    >>> bool(abs(found - jnp.log(2.0) - jnp.log(4.0)) < 1e-5)
    True
    """
    _, values, vectors, length = _krylov(product, v, steps)
    return length**2 * (vectors[0] ** 2 @ jnp.log1p(values))


def solved(product: Product, v: Float[Array, "..."], steps: int) -> Float[Array, "..."]:
    """(I + B)^-1 v for a symmetric B >= 0; of fewer steps what they reach, and v^T of it is then too small.

    Exact after as many steps as B has different eigenvalues.

    >>> solved(lambda z: jnp.array([1.0, 3.0]) * z, jnp.array([2.0, 4.0]), 2).round(4).tolist()
    [1.0, 1.0]
    """
    basis, values, vectors, length = _krylov(product, v, steps)
    return (length * ((vectors @ (vectors[0] / (1 + values))) @ basis)).reshape(v.shape)


def _krylov(product: Product, v: Array, steps: int) -> tuple[Array, Array, Array, Array]:
    """A basis, a row each, of v, B v, B^2 v, ...; B's eigenvalues and vectors in it; the length of v."""
    length = jnp.sqrt(jnp.vdot(v, v))

    def step(carry, i):
        basis, q, back = carry
        basis = basis.at[i].set(q)
        w = product(q.reshape(v.shape)).ravel()
        along = w @ q
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
        size = jnp.sqrt(w @ w)
        # what is left of a space that is exhausted is rounding
        go_on = size > 1e-5 * (jnp.abs(along) + back)
        size = jnp.where(go_on, size, 0.0)
        return (basis, jnp.where(go_on, w / jnp.where(go_on, size, 1.0), 0.0), size), (along, size)

    first = (jnp.zeros((steps, v.size), v.dtype), v.ravel() / length, jnp.zeros((), v.dtype))
    (basis, *_), (along, size) = lax.scan(step, first, jnp.arange(steps))
    values, vectors = linalg.eigh(jnp.diag(along) + jnp.diag(size[:-1], 1) + jnp.diag(size[:-1], -1))
    return basis, jnp.maximum(values, 0.0), vectors, length
