"""One loop for every iterative attack.

An iterative attack is three pure functions. The loop is a `lax.scan`, so that restarts, seeds and victims
are axes that the caller adds with `vmap`; the audit drives the same functions in pieces, for progress,
snapshots and stopping, with the same numbers to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import whole
from jleak.tree import select, stream
from jleak.types import Attack, Key, Reconstruction, View


@dataclass(frozen=True)
class Search:
    """An iterative attack; calling it runs it, so it is an `Attack`.

    Attributes:
      init: `(key, view) -> state`.
      step: `(key, t, state, view) -> (state, loss)`, step number t: the state after it, and the attacker's
        loss at the point that it evaluated.
      read: `(state, view) -> Reconstruction`, the best point so far.
      steps: the budget, static.
    """

    init: Callable[[Key, View], PyTree]
    step: Callable[[Key, Int[Array, ""], PyTree, View], tuple[PyTree, Float[Array, ""]]]
    read: Callable[[PyTree, View], Reconstruction]
    steps: int

    def __call__(self, key: Key, view: View) -> Reconstruction:
        state, _ = advance(self, key, begin(self, key, view), view, jnp.asarray(0), self.steps)
        return self.read(state, view)


Engine = Callable[..., Search]
"""What finds the minimum: `(objective, start, decode, *, steps, cost, project) -> Search`, see `descend`.

Recipes are given one, so that the same attack runs with any (`descending`).
"""


def begin(search: Search, key: Key, view: View) -> PyTree:
    """The state before the first step of the run with this key."""
    return search.init(stream(key, "init"), view)


def advance(
    search: Search,
    key: Key,
    state: PyTree,
    view: View,
    start: Int[Array, ""],
    steps: int,
    *,
    stop: int | None = None,
) -> tuple[PyTree, Float[Array, " steps"]]:
    """`steps` steps from number `start` on, and their losses.

    The key of a step depends on the run's key and the step's number alone, so a run may be cut anywhere.
    Steps from number `stop` on change nothing, so pieces of one length serve a run of any.

    >>> count = Search(lambda k, v: jnp.array(0), lambda k, t, s, v: (s + 1, 1.0 * t), lambda s, v: s, 4)
    >>> state, losses = advance(count, jax.random.key(0), jnp.array(0), None, jnp.array(0), 4)
    >>> int(state), losses.tolist()
    (4, [0.0, 1.0, 2.0, 3.0])
    """
    base = stream(key, "steps")

    def one(state, t):
        after, loss = search.step(jax.random.fold_in(base, t), t, state, view)
        return (after if stop is None else select(t < stop, after, state)), loss

    return lax.scan(one, state, start + jnp.arange(steps))


def best_of(attack: Attack, n: int) -> Attack:
    """`n` independent runs of `attack` at once; the one of lowest own loss is kept, NaN counting as worst.

    Raises:
      InputError: n < 1.

    >>> def guess(key, view):
    ...     x = jax.random.uniform(key)
    ...     return Reconstruction(x, None, x, jnp.array(1))
    >>> rec = best_of(guess, 64)(jax.random.key(0), None)
    >>> bool(rec.x < 0.1), int(rec.evaluations)
    (True, 64)
    """
    whole("restarts", n)

    def best_attack(key, view):
        return best(jax.vmap(attack, (0, None))(jax.random.split(stream(key, "restarts"), n), view))

    return best_attack


def best(runs: Reconstruction) -> Reconstruction:
    """Of runs stacked on a leading axis the one of lowest loss; the cost is that of all.

    >>> losses = jnp.array([jnp.nan, 2.0, 1.0])
    >>> float(best(Reconstruction(losses, losses, losses, jnp.ones(3))).loss)
    1.0
    """
    winner = jnp.argmin(jnp.where(jnp.isfinite(runs.loss), runs.loss, jnp.inf))
    return jax.tree.map(lambda leaf: leaf[winner], runs)._replace(evaluations=runs.evaluations.sum(0))


def conditioned(make: Callable[[View], Search], steps: int) -> Search:
    """The search whose recipe depends on the view, as that of an attacker who estimates the defense.

    Args:
      make: `view -> Search`; may put traced numbers into the recipe.
      steps: the budget of the searches that it makes.

    >>> def make(view):
    ...     return Search(lambda k, v: view, lambda k, t, s, v: (s, s), lambda s, v: s, 1)
    >>> float(conditioned(make, 1)(jax.random.key(0), jnp.array(3.0)))
    3.0
    """

    def init(key, view):
        return make(view).init(key, view)

    def step(key, t, state, view):
        return make(view).step(key, t, state, view)

    def read(state, view):
        return make(view).read(state, view)

    return Search(init, step, read, steps)
