"""How much of an update a defense left."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import tree
from jleak.types import Params


def snr(plain: Params, defended: Params) -> Float[Array, ""]:
    """Signal-to-noise ratio of a defended update: 10 log10(||plain||^2 / ||defended - plain||^2), dB.

    Makes the strengths of different defenses on different models comparable, where a noise scale or
    a pruned share alone is not. +inf where the updates are identical (no defense), 0 dB where the
    defense removed all (defended = 0), -inf where only the plain update is zero, NaN where one of
    them holds a NaN. In float32 a difference of squared norm below 1e-38 counts as none.

    Args:
      plain: the update before the defense.
      defended: the update of the same batch after it.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(f"{snr({'w': jnp.array([3.0, 4.0])}, {'w': jnp.array([3.0, 4.5])}):.2f}")
    20.00
    """
    noise = tree.difference(plain, defended)
    power = tree.dot(noise, noise)
    ratio = jnp.log10(tree.dot(plain, plain)) - jnp.log10(power)
    return jnp.where(power == 0, jnp.inf, 10.0 * ratio)
