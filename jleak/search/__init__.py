"""Search engines: the loop, and the optimisers behind it."""

from jleak.search.bayesian import turbo, turboing
from jleak.search.engine import Engine, Search, advance, begin, best, best_of, conditioned
from jleak.search.engines import ENGINES, budgeted, engine, generations, populous
from jleak.search.evolution import evolve, evolving
from jleak.search.gradient import descend, descending
from jleak.search.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    langevin,
    optimizer,
    schedule,
    soft_sign,
    step_decay,
)
from jleak.search.random import drawing, random_search
from jleak.search.restarts import doubling, restarting, stagnating
from jleak.search.stages import Stage, staged, then
from jleak.search.strategies import STRATEGIES

__all__ = [
    "ENGINES",
    "OPTIMIZERS",
    "SCHEDULES",
    "STRATEGIES",
    "Engine",
    "Search",
    "Stage",
    "advance",
    "begin",
    "best",
    "best_of",
    "budgeted",
    "conditioned",
    "descend",
    "descending",
    "doubling",
    "drawing",
    "engine",
    "evolve",
    "evolving",
    "generations",
    "langevin",
    "optimizer",
    "populous",
    "random_search",
    "restarting",
    "schedule",
    "soft_sign",
    "staged",
    "stagnating",
    "step_decay",
    "then",
    "turbo",
    "turboing",
]
