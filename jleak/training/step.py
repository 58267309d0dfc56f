"""One step of training and many: pure functions of a state that can be stopped and resumed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from jleak.check import InputError, number, one_of
from jleak.data import pixels
from jleak.search import OPTIMIZERS, optimizer
from jleak.search import schedule as scheduled
from jleak.training.augment import augmented
from jleak.training.pieces import Pool, scanned
from jleak.types import Key, Loss, Model, Params

MOMENTUM = 0.9
"""What stays of BatchNorm's running statistics in a step; the rest is the batch's."""


class State(NamedTuple):
    """Where a training stands; with its settings all that going on needs.

    Attributes:
      params: the model's variables, BatchNorm's running statistics included.
      moments: the optimiser's state.
      step: steps made.
    """

    params: Params
    moments: optax.OptState
    step: Int[Array, ""]


def transformation(
    name: str, *, lr: float, schedule: str, steps: int, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """The optimiser of that name for a training.

    Args:
      name: of `jleak.search.OPTIMIZERS`, but for `lbfgs`.
      lr: the highest learning rate.
      schedule: of `jleak.search.optimizers.SCHEDULES`.
      steps: the length of the training.
      weight_decay: l of an L2 penalty (l / 2) ||w||^2: l w is added to the gradient, before the optimiser.
        `adamw` and `lion` have their own, decoupled decay as well.

    Raises:
      InputError: an unknown name, a number out of bounds.

    >>> tx = transformation("sgd", lr=0.1, schedule="constant", steps=10, weight_decay=0.5)
    >>> w = jnp.array(2.0)
    >>> round(float(tx.update(jnp.array(1.0), tx.init(w), w)[0]), 4)
    -0.2
    """
    if name == "lbfgs":
        raise InputError("optimizer 'lbfgs' needs one fixed loss, which mini-batches do not have; use adam")
    one_of("optimizer", name, OPTIMIZERS)
    number("lr", lr, above=0)
    number("weight_decay", weight_decay, least=0)
    tx = optimizer(name, scheduled(schedule, lr, steps))
    return optax.chain(optax.add_decayed_weights(weight_decay), tx) if weight_decay else tx


def begun(tx: optax.GradientTransformation, params: Params) -> State:
    """The state before the first step."""
    return State(params, tx.init(params["params"]), jnp.zeros((), jnp.int32))


def piece(
    model: Model, loss: Loss, tx: optax.GradientTransformation, *, augment: bool = False
) -> Callable[
    [State, Key, Pool, Int[Array, "steps batch"], Int[Array, ""]],
    tuple[State, Float[Array, " steps"], Bool[Array, ""]],
]:
    """A piece of a training, see `scanned`: the next steps, up to step `stop`.

    BatchNorm must be in mode `batch`; its running statistics become 0.9 of themselves + 0.1 of the batch's
    (Ioffe & Szegedy, ICML 2015, alg. 2; here with the biased variance).

    Args:
      model: what is trained.
      loss: (logits, labels) -> scalar.
      tx: the optimiser.
      augment: whether the images go through `augmented` first.
    """

    def step(state, key, x, y):
        x = augmented(jax.random.fold_in(key, state.step), x) if augment else x

        def objective(weights):
            return loss(model.apply({**state.params, "params": weights}, x), y)

        weights = state.params["params"]
        value, g = jax.value_and_grad(objective)(weights)
        updates, moments = tx.update(g, state.moments, weights)
        params = {**state.params, "params": optax.apply_updates(weights, updates)}
        if model.statistics is not None:
            now = model.statistics(state.params, x)
            params["batch_stats"] = jax.tree.map(
                lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new, state.params["batch_stats"], now
            )
        return State(params, moments, state.step + 1), value

    return scanned(step)


def judging(model: Model, loss: Loss) -> Callable:
    """`(params, pool, picks) -> (right, loss)`, one of each an image."""

    def program(params, pool, picks):
        logits, y = model.apply(params, pixels(pool.x[picks])), pool.y[picks]
        return logits.argmax(-1) == y, jax.vmap(lambda z, label: loss(z[None], label[None]))(logits, y)

    return program
