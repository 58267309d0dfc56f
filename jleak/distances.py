"""How far one update is from another: (update, update) -> scalar, zero where they agree.

The term of an optimisation attack that matches the dummy batch's update to the one observed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import tree
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
    difference = tree.difference(a, b)
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
    sums = [jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree.difference(a, b))]
    return sum(sums, jnp.zeros(()))


def cosine(a: Params, b: Params) -> Float[Array, ""]:
    """Cosine distance over the whole tree: 1 - <a, b> / (||a|| ||b||), between 0 and 2.

    Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020, eq. 4: all tensors
    are one vector, its length does not matter. 1, with a finite gradient, where an update is zero.
    Computed as half the squared distance of the unit vectors, which is the same number and keeps its
    digits near 0, where 1 - cos has lost them in float32.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(cosine({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 3.0])}))
    1.0
    """
    apart = tree.difference(tree.unit(a), tree.unit(b))
    zeros = sum(jnp.where(tree.norm(update) > 0, 0.0, 0.5) for update in (a, b))
    return 0.5 * tree.dot(apart, apart) + zeros
