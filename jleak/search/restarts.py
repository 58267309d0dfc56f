"""Restarts with growing populations."""

from typing import Any

from jleak.check import InputError, whole
from jleak.search.engine import Engine
from jleak.search.evolution import evolve
from jleak.search.stages import Stage, staged
from jleak.search.strategies import checked


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
            def make(found):
                return run(k, lambda key, view: (start(key, view)[0], found.fixed))

            return Stage(make, steps // (runs * 2**k))

        return staged(run(0, start), *map(again, range(1, runs)))

    return engine
