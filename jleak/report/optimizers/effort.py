"""What an optimiser spends on its way to a given loss."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jleak.audit import store
from jleak.audit.store import Record


class Course(NamedTuple):
    """How the searches of one optimiser went, piece by piece.

    Attributes:
      losses: each victim's lowest so far; infinite before a finite one.
      spent: gradient evaluations so far, a victim, over all restarts; their mean.
    """

    losses: Float[np.ndarray, "pieces victims"]
    spent: Float[np.ndarray, " pieces"]


def course(records: Sequence[Record], run: Path) -> Course:
    """That of these cases.

    Raises:
      InputError: the arrays of a case are missing or damaged.
    """
    arrays = [store.read_images(run, record["case_id"]) for record in records]
    spent = np.concatenate([of["spent"].sum(axis=2) for of in arrays], axis=1)
    return Course(np.concatenate([lowest(of["losses"]) for of in arrays], axis=1), spent.mean(axis=1))


def lowest(losses: Float[np.ndarray, "pieces victims restarts"]) -> Float[np.ndarray, "pieces victims"]:
    """The best restart's.

    >>> lowest(np.array([[[np.nan, 3.0]], [[1.0, 2.0]]])).tolist()
    [[3.0], [1.0]]
    """
    return np.where(np.isfinite(losses), losses, np.inf).min(axis=2)


def goals(courses: Mapping[str, Course]) -> Float[np.ndarray, " victims"]:
    """For each victim the median over the optimisers of the loss where they stopped: half of them reach it.

    >>> goals({str(end): Course(np.array([[end]]), np.ones(1)) for end in (1.0, 2.0, np.inf)}).tolist()
    [2.0]
    """
    return np.quantile([of.losses[-1] for of in courses.values()], 0.5, axis=0, method="lower")


def effort(of: Course, goal: Float[np.ndarray, " victims"]) -> float:
    """After how many evaluations half the victims' losses have come down to their goals; else infinite.

    Whole pieces are counted, so it is rounded up to a piece.

    >>> falling = np.array([[3.0, 3.0, 3.0], [2.0, 3.0, 3.0], [1.0, 1.0, 3.0], [0.0, 0.0, 3.0]])
    >>> of = Course(falling, np.array([50.0, 100.0, 101.0, 102.0]))
    >>> effort(of, np.array([2.0, 1.0, 2.0])), effort(of, np.zeros(3)), effort(of, np.full(3, -1.0))
    (101.0, 102.0, inf)
    """
    there = of.losses <= np.where(np.isfinite(goal), goal, -np.inf)
    first = np.where(there.any(axis=0), there.argmax(axis=0), len(of.spent))
    middle = np.sort(first)[math.ceil(len(first) / 2) - 1]
    return float([*of.spent, math.inf][middle])
