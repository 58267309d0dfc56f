"""Additive Laplace noise."""

import jax

from jleak.check import number
from jleak.clients import on_update
from jleak.defenses.kind import Kind, unimitated
from jleak.tree import map_with_keys
from jleak.types import Defense


def laplace(*, scale: float) -> Defense:
    """Adds independent Laplace(0, scale) noise to every entry of the update.

    Source: Zhu et al., "Deep Leakage from Gradients", NeurIPS 2019, section 5.1. The standard deviation
    is sqrt(2) scale.

    Args:
      scale: the distribution's scale b, in units of the update; 0 is no defense.

    Raises:
      InputError: scale is negative or NaN.

    >>> import jax.numpy as jnp
    >>> client = laplace(scale=0.1)(lambda key, params, batch: jnp.zeros(10_000))
    >>> round(float(abs(client(jax.random.key(0), None, None)).mean()), 2)
    0.1
    """
    number("scale", scale, least=0, hint="use 0 for no noise")

    def noisy(key, u):
        return (u + scale * jax.random.laplace(key, u.shape, u.dtype)).astype(u.dtype)

    return on_update(lambda key, update: map_with_keys(noisy, key, update))


LAPLACE = Kind(laplace, adapt=unimitated, belief=unimitated)
