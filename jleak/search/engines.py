"""Engines by name: what a recipe's `optim=` may be."""

from collections.abc import Callable
from typing import Any

import optax

from jleak.check import InputError, number, one_of
from jleak.search.bayesian import turboing
from jleak.search.engine import Engine
from jleak.search.evolution import evolving
from jleak.search.gradient import descending
from jleak.search.optimizers import OPTIMIZERS, optimizer
from jleak.search.random import drawing
from jleak.search.restarts import doubling, stagnating
from jleak.search.stages import then
from jleak.search.strategies import STRATEGIES

RESTARTS: dict[str, Callable[..., Engine]] = {
    "none": evolving,
    "stagnation": stagnating,
    "doubling": doubling,
}
"""name -> `(strategy, *, population, ...) -> Engine`."""


def engine(
    name: str,
    *,
    lr: optax.ScalarOrSchedule = 0.1,
    population: int = 50,
    std: float = 1.0,
    chunk: int | None = None,
    restarts: str = "none",
    share: float = 0.8,
) -> Engine:
    """The engine of that name, from the few settings that a recipe has.

    Args:
      name: a gradient optimiser (`OPTIMIZERS`), an evolution strategy (`STRATEGIES`), `turbo`, `turbo_m`
        (five regions), `random_search`, or two of them joined by a plus, the second of which refines what the
        first found (`cma_es+adam`).
      lr: learning rate or schedule of gradient optimisers; rate of the strategies that follow a gradient.
      population: candidates evaluated in a step, of all but gradient optimisers.
      std: where evolution begins: N(start, std^2). (Random search draws as the start is drawn.)
      chunk: candidates evaluated at once; None for all.
      restarts: of evolution: `"none"`, `"stagnation"` (`stagnating`) or `"doubling"` (`doubling`).
      share: of the steps that go to the first of two engines.

    Raises:
      InputError: an unknown name, with the nearest; settings that the engine cannot have.

    >>> engine("pso", population=20).keywords["strategy"]
    'pso'
    """
    settings = locals()
    first, plus, second = name.partition("+")
    if plus:
        parts = [engine(**{**settings, "name": part}) for part in (first, second)]
        return then(*parts, share=share)
    return ENGINES[one_of("optimiser", name, ENGINES)](**settings)


def _gradient(name: str, lr: optax.ScalarOrSchedule, **_: Any) -> Engine:
    return descending(optimizer(name, lr))


def _evolution(name: str, restarts: str, share: float, lr: Any, **settings: Any) -> Engine:
    one_of("restarts", restarts, RESTARTS)
    rate = lr(0) if callable(lr) else lr
    return RESTARTS[restarts](name, lr=rate, **settings)


def _turbo(name: str, population: int, chunk: int | None, **_: Any) -> Engine:
    return turboing(batch=population, regions={"turbo": 1, "turbo_m": 5}[name], chunk=chunk)


def _random(population: int, chunk: int | None, **_: Any) -> Engine:
    return drawing(population=population, chunk=chunk)


ENGINES: dict[str, Callable[..., Engine]] = {
    **dict.fromkeys(OPTIMIZERS, _gradient),
    **dict.fromkeys(STRATEGIES, _evolution),
    "random_search": _random,
    "turbo": _turbo,
    "turbo_m": _turbo,
}
"""name -> what makes the engine from `engine`'s settings."""


def budgeted(
    name: str, evaluations: int, *, population: int = 50, share: float = 0.8, **settings: Any
) -> tuple[Engine, int]:
    """The engine of that name and the steps in which it spends a budget, as far as whole generations fill it.

    Args:
      name, population, share, settings: as for `engine`; here `share` is of the evaluations.
      evaluations: of the objective.

    Raises:
      InputError: as `engine`; a budget below one generation.

    >>> [budgeted(name, 1000, population=40)[1] for name in ("adam", "snes", "snes+adam")]
    [1000, 25, 220]
    """
    first, plus, second = name.partition("+")
    if not plus:
        made = engine(name, population=population, **settings)
        return made, generations(evaluations, population) if populous(name) else evaluations
    number("share", share, above=0, below=1)
    shares = (int(share * evaluations), evaluations - int(share * evaluations))
    early, late = (
        budgeted(part, spent, population=population, **settings)
        for part, spent in zip((first, second), shares, strict=True)
    )
    steps = early[1] + late[1]
    return then(early[0], late[0], share=early[1] / steps), steps


def populous(name: str) -> bool:
    """Whether a step of the engine of that name evaluates a population.

    >>> populous("cma_es"), populous("adam"), populous("cma_es+adam")
    (True, False, True)
    """
    return name.partition("+")[0] not in OPTIMIZERS


def generations(evaluations: int, population: int) -> int:
    """How many generations a budget of evaluations allows.

    Raises:
      InputError: not even one.

    >>> generations(25_000, 50)
    500
    >>> generations(100, 500)
    Traceback (most recent call last):
    jleak.check.InputError: population must be <= the budget of 100 evaluations, got population=500
    """
    if population > evaluations:
        raise InputError(
            f"population must be <= the budget of {evaluations} evaluations, got population={population}"
        )
    return evaluations // population
