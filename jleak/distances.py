"""How far one update is from another: (update, update) -> scalar, zero where they agree.

The term of an optimisation attack that matches the dummy batch's update to the one observed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import tree
from jleak.check import InputError
from jleak.types import Params


def l2(a: Params, b: Params) -> Float[Array, ""]:
    """Squared Euclidean distance: sum over tensors t of ||a_t - b_t||_2^2.

    Zhu, Liu & Han, Deep Leakage from Gradients, NeurIPS 2019, Algorithm 1: a sum, with neither a
    root nor a mean. Up to a constant it is the negative log likelihood of the update under a
    Gaussian defense.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(l2({"w": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}, {"w": jnp.zeros(2), "b": jnp.zeros(())}))
    14.0
    """
    difference = _difference(a, b)
    return tree.dot(difference, difference)


def l1(a: Params, b: Params) -> Float[Array, ""]:
    """Absolute distance: sum over tensors t of ||a_t - b_t||_1.

    Up to a constant the negative log likelihood of the update under a Laplace defense (Balunovic,
    Dimitrov, Staab & Vechev, Bayesian Framework for Gradient Leakage, ICLR 2022). The derivative is
    taken as 0 where two entries agree.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(l1({"w": jnp.array([1.0, -2.0])}, {"w": jnp.zeros(2)}))
    3.0
    """
    sums = [jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(_difference(a, b))]
    return sum(sums, jnp.zeros(()))


def cosine(a: Params, b: Params) -> Float[Array, ""]:
    """Cosine distance over the whole tree: 1 - <a, b> / (||a|| ||b||), between 0 and 2.

    Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020, eq. 4: all tensors
    are one vector, its length does not matter. 1, with a finite gradient, where an update is zero.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(cosine({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 3.0])}))
    1.0
    """
    _check_match(a, b)
    return 1.0 - tree.cosine(a, b)


def _difference(a: Params, b: Params) -> Params:
    """a - b, leaf by leaf."""
    _check_match(a, b)
    return jax.tree.map(jnp.subtract, a, b)


def _check_match(a: Params, b: Params) -> None:
    """Raises an InputError that names the first leaf in which two updates differ."""
    one, other = _shapes(a), _shapes(b)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            raise InputError(
                f"updates must have the same leaves and shapes, got {name}: {one.get(name, 'missing')} "
                f"and {other.get(name, 'missing')}; compare updates of one model"
            )


def _shapes(a: Params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(a)
    return {jax.tree_util.keystr(path, simple=True, separator="."): jnp.shape(leaf) for path, leaf in leaves}
