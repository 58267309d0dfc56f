"""Searches one after the other, each from what the one before it found."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jleak.check import InputError, number, whole
from jleak.search.engine import Engine, Search, best
from jleak.tree import stream
from jleak.types import View


class Stage(NamedTuple):
    """A search that begins where another has ended.

    Attributes:
      make: `(found, view) -> Search`; found is the state in which the stage before it ended, with `best`,
        `fixed` and `loss`. Whatever they hold may go into the recipe: a start, a constraint.
      steps: the budget of the searches that it makes, static.
    """

    make: Callable[[Any, View], Search]
    steps: int


class Stages(NamedTuple):
    """The states of all stages; those that have not begun are at their starts and of infinite loss.

    Where the stages' points are alike, it tells what was found as any search's state does.
    """

    states: tuple[PyTree, ...]

    @property
    def best(self) -> PyTree:
        """The point of lowest loss."""
        return self._of_lowest("best")

    @property
    def fixed(self) -> PyTree:
        """What went with it."""
        return self._of_lowest("fixed")

    @property
    def loss(self) -> Float[Array, ""]:
        """That loss."""
        return self._of_lowest("loss")

    def _of_lowest(self, name: str) -> PyTree:
        winner = jnp.argmin(jnp.stack([state.loss for state in self.states]))
        return jax.tree.map(
            lambda *leaves: jnp.stack(leaves)[winner], *[getattr(s, name) for s in self.states]
        )


def staged(first: Search, *later: Stage) -> Search:
    """`first`, then each of the later stages from the state in which the one before it ended.

    The points of two stages need not be alike: a latent and then the generator's weights (Jeon et al.,
    NeurIPS 2021), one layer's features after the other's (Fang et al., ICCV 2023). What is read is the
    stage of lowest own loss, so later stages should score as the first does. Only the running stage costs
    time; all states are held.

    Args:
      first: any search whose state tells `best`, `fixed`, `loss`: those of `descend`, `evolve`,
      `random_search`.
      later: the other stages, in their order.

    Raises:
      InputError: no later stage, or one of fewer than 1 step.

    >>> import functools, optax
    >>> from jleak.search import descending
    >>> problem = (lambda key, p, _, view: (p - view) ** 2, lambda key, view: (0.0 * view, ()),
    ...            lambda p, fixed, view: (p, None))
    >>> coarse, fine = descending(optax.sgd(0.1)), descending(optax.sgd(0.4))
    >>> search = staged(coarse(*problem, steps=3), Stage(
    ...     lambda found, _: fine(problem[0], lambda key, view: (found.best, ()), problem[2], steps=9), 9))
    >>> round(float(search(jax.random.key(0), jnp.array(2.0)).x), 4), search.steps
    (2.0, 12)
    """
    if not later:
        raise InputError("staged needs a later stage, got none; give Stage(make, steps)")
    for stage in later:
        whole("steps", stage.steps)
    ends = [*itertools.accumulate([first.steps, *(stage.steps for stage in later)])]
    begins, order = [0, *ends[:-1]], range(len(ends))

    def search_of(k, states, view):
        return later[k - 1].make(states[k - 1], view) if k else first

    def opened(k, key, states, view):
        return search_of(k, states, view).init(stream(key, f"stage {k}") if k else key, view)

    def init(key, view):
        states = ()
        for k in order:
            states += (opened(k, key, states, view),)
        return Stages(states)

    def running(k, key, t, states, view):
        own = states[k]
        if k:
            own = lax.cond(t == begins[k], lambda: opened(k, key, states, view), lambda: states[k])
        own, loss = search_of(k, states, view).step(key, t - begins[k], own, view)
        return (*states[:k], own, *states[k + 1 :]), loss

    def step(key, t, state, view):
        now = jnp.sum(t >= jnp.array(ends[:-1]))
        branches = [functools.partial(running, k) for k in order]
        states, loss = lax.switch(now, branches, key, t, state.states, view)
        return Stages(states), loss

    def read(state, view):
        runs = [search_of(k, state.states, view).read(state.states[k], view) for k in order]
        return best(jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs))

    return Search(init, step, read, ends[-1])


def then(first: Engine, second: Engine, *, share: float = 0.5) -> Engine:
    """The engine that gives the first that share of the steps, and the second the rest, from its best point.

    >>> import optax
    >>> from jleak.search import descending, evolving
    >>> engine = then(evolving("snes", population=8), descending(optax.sgd(0.4)), share=0.8)
    >>> search = engine(lambda key, p, _, view: (p - view) ** 2, lambda key, view: (0.0 * view, ()),
    ...                 lambda p, fixed, view: (p, None), steps=20)
    >>> rec = search(jax.random.key(0), jnp.array(2.0))
    >>> round(float(rec.x), 2), int(rec.evaluations)
    (2.0, 132)
    """
    number("share", share, above=0, below=1)

    def engine(objective, start, decode, *, steps, cost=1, project=lambda point: point):
        whole("steps", steps, least=2, hint="two stages need a step each")
        early = min(max(round(share * steps), 1), steps - 1)
        rest = {"cost": cost, "project": project}

        def refine(found, _):
            return second(
                objective, lambda key, view: (found.best, found.fixed), decode, steps=steps - early, **rest
            )

        return staged(first(objective, start, decode, steps=early, **rest), Stage(refine, steps - early))

    return engine
