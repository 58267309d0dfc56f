"""What is computed for many models at once: their training, their accuracy."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jleak import catalog
from jleak.audit.cohort.setting import Cohort
from jleak.audit.programs import chunk
from jleak.clients import fedsgd
from jleak.data import pixels
from jleak.tree import select
from jleak.types import Batch, Model

STEPS = 50
"""Steps of training in one call of its program."""


class Pool(NamedTuple):
    """A data set on the device, as compact as it came."""

    x: Array
    y: Int[Array, " size"]

    def batch(self, picks: Int[Array, " n"]) -> Batch:
        """The images at these places, in [0, 1]."""
        return Batch(pixels(self.x[picks]), self.y[picks])


def like_batch(model: Model, n: int) -> Batch:
    """Shapes of a client's batch of `n` images with hard labels, as `jax.eval_shape` takes them."""
    return Batch(jax.ShapeDtypeStruct((n, *model.shape), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.int32))


def over(fn: Callable, args: tuple, count: int, lanes: int):
    """`fn(*args_i)` for each of `count` entries along the first axis, a few side by side."""
    return lax.map(lambda one: fn(*one), args, batch_size=chunk(count, lanes))


def training(case: Cohort, model: Model) -> Callable:
    """`(params, keys, pool, lr, start, stop) -> params`: steps `start` to `stop`, at most `STEPS`, of SGD.

    Step t of model i draws its images with `fold_in(keys[i], t)`, so it is the same wherever a call starts.
    """
    gradient = fedsgd(model, catalog.find("loss_fn", case.loss_fn, catalog.LOSSES))

    def program(params, keys, pool, lr, start, stop):
        def one(params, key):
            def step(weights, t):
                k = jax.random.fold_in(key, t)
                batch = pool.batch(jax.random.randint(k, (case.train_batch,), 0, len(pool.y)))
                g = gradient(k, {**params, "params": weights}, batch)
                moved = jax.tree.map(lambda w, u: w - lr * u, weights, g)
                return select(t < stop, moved, weights), None

            weights, _ = lax.scan(step, params["params"], start + jnp.arange(STEPS))
            return {**params, "params": weights}

        return over(one, (params, keys), case.models, case.lanes)

    return program


def accuracy(case: Cohort, model: Model) -> Callable:
    """`(params, pool, picks) -> share of its images that each model classifies rightly`."""

    def program(params, pool, picks):
        def one(params, picks):
            x, y = pool.batch(picks)
            return (model.apply(params, x).argmax(-1) == y).mean()

        return over(one, (params, picks), case.models, 1)

    return program
