"""Does a measure predict what an attack recovers? Rank correlation over settings and batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from jleak.report.measures.rows import Block, Column

BOOTSTRAPS = 1000
LEAST = 4
"""Points from which a rank correlation can say anything."""


class Points(NamedTuple):
    """A measure beside an attack's error.

    Attributes:
      measure, attack: their names.
      unit: of the measure.
      x: of each point the measure.
      y: of each the attack's mean squared error, pixels in [0, 1].
      block: which setting it is of.
      middle: of each setting the medians of both.
      rho: Spearman's rank correlation over the medians of settings where there are `LEAST` settings or more,
        else over the points.
      low, high: its 95 % interval by bootstrap of what it is over (percentiles).
      over: `settings` or `batches`.
    """

    measure: str
    attack: str
    unit: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    block: np.ndarray
    middle: Float[np.ndarray, "settings 2"]
    rho: float
    low: float
    high: float
    over: str


def points(found: Sequence[Block]) -> list[Points]:
    """Every measure beside every attack, over all settings that have both."""
    attacks = list(dict.fromkeys(one.name for block in found for one in block.attacks))
    measures = list(dict.fromkeys(one.name for block in found for one in block.measures))
    pairs = [(m, a, together(found, m, a)) for a in attacks for m in measures]
    return [compared(m, a, *of) for m, a, of in pairs if of is not None]


def together(found: Sequence[Block], measure: str, attack: str) -> tuple | None:
    """(unit, x, y, block) of all settings that have both; None where there is none."""
    parts, unit = [], ""
    for i, block in enumerate(found):
        one, other = named(block.measures, measure), named(block.attacks, attack)
        if one is None or other is None:
            continue
        unit, x, y = one.main["unit"], one.whole[one.main["whole"]], other.whole["mse"]
        if x.ndim < y.ndim:  # one number a model
            y = np.nanmean(y, axis=-1)
        parts.append((x.ravel(), y.ravel(), np.full(x.size, i)))
    if not parts:
        return None
    return unit, *(np.concatenate(of) for of in zip(*parts, strict=True))


def named(columns: Sequence[Column], name: str) -> Column | None:
    """The column of that name, if any."""
    return next((one for one in columns if one.name == name), None)


def compared(measure: str, attack: str, unit: str, x: np.ndarray, y: np.ndarray, block: np.ndarray) -> Points:
    """The points with their correlation."""
    fine = np.isfinite(x) & np.isfinite(y)
    x, y, block = x[fine], y[fine], block[fine]
    settings = np.unique(block)
    middle = np.array([[np.median(x[block == b]), np.median(y[block == b])] for b in settings]).reshape(-1, 2)
    enough = len(settings) >= LEAST
    rho, low, high = correlation(*(middle.T if enough else (x, y)))
    over = "settings" if enough else "batches"
    return Points(measure, attack, unit, x, y, block, middle, rho, low, high, over)


def correlation(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95 % interval by bootstrap; NaN where there are too few points.

    >>> correlation(np.arange(9.0), np.arange(9.0) ** 2)
    (1.0, 1.0, 1.0)
    """
    if len(x) < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return (float("nan"),) * 3
    rng, drawn = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        at = rng.integers(0, len(x), len(x))
        if np.ptp(x[at]) and np.ptp(y[at]):
            drawn.append(rank_correlation(x[at], y[at]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return tuple(round(float(v), 12) for v in (rank_correlation(x, y), low, high))


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of the ranks."""
    a, b = stats.rankdata(x), stats.rankdata(y)
    return float(np.corrcoef(a, b)[0, 1])
