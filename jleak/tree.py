"""Algebra of pytrees of arrays: what a parameter vector needs, without flattening it.

Everything here is differentiable, also at zero, and works under `jit` and `vmap`.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jleak.types import Key


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Inner product over all leaves.

    >>> float(dot({"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}))
    3.0
    """
    return sum(jax.tree.leaves(jax.tree.map(lambda u, v: jnp.sum(u * v), a, b)), jnp.zeros(()))


def safe_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Square root whose derivative at 0 is 0 in place of infinity.

    >>> float(jax.grad(safe_sqrt)(0.0))
    0.0
    """
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def norm(a: PyTree) -> Float[Array, ""]:
    """Euclidean norm over all leaves, with a finite gradient at zero.

    >>> float(norm({"w": jnp.array([3.0]), "b": jnp.array([4.0])}))
    5.0
    """
    return safe_sqrt(dot(a, a))


def cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Cosine of the angle between two trees; 0 where one of them is zero.

    >>> float(cosine({"w": jnp.ones(2)}, {"w": 2 * jnp.ones(2)}))
    1.0
    """
    lengths = norm(a) * norm(b)
    return dot(a, b) / jnp.where(lengths > 0, lengths, 1.0)


def size(a: PyTree) -> int:
    """The number of entries over all leaves (static).

    >>> size({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(a))


def select(keep: Array, a: PyTree, b: PyTree) -> PyTree:
    """`a` where the scalar `keep` holds, else `b`, leaf by leaf.

    >>> int(select(jnp.array(True), jnp.array(1), jnp.array(2)))
    1
    """
    return jax.tree.map(lambda u, v: jnp.where(keep, u, v), a, b)


def map_with_keys(fn: Callable[[Key, Array], Array], key: Key, a: PyTree) -> PyTree:
    """`fn(key_i, leaf_i)` over the leaves, each with a key of its own.

    >>> noisy = map_with_keys(lambda k, u: u + jax.random.normal(k, u.shape),
    ...                       jax.random.key(0), {"w": jnp.zeros(3), "b": jnp.zeros(3)})
    >>> bool(jnp.any(noisy["w"] == noisy["b"]))
    False
    """
    leaves, structure = jax.tree.flatten(a)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [fn(k, u) for k, u in zip(keys, leaves, strict=True)])


def stream(key: Key, name: str) -> Key:
    """The key of a named stream: using one stream never moves the numbers of another.

    >>> key = jax.random.key(0)
    >>> bool(jnp.all(stream(key, "data") == stream(key, "data")))
    True
    >>> bool(jnp.all(stream(key, "data") == stream(key, "model")))
    False
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
