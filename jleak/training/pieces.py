"""Many steps of a training as one scan that can be cut anywhere, and which images each step takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jleak.check import InputError
from jleak.data import pixels
from jleak.tree import stream
from jleak.types import Key


class Pool(NamedTuple):
    """Images on the device, as compact as they came, and their labels."""

    x: Array
    y: Int[Array, " size"]


def scanned(
    step: Callable[[Any, Key, Array, Array], tuple[Any, Float[Array, ""]]],
) -> Callable[
    [Any, Key, Pool, Int[Array, "steps images"], Int[Array, ""]],
    tuple[Any, Float[Array, " steps"], Bool[Array, ""]],
]:
    """`(state, key, pool, picks, stop) -> (state, losses, finite)`: the next steps, up to step `stop`.

    Each step takes the images at the next row of `picks`; rows from `stop` on are left out, their losses 0.
    Step t is the same wherever a piece starts. `finite` tells of the losses and of the whole state.

    Args:
      step: `(state, key, x, y) -> (state, loss)`; the state counts its steps in `step`, and what is random
        comes of the key and of that count.
    """

    def program(state, key, pool, picks, stop):
        def one(state, picks):
            def go(state):
                return step(state, key, pixels(pool.x[picks]), pool.y[picks])

            return lax.cond(state.step < stop, go, lambda state: (state, jnp.zeros(())), state)

        state, losses = lax.scan(one, state, picks)
        leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((state, losses))]
        return state, losses, jnp.stack(leaves).all()

    return program


def order(key: Key, size: int, batch: int, start: int, count: int) -> Int[np.ndarray, "count batch"]:
    """Which images the steps from `start` on take: every epoch all of them, shuffled anew by key.

    What is left of an epoch and fills no batch is left out.

    Raises:
      InputError: a batch larger than the data.

    >>> order(jax.random.key(0), 5, 2, 0, 3).shape
    (3, 2)
    """
    if batch > size:
        raise InputError(f"batch must be <= {size}, the images to train on, got batch={batch}")
    each = size // batch
    epochs = {}
    for epoch in range(start // each, (start + count - 1) // each + 1):
        bits = np.asarray(jax.random.bits(stream(jax.random.fold_in(key, epoch), "order"), (size,)))
        epochs[epoch] = np.argsort(bits, kind="stable")[: each * batch].reshape(each, batch)
    rows = [epochs[t // each][t % each] for t in range(start, start + count)]
    return np.stack(rows).astype(np.int32)
