"""Additive zero-mean noise.

An attacker can tell how much there is (`jleak.labels.noise_level`) and cannot imitate it: against an update
u + e, the squared distance of a dummy's update g is ||g - u||^2 + ||e||^2 in expectation, with the same
minimum. Noise of one's own would only blur it. So both kinds believe in the plain client.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from jleak.check import number
from jleak.clients import on_update
from jleak.defenses.kind import Kind, unimitated
from jleak.tree import draws
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
    return additive(jax.random.normal, number("sigma", sigma, least=0, hint="use 0 for no noise"))


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
    return additive(jax.random.laplace, number("scale", scale, least=0, hint="use 0 for no noise"))


def additive(draw: Callable[..., Array], scale: Float[Array, ""]) -> Defense:
    """Adds `scale` times independent draws to every entry of the update.

    Args:
      draw: `(key, shape) -> noise` of scale one.
      scale: its factor.
    """

    def fn(key, update):
        noise = draws(draw, key, update)
        return jax.tree.map(lambda u, v: (u + scale * v).astype(u.dtype), update, noise)

    return on_update(fn)


GAUSSIAN = Kind(gaussian, adapt=unimitated, belief=unimitated)
LAPLACE = Kind(laplace, adapt=unimitated, belief=unimitated)
