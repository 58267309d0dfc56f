"""Restarts of a search within one run: where it stagnates, or with populations that double."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import InputError, whole
from jleak.search.engine import Engine, Search
from jleak.search.evolution import evolve
from jleak.search.stages import Stage, staged
from jleak.search.strategies import checked
from jleak.tree import select, size, stream


class Watched(NamedTuple):
    """The state of a search that begins anew where it stagnates.

    Attributes:
      state: the search's; its `best`, `loss` and `evaluations` are those of all runs.
      level: the lowest loss of this run.
      still: steps since that fell.
    """

    state: Any
    level: Float[Array, ""]
    still: Int[Array, ""]

    @property
    def best(self) -> PyTree:
        """The point of lowest loss."""
        return self.state.best

    @property
    def fixed(self) -> PyTree:
        """What went with it."""
        return self.state.fixed

    @property
    def loss(self) -> Float[Array, ""]:
        """That loss."""
        return self.state.loss


def restarting(search: Search, *, patience: Callable[[int], int], tolerance: float = 1e-6) -> Search:
    """`search`, begun anew once its lowest loss has not fallen by the share `tolerance` for `patience` steps.

    What is not optimised (`fixed`) stays. Settings that follow the number of the step do not begin anew.

    Args:
      search: one whose state tells `best`, `fixed`, `loss`, `evaluations`: that of `descend`, `evolve` or
        `random_search`.
      patience: `d -> steps`, d the length of a point.
      tolerance: of the loss, relative.

    >>> from jleak.search import descend
    >>> import jax, optax
    >>> two_valleys = lambda key, p, fixed, view: jnp.minimum((p + 1) ** 2 + 0.5, (p - 1) ** 2)
    >>> search = descend(two_valleys, lambda key, view: (jax.random.normal(key), ()),
    ...                  lambda p, fixed, view: (p, None), optimizer=optax.sgd(0.4), steps=200)
    >>> runs = jax.vmap(restarting(search, patience=lambda d: 5), (0, None))
    >>> bool((runs(jax.random.split(jax.random.key(0), 20), None).loss < 1e-6).all())
    True
    """

    def watched(state):
        return Watched(state, jnp.array(jnp.inf), jnp.array(0))

    def init(key, view):
        return watched(search.init(key, view))

    def step(key, t, state, view):
        after, loss = search.step(key, t, state.state, view)
        known = jnp.isfinite(state.level)
        falls = loss < jnp.where(known, state.level - tolerance * jnp.abs(state.level), jnp.inf)
        level, still = jnp.where(falls, loss, state.level), jnp.where(falls, 0, state.still + 1)
        kept = {name: getattr(after, name) for name in ("fixed", "best", "loss", "evaluations")}
        new = watched(search.init(stream(key, "restart"), view)._replace(**kept))
        return select(still >= patience(size(after.best)), new, Watched(after, level, still)), loss

    def read(state, view):
        return search.read(state.state, view)

    return Search(init, step, read, search.steps)


def stagnating(strategy: str, *, population: int, **settings: Any) -> Engine:
    """The engine that evolves, from a new start where 10 + 30 d / population generations have not helped.

    Source: the rule TolHistFun of Auger and Hansen, "A Restart CMA Evolution Strategy with Increasing
    Population Size", CEC 2005. The population stays as it is, since a compiled loop has fixed shapes (see
    `doubling`).

    >>> search = stagnating("snes", population=4)(
    ...     lambda key, p, _, view: (p - view) ** 2, lambda key, view: (0.0 * view, ()),
    ...     lambda p, fixed, view: (p, None), steps=40)
    >>> search.steps
    40
    """
    checked(strategy, population)

    def engine(*problem, **rest):
        search = evolve(*problem, strategy=strategy, population=population, **settings, **rest)
        return restarting(search, patience=lambda d: 10 + -(-30 * d // population))

    return engine


def doubling(strategy: str, *, population: int, runs: int = 3, **settings: Any) -> Engine:
    """The engine that runs a strategy anew with twice the population, from a new start, each time.

    Run k has population 2^k times the first and 2^-k of its generations: equal evaluations, and as many in
    all as `steps` generations of the first population. So it takes fewer steps than it is given.

    Source: Auger and Hansen, "A Restart CMA Evolution Strategy with Increasing Population Size", CEC 2005.
    There a run ends when it stagnates; here when its share is spent, since a compiled loop has fixed
    shapes.

    Args:
      strategy: of `jleak.search.STRATEGIES`.
      population: of the first run.
      runs: how many.
      settings: further ones of `jleak.search.evolve`.

    Raises:
      InputError: a strategy or population that cannot be; runs < 2; fewer steps than runs * 2^(runs - 1).

    >>> search = doubling("snes", population=4, runs=2)(
    ...     lambda key, p, _, view: (p - view) ** 2, lambda key, view: (0.0 * view, ()),
    ...     lambda p, fixed, view: (p, None), steps=40)
    >>> search.steps
    30
    """
    checked(strategy, population)
    whole("runs", runs, least=2)

    def engine(objective, start, decode, *, steps, **rest):
        least = runs * 2 ** (runs - 1)
        if steps < least:
            raise InputError(f"{runs} runs of doubled populations need steps >= {least}, got steps={steps}")

        def run(k, begin):
            settled = {**settings, **rest, "population": population * 2**k}
            return evolve(
                objective, begin, decode, strategy=strategy, steps=steps // (runs * 2**k), **settled
            )

        def again(k):
            def make(found, _):
                return run(k, lambda key, view: (start(key, view)[0], found.fixed))

            return Stage(make, steps // (runs * 2**k))

        return staged(run(0, start), *map(again, range(1, runs)))

    return engine
