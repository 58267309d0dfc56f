"""Additive Gaussian noise."""

import jax

from jleak.check import number
from jleak.clients import on_update
from jleak.defenses.kind import Kind, unimitated
from jleak.tree import map_with_keys
from jleak.types import Defense


def gaussian(*, sigma: float) -> Defense:
    """Adds independent N(0, sigma^2) noise to every entry of the update.

    Source: Zhu et al., "Deep Leakage from Gradients", NeurIPS 2019, section 5.1 (there 1e-4 to 1e-1).
    The noise is absolute: what it hides depends on the update's norm, which the record's
    signal-to-noise ratio states.

    Args:
      sigma: standard deviation, in units of the update; 0 is no defense.

    Raises:
      InputError: sigma is negative or NaN.

    >>> import jax.numpy as jnp
    >>> client = gaussian(sigma=0.1)(lambda key, params, batch: jnp.zeros(10_000))
    >>> round(float(client(jax.random.key(0), None, None).std()), 2)
    0.1
    """
    number("sigma", sigma, least=0, hint="use 0 for no noise")

    def noisy(key, u):
        return (u + sigma * jax.random.normal(key, u.shape, u.dtype)).astype(u.dtype)

    return on_update(lambda key, update: map_with_keys(noisy, key, update))


GAUSSIAN = Kind(gaussian, adapt=unimitated, belief=unimitated)
