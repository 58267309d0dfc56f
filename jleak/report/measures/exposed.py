"""The records that a measure finds most exposed, put together over the seeds of a setting."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jleak.audit.measures.exposed import TOP
from jleak.audit.store import Record
from jleak.report.rows import Spread


class Exposed(NamedTuple):
    """One of the records that give most away.

    Attributes:
      record: its place in the data set.
      seed: of the case, whose models and test records are its own.
      label: the name of its class.
      bits: that the update gives the probes of it, all layers together.
      batches: the test batches that hold it.
      layer, of_layer: the layer that alone gives most of it away, and the median of that.
      image: what it shows.
    """

    record: int
    seed: int
    label: str
    bits: Spread
    batches: int
    layer: str
    of_layer: float
    image: Float[np.ndarray, "h w c"]


class Ranking(NamedTuple):
    """The most exposed records of a measure in one setting, beside how many there are, and the middle one."""

    top: list[Exposed]
    records: int
    median: float


def ranking(records: Sequence[Record], arrays: Sequence[Mapping[str, np.ndarray]]) -> Ranking | None:
    """Those of a measure's cases, a seed each; None where the measure knows none (or is of before it did)."""
    pairs = [(r, of) for r, of in zip(records, arrays, strict=True) if r.get("exposed")]
    if not pairs:
        return None
    every = [
        exposed_of(one, record["seed"], image)
        for record, of in pairs
        for one, image in zip(record["exposed"]["top"], of["exposed/images"], strict=True)
    ]
    every.sort(key=lambda one: -one.bits.median if math.isfinite(one.bits.median) else math.inf)
    of_all = [record["exposed"] for record, _ in pairs]
    medians = [told["median"] for told in of_all if told["median"] is not None]
    median = float(np.median(medians)) if medians else math.nan
    return Ranking(every[:TOP], sum(told["records"] for told in of_all), median)


def exposed_of(told: dict[str, Any], seed: int, image: np.ndarray) -> Exposed:
    """A line of a case's record, with its image."""
    bits = {name: math.nan if value is None else value for name, value in told["bits"].items()}
    of_layer = math.nan if told["of_layer"] is None else told["of_layer"]
    who = told["record"], seed, told["label"], Spread(**bits), told["batches"]
    return Exposed(*who, told["layer"], of_layer, image)
