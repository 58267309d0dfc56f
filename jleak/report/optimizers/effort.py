"""What an optimiser spends on its way to a given loss."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jleak.audit import store
from jleak.audit.store import Record

Course = Float[np.ndarray, "pieces victims"]


def course(records: Sequence[Record], run: Path) -> Course:
    """Each victim's lowest loss so far after every piece of the search; infinite before a finite one.

    Raises:
      InputError: the arrays of a case are missing or damaged.
    """
    return np.concatenate([lowest(store.read_images(run, r["case_id"])["losses"]) for r in records], axis=1)


def lowest(losses: Float[np.ndarray, "pieces victims restarts"]) -> Course:
    """The best restart's.

    >>> lowest(np.array([[[np.nan, 3.0]], [[1.0, 2.0]]])).tolist()
    [[3.0], [1.0]]
    """
    return np.where(np.isfinite(losses), losses, np.inf).min(axis=2)


def goals(courses: Mapping[str, Course]) -> Float[np.ndarray, " victims"]:
    """For each victim the median over the optimisers of the loss where they stopped: half of them reach it.

    >>> goals({"a": np.array([[1.0]]), "b": np.array([[2.0]]), "c": np.array([[np.inf]])}).tolist()
    [2.0]
    """
    return np.quantile([of[-1] for of in courses.values()], 0.5, axis=0, method="lower")


def effort(of: Course, goal: Float[np.ndarray, " victims"], evaluations: float) -> float:
    """After how many `evaluations` half the victims' losses have come down to their goals; else infinite.

    Whole pieces are counted, so it is rounded up to a piece.

    >>> falling = np.array([[3.0, 3.0, 3.0], [2.0, 3.0, 3.0], [1.0, 1.0, 3.0], [0.0, 0.0, 3.0]])
    >>> effort(falling, np.array([2.0, 1.0, 2.0]), 400), effort(falling, np.zeros(3), 400)
    (300.0, 400.0)
    >>> effort(falling, np.array([2.0, -1.0, -1.0]), 400)
    inf
    """
    there = of <= np.where(np.isfinite(goal), goal, -np.inf)
    first = np.where(there.any(axis=0), there.argmax(axis=0) + 1, np.inf)
    middle = np.sort(first)[math.ceil(len(first) / 2) - 1]
    return float(evaluations * middle / len(of))
