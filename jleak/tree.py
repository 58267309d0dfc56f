"""Algebra of pytrees of arrays: what a parameter vector needs, without flattening it.

Everything here is differentiable, also at zero, and works under `jit` and `vmap`.
"""

import functools
import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from jleak.check import InputError
from jleak.types import Key


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Inner product over all leaves.

    >>> float(dot({"w": jnp.ones(3)}, {"w": jnp.arange(3.0)}))
    3.0
    """
    return total(jax.tree.leaves(jax.tree.map(lambda u, v: jnp.sum(u * v), a, b)))


def total(terms: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """Sum of scalars, as one array's: XLA on a CPU would compute a long sum again for every entry it scales.

    >>> float(total([jnp.ones(()), jnp.ones(())])), float(total([]))
    (2.0, 0.0)
    """
    gathered = jnp.zeros(len(terms), jnp.result_type(jnp.zeros(()), *terms))
    for i, term in enumerate(terms):
        gathered = lax.dynamic_update_index_in_dim(gathered, term.astype(gathered.dtype), i, 0)
    return jnp.sum(gathered)


def safe_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Square root whose derivative at 0 is 0 in place of infinity.

    >>> float(jax.grad(safe_sqrt)(0.0))
    0.0
    """
    flat = x <= 0  # not so for NaN, which stays
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, x)))


def norm(a: PyTree) -> Float[Array, ""]:
    """Euclidean norm over all leaves, with a finite gradient at zero.

    >>> float(norm({"w": jnp.array([3.0]), "b": jnp.array([4.0])}))
    5.0
    """
    return safe_sqrt(dot(a, a))


def cosine(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Cosine of the angle between two trees; 0 where one of them is zero.

    >>> round(float(cosine({"w": jnp.ones(2)}, {"w": 2 * jnp.ones(2)})), 6)
    1.0
    """
    lengths = norm(a) * norm(b)
    return dot(a, b) / jnp.where(lengths > 0, lengths, 1.0)


def unit(a: PyTree) -> PyTree:
    """`a` divided by its norm; zero stays zero, with a finite gradient.

    >>> unit({"w": jnp.array([3.0, 4.0])})["w"].tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    length = norm(a)
    scale = jnp.where(length > 0, 1.0 / jnp.where(length > 0, length, 1.0), 0.0)
    return jax.tree.map(lambda u: u * scale, a)


def size(a: PyTree) -> int:
    """The number of entries over all leaves (static).

    >>> size({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(a))


def finite(a: PyTree) -> Bool[Array, ""]:
    """Whether all of it is finite.

    >>> one = {"w": jnp.array([1.0, 2.0]), "b": jnp.zeros(())}
    >>> bool(finite(one)), bool(finite(one | {"b": jnp.nan}))
    (True, False)
    """
    return functools.reduce(jnp.logical_and, (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(a)))


def select(keep: Array, a: PyTree, b: PyTree) -> PyTree:
    """`a` where the scalar `keep` holds, else `b`, leaf by leaf.

    >>> int(select(jnp.array(True), jnp.array(1), jnp.array(2)))
    1
    """
    return jax.tree.map(lambda u, v: jnp.where(keep, u, v), a, b)


def difference(a: PyTree, b: PyTree) -> PyTree:
    """a - b, leaf by leaf.

    Raises:
      InputError: they do not have the same leaves and shapes.

    >>> difference({"w": jnp.ones(2)}, {"w": jnp.zeros(2)})["w"].tolist()
    [1.0, 1.0]
    """
    check_match(a, b)
    return jax.tree.map(jnp.subtract, a, b)


def check_match(a: PyTree, b: PyTree) -> None:
    """Checks that two updates have the same leaves and shapes.

    Raises:
      InputError: names the first leaf in which they differ.

    >>> check_match({"w": jnp.ones(2)}, {"w": jnp.ones(3)})
    Traceback (most recent call last):
    jleak.check.InputError: updates must have the same leaves and shapes, got w: (2,) and (3,); compare \
updates of one model
    """
    one, other = _shapes(a), _shapes(b)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            raise InputError(
                f"updates must have the same leaves and shapes, got {name}: {one.get(name, 'missing')} "
                f"and {other.get(name, 'missing')}; compare updates of one model"
            )


def _shapes(a: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(a)
    return {jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf) for path, leaf in leaves}


def layout(init: Callable[[Key], PyTree]) -> tuple[tuple[str, ...], ...]:
    """The paths of the tensors that `init` makes, in the order in which it makes them.

    For Flax that is the order in which the model runs its layers: it lives in the insertion order of the
    dicts that `init` returns, and the first `jit` or `tree.map` sorts them by name. So this traces `init`
    itself, which costs no computation, and never looks at parameters.

    Args:
      init: `key -> nested dicts of arrays`, itself neither jitted nor ending in a `tree.map`.

    >>> layout(lambda key: {"stem": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}, "head": jnp.ones(3)})
    (('stem', 'kernel'), ('stem', 'bias'), ('head',))
    """
    found: list[tuple[str, ...]] = []

    def walk(tree, path):
        if not isinstance(tree, Mapping):
            found.append(path)
            return
        for name, branch in tree.items():
            walk(branch, (*path, name))

    jax.eval_shape(lambda key: walk(init(key), ()), jax.random.key(0))
    return tuple(found)


def draws(draw: Callable[..., Array], key: Key, a: PyTree) -> PyTree:
    """Independent random numbers in the shape of `a`.

    One draw serves all leaves: compiling a generator costs most of a second.

    Args:
      draw: `(key, shape) -> numbers`, such as `jax.random.normal`.
      key: used once.
      a: what the numbers are shaped like, leaf dtypes included.

    >>> noise = draws(jax.random.normal, jax.random.key(0), {"w": jnp.zeros(3), "b": jnp.zeros(3)})
    >>> bool(jnp.any(noise["w"] == noise["b"]))
    False
    """
    leaves, structure = jax.tree.flatten(a)
    flat = draw(key, (sum(leaf.size for leaf in leaves),))
    ends = itertools.accumulate(leaf.size for leaf in leaves)
    parts = [
        flat[end - u.size : end].reshape(u.shape).astype(u.dtype) for end, u in zip(ends, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, parts)


def stream(key: Key, name: str) -> Key:
    """The key of a named stream: using one stream never moves the numbers of another.

    >>> key = jax.random.key(0)
    >>> bool(jnp.all(stream(key, "data") == stream(key, "data")))
    True
    >>> bool(jnp.all(stream(key, "data") == stream(key, "model")))
    False
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
