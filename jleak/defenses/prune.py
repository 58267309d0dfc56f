"""Magnitude pruning of the update (gradient sparsification)."""

import jax
import jax.numpy as jnp
from jax import lax

from jleak.check import number
from jleak.clients import on_update
from jleak.defenses.kind import Kind
from jleak.types import Defense, View


def prune(*, fraction: float) -> Defense:
    """Sets the entries of smallest magnitude to zero, in each tensor by itself.

    u_i is kept where |u_i| >= the `fraction` quantile of |u|: GGL (Li et al., CVPR 2022, reference code),
    after Aji and Heafield, EMNLP 2017. The largest entry of a tensor always stays.

    Args:
      fraction: share of each tensor to remove, 0 (no defense) to 1.

    Raises:
      InputError: fraction outside [0, 1] or NaN.

    >>> client = prune(fraction=0.5)(lambda key, params, batch: jnp.array([1.0, -4.0, 2.0, -3.0]))
    >>> client(jax.random.key(0), None, None).tolist()
    [0.0, -4.0, 0.0, -3.0]
    """
    number("fraction", fraction, least=0, most=1, hint="it is the share removed: 0.9 keeps a tenth")

    def one(u):
        magnitude = lax.stop_gradient(jnp.abs(u))
        return jnp.where(magnitude >= jnp.quantile(magnitude, fraction, method="higher"), u, 0.0)

    return on_update(lambda key, update: jax.tree.map(one, update))


def adapt(view: View) -> Defense:
    """Keeps exactly the entries that are not zero in the observed update.

    The zeros of the update show the mask itself, so on the client's batch the imitation is exact, and its
    derivative is that of the entries kept. GGL's reference code (Li et al., CVPR 2022) takes one share of
    zeros over the whole update and prunes every tensor of the dummy's at that quantile: it removes too much
    where a tensor keeps more than others (those others may have zeros of their own, as behind a dead ReLU),
    and other entries on every dummy.
    """
    return on_update(
        lambda key, update: jax.tree.map(lambda u, seen: jnp.where(seen != 0, u, 0.0), update, view.update)
    )


PRUNE = Kind(prune, adapt=adapt)
