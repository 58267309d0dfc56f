"""What the closed-form attacks share: how they score what they found, and where the images enter."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.tree import difference, norm
from jleak.types import Batch, Key, Labels, Params, Reconstruction, Threat, View


def reconstruction(
    threat: Threat, key: Key, view: View, x: Float[Array, "n h w c"], y: Labels
) -> Reconstruction:
    """Images and labels, scored by ||client(x, y) - update|| / ||update||: one evaluation of the client."""
    return scored(threat, view, Batch(x, y), threat.client(key, view.params, Batch(x, y)))


def scored(threat: Threat, view: View, batch: Batch, update: Params) -> Reconstruction:
    """The same where the client's update at these images is at hand."""
    loss = norm(difference(update, view.update)) / norm(view.update)
    return Reconstruction(*batch, loss, jnp.asarray(threat.local_steps))


def first_layer(threat: Threat, update: Params) -> Params:
    """The first dense layer of an update, that of a model with a `chain`."""
    for name in threat.model.chain[0]:
        update = update[name]
    return update
