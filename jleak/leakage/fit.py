"""Training of critics and probes, with early stopping, as a loop that `vmap` runs for many at once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import whole
from jleak.tree import select
from jleak.types import Key


class Fit(NamedTuple):
    """What a training has come to.

    Attributes:
      params: those of the lowest score.
      score: that score, on data set aside.
      step: after how many steps it was; 0 for the beginning, infinity never beats it.
    """

    params: PyTree
    score: Float[Array, ""]
    step: Int[Array, ""]


def fit(
    key: Key,
    params: PyTree,
    loss: Callable[[Key, PyTree, PyTree], tuple[Float[Array, ""], PyTree]],
    score: Callable[[PyTree], Float[Array, ""]],
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    every: int = 20,
    memory: PyTree = None,
) -> Fit:
    """Minimises a loss and keeps what scores lowest on data that it does not see.

    Args:
      key: one is split off for each step.
      params: where to begin.
      loss: `(key, params, memory) -> (loss, memory)`; draws its own images by the key, and keeps what it
        wants (a running mean) in the memory.
      score: `params -> score`, lower is better, on data set aside; one that is not finite never wins.
      optimizer: any optax transformation.
      steps: how many; rounded up to a multiple of `every`.
      every: steps between two scores.
      memory: the first one.

    Raises:
      InputError: `steps` or `every` is not a whole number >= 1.

    >>> found = fit(jax.random.key(0), jnp.zeros(()), lambda key, w, _: ((w - 3) ** 2, None),
    ...     lambda w: (w - 1) ** 2, optimizer=optax.sgd(0.1), steps=20, every=1)
    >>> bool(abs(found.params - 1) < 0.3), int(found.step)
    (True, 2)
    """
    whole("steps", steps)
    whole("every", every)
    state = params, optimizer.init(params), memory

    def step(state, key):
        params, inner, memory = state
        (_, memory), slope = jax.value_and_grad(lambda p: loss(key, p, memory), has_aux=True)(params)
        moves, inner = optimizer.update(slope, inner, params)
        return (optax.apply_updates(params, moves), inner, memory), None

    def round_(carry, keys_and_step):
        state, best = carry
        keys, count = keys_and_step
        state, _ = lax.scan(step, state, keys)
        now = score(state[0])
        return (state, select(now < best.score, Fit(state[0], now, count), best)), None

    rounds = -(-steps // every)
    keys = jax.random.split(key, (rounds, every))
    first = score(params)
    best = Fit(params, jnp.where(jnp.isfinite(first), first, jnp.inf), jnp.zeros((), int))
    (_, best), _ = lax.scan(round_, (state, best), (keys, every * (1 + jnp.arange(rounds))))
    return best
