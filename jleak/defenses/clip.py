"""Clipping of the update's norm."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import number, one_of
from jleak.clients import on_update
from jleak.defenses.kind import Kind
from jleak.tree import norm
from jleak.types import Defense, Params, View

SCOPES = ("global", "tensor")


def clip(*, bound: float, scope: str = "global") -> Defense:
    """Scales the update down so that its Euclidean norm is at most `bound`.

    update * min(1, bound / ||update||), as in Pascanu et al., ICML 2013, and in GGL (Li et al., CVPR 2022);
    the direction is kept, so attacks that match directions are not hindered.

    Args:
      bound: the largest norm, in units of the update; infinity is no defense. With `scope="tensor"` also
        a tree of bounds, one a tensor.
      scope: `"global"` bounds the norm of the whole update, `"tensor"` that of each tensor.

    Raises:
      InputError: bound is not above 0, or the scope is unknown.

    >>> client = clip(bound=1.0)(lambda key, params, batch: jnp.array([3.0, 4.0]))
    >>> [round(float(u), 6) for u in client(jax.random.key(0), None, None)]
    [0.6, 0.8]
    """
    one_of("scope", scope, SCOPES)
    for leaf in jax.tree.leaves(bound):
        number("bound", leaf, above=0, hint="use inf for no clipping")

    def fn(key, update):
        del key
        if scope == "global":
            return clipped(update, bound)
        bounds = jax.tree.map(lambda _: bound, update) if jax.tree_util.all_leaves([bound]) else bound
        return jax.tree.map(clipped, update, bounds)

    return on_update(fn)


def clipped(update: Params, bound: Float[Array, ""]) -> Params:
    """update min(1, bound / ||update||), with a finite derivative at a zero update and at bound infinity.

    >>> clipped({"w": jnp.array([0.0, 4.0])}, 1.0)["w"].tolist()
    [0.0, 1.0]
    """
    length = norm(update)
    over = length > bound
    factor = jnp.where(over, jnp.where(over, bound, 1.0) / jnp.where(over, length, 1.0), 1.0)
    return jax.tree.map(lambda u: (u * factor).astype(u.dtype), update)


def adapt(view: View, *, scope: str = "global") -> Defense:
    """Clipping at the observed norm, which is the bound wherever the clipping was active.

    Source: GGL (Li et al., CVPR 2022), appendix B and reference code.
    """
    if scope == "global":
        return clip(bound=_positive(norm(view.update)))
    return clip(bound=jax.tree.map(lambda u: _positive(norm(u)), view.update), scope=scope)


def _positive(length: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(length > 0, length, jnp.inf)


CLIP = Kind(clip, adapt=adapt)
