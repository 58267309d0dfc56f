"""Search by gradient descent on the attacker's objective."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from jleak.search.engine import Engine, Search
from jleak.tree import select, stream
from jleak.types import Key, Reconstruction, View


class Descent(NamedTuple):
    """The state of a descent.

    Attributes:
      point: where it stands.
      fixed: what was inferred at the start and is not optimised (labels).
      optimizer: optax's state.
      best: the point of lowest loss among those evaluated.
      loss: that loss; infinity before the first finite one.
      evaluations: objective evaluations so far, line searches included.
    """

    point: PyTree
    fixed: PyTree
    optimizer: PyTree
    best: PyTree
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


def descend(
    objective: Callable[[Key, PyTree, PyTree, View], Float[Array, ""]],
    start: Callable[[Key, View], tuple[PyTree, PyTree]],
    decode: Callable[[PyTree, PyTree, View], tuple[Array, Array]],
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    cost: int = 1,
    project: Callable[[PyTree], PyTree] = lambda point: point,
) -> Search:
    """Gradient descent that remembers the best point by the attacker's own loss.

    A point of non-finite loss is never the best one; a lane that has become NaN stays so and keeps what
    it had found.

    Args:
      objective: `(key, point, fixed, view) -> loss`.
      start: `(key, view) -> (point, fixed)`.
      decode: `(point, fixed, view) -> (x, y)`.
      optimizer: any optax transformation, line searches included; those that take a `key=` get a fresh one.
      steps: the budget.
      cost: gradient evaluations of the victim model behind one value of the objective.
      project: applied to the point after every step.

    >>> search = descend(lambda key, p, _, view: jnp.sum((p - view) ** 2), lambda key, view: (0 * view, ()),
    ...                  lambda p, fixed, view: (p, None), optimizer=optax.sgd(0.4), steps=20)
    >>> [round(float(u), 3) for u in search(jax.random.key(0), jnp.array([1.0, 2.0])).x]
    [1.0, 2.0]
    """
    tx = optax.with_extra_args_support(optimizer)

    def init(key, view):
        point, fixed = start(key, view)
        return Descent(point, fixed, tx.init(point), point, jnp.array(jnp.inf), jnp.array(0))

    def step(k_step, _, state, view):
        def value(point, key=None):  # a line search hands on the optimiser's key to who names one
            del key
            return objective(k_step, point, state.fixed, view)

        loss, grad = jax.value_and_grad(value)(state.point)
        k_move, known = stream(k_step, "move"), {"value": loss, "grad": grad, "value_fn": value}
        moves, opt = tx.update(grad, state.optimizer, state.point, key=k_move, **known)
        better = loss < state.loss  # False for NaN
        spent = cost * (1 + optax.tree_utils.tree_get(opt, "num_linesearch_steps", 0))
        return Descent(
            point=project(optax.apply_updates(state.point, moves)),
            fixed=state.fixed,
            optimizer=opt,
            best=select(better, state.point, state.best),
            loss=jnp.where(better, loss, state.loss),
            evaluations=state.evaluations + spent,
        ), loss

    def read(state, view):
        return Reconstruction(*decode(state.best, state.fixed, view), state.loss, state.evaluations)

    return Search(init, step, read, steps)


def descending(optimizer: optax.GradientTransformation) -> Engine:
    """The engine that descends with this optimiser (`descend`).

    >>> descending(optax.sgd(0.1)).keywords["optimizer"].init(jnp.zeros(2))
    (EmptyState(), EmptyState())
    """
    return functools.partial(descend, optimizer=optimizer)
