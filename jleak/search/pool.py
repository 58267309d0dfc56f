"""What searches share that evaluate many points at a step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jleak.tree import select
from jleak.types import Key, Reconstruction, View


def scored(
    objective: Callable, chunk: int | None, cost: int, key: Key, points: PyTree, state: Any, view: View
) -> tuple[Float[Array, " points"], Any]:
    """The objective at every point, and the state with what it now knows to be best.

    Args:
      objective: as for `jleak.search.descend`; it is given one key for all points.
      chunk: points evaluated at once; None for all.
      cost: of an evaluation.
      key: of the objective.
      points: leading axis: points.
      state: a NamedTuple with `fixed`, `best`, `loss` and `evaluations`.
      view: the attacker's.

    Returns:
      losses, infinite where they are not finite, and the state.

    >>> from typing import NamedTuple
    >>> class State(NamedTuple):
    ...     fixed: Any; best: Any; loss: Any; evaluations: Any
    >>> before, points = State((), jnp.array(9.0), jnp.inf, 0), jnp.array([-1.0, 1.0, 2.0])
    >>> losses, state = scored(lambda key, p, *_: jnp.log(p), None, 1, None, points, before, None)
    >>> [round(float(loss), 2) for loss in losses], float(state.best), state.evaluations
    ([inf, 0.0, 0.69], 1.0, 3)
    """

    def one(point):
        return objective(key, point, state.fixed, view)

    losses = jax.vmap(one)(points) if chunk is None else lax.map(one, points, batch_size=chunk)
    losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
    winner = jnp.argmin(losses)
    better = losses[winner] < state.loss
    return losses, state._replace(
        best=select(better, jax.tree.map(lambda leaf: leaf[winner], points), state.best),
        loss=jnp.where(better, losses[winner], state.loss),
        evaluations=state.evaluations + cost * len(losses),
    )


def reader(decode: Callable) -> Callable[[Any, View], Reconstruction]:
    """`(state, view) -> Reconstruction` of the best point."""

    def read(state, view):
        return Reconstruction(*decode(state.best, state.fixed, view), state.loss, state.evaluations)

    return read
