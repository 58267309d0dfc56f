"""What the closed-form attacks share: how they score what they found."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.tree import difference, norm
from jleak.types import Batch, Key, Labels, Reconstruction, Threat, View


def reconstruction(
    threat: Threat, key: Key, view: View, x: Float[Array, "n h w c"], y: Labels
) -> Reconstruction:
    """Images and labels, scored by ||client(x, y) - update|| / ||update||: one evaluation of the client."""
    update = threat.client(key, view.params, Batch(x, y))
    loss = norm(difference(update, view.update)) / norm(view.update)
    return Reconstruction(x, y, loss, jnp.asarray(threat.local_steps))
