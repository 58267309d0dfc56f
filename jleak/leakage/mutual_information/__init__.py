"""Mutual information of a batch and its update: of a linearised one, or estimated from many pairs.

An update without noise is a function of its batch, so that their information has no bound (with continuous
images) or is log of the number of batches (with a finite set). What an estimator says is what its family, its
sample and its projection can see: an `Estimate` names them.
"""

from collections.abc import Callable

from jleak.leakage.mutual_information.estimate import Estimate, capped
from jleak.leakage.mutual_information.gaussian import gaussian, gaussian_information
from jleak.leakage.mutual_information.hierarchical import Hierarchy, hierarchical
from jleak.leakage.mutual_information.ksg import ksg
from jleak.leakage.mutual_information.neural import infonce, mine, nwj, smile
from jleak.leakage.mutual_information.renyi import renyi

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "Hierarchy",
    "capped",
    "gaussian",
    "gaussian_information",
    "hierarchical",
    "infonce",
    "ksg",
    "mine",
    "nwj",
    "renyi",
    "smile",
]

ESTIMATORS: dict[str, Callable[..., Estimate]] = {
    "gaussian": gaussian,
    "ksg": ksg,
    "mine": mine,
    "infonce": infonce,
    "nwj": nwj,
    "smile": smile,
    "renyi": renyi,
}
"""The estimators by name, each `(key, x, g, *, ...) -> Estimate`."""
