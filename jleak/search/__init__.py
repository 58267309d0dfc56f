"""Search engines: the loop, and the optimisers behind it."""

from jleak.search.engine import Engine, Search, advance, begin, best, best_of, conditioned
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

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Engine",
    "Search",
    "advance",
    "begin",
    "best",
    "best_of",
    "conditioned",
    "descend",
    "descending",
    "langevin",
    "optimizer",
    "schedule",
    "soft_sign",
    "step_decay",
]
