"""From records to tables: one block a setting, a line an attack, a cell a batch size."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from jleak.audit.store import Record
from jleak.report.labels.names import APART, short, title, whole

SETTING = (
    "dataset",
    "model",
    "model_args",
    "client",
    "client_args",
    "draw",
    "defense",
    "defense_args",
    "assumed_batch",
    "train_steps",
    *APART,
)
"""What makes two records belong to different blocks: every setting but attack, batch and seed."""

SUSPICIOUS = 0.3
"""Imbalance above which an update is hardly the plain gradient of softmax cross entropy."""


class Rate(NamedTuple):
    """A mean over models and the half width of its 95 % interval; NaN where it cannot be told."""

    mean: float
    half: float


class Sizes(NamedTuple):
    """How often an attacker who is not told the batch size estimates it.

    Attributes:
      right: how often it is the true one.
      none: how often the shares of the classes do not tell it.
      of: of how many finite updates.
    """

    right: int
    none: int
    of: int


class Cell(NamedTuple):
    """One attack at one batch size.

    Attributes:
      rate: share of the predicted labels that are true, in percent.
      models: how many models it is the mean of; those of an update that is not finite are left out.
      status: the records' statuses, each once.
      imbalance: median over the updates.
      sizes: how often the batch size was estimated; None where the attacker had one, and of guessing.
    """

    rate: Rate
    models: int
    status: str
    imbalance: float
    sizes: Sizes | None = None


class Line(NamedTuple):
    """One attack, in the form that ran.

    Attributes:
      attack: its name with all arguments.
      short: its name with the arguments that tell its form.
      cells: by batch size.
    """

    attack: str
    short: str
    cells: dict[int, Cell]

    @property
    def name(self) -> str:
        """The attack's name alone."""
        return self.attack.split(" ")[0]

    @property
    def guesses(self) -> bool:
        """Whether this is random guessing, the floor."""
        return self.name == "random"


class Block(NamedTuple):
    """One setting: attacks by batch sizes.

    Attributes:
      setting: the settings, by name.
      title: what tells it apart.
      stem: the title without the steps of training.
      batches: the batch sizes, rising.
      lines: the attacks, random guessing last.
      records: what it stands on.
    """

    setting: dict[str, Any]
    title: str
    stem: str
    batches: list[int]
    lines: list[Line]
    records: list[Record]

    @property
    def imbalance(self) -> float:
        """Median over all updates."""
        return middle(self.records)

    @property
    def counted(self) -> str:
        """How many models a cell is the mean of, as text."""
        return span({cell.models for line in self.lines for cell in line.cells.values()})

    @property
    def updates(self) -> str:
        """Of how many finite updates each attack estimated the batch size, as text."""
        return span({cell.sizes.of for line in self.lines for cell in line.cells.values() if cell.sizes})

    @property
    def sized(self) -> list[Line]:
        """The attacks that were left to estimate the batch size."""
        return [line for line in self.lines if any(cell.sizes for cell in line.cells.values())]

    @property
    def told(self) -> dict[int, Sizes]:
        """The estimates of the attack that told each batch size most often."""
        found = {n: [line.cells[n].sizes for line in self.sized if n in line.cells] for n in self.batches}
        return {n: max(sizes) for n, sizes in found.items() if sizes}

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of the trained models in percent; None where they are not trained."""
        found = [r["accuracy"] for r in self.records if r["accuracy"] is not None]
        return 100 * sum(found) / len(found) if found else None

    @property
    def faults(self) -> list[str]:
        """Statuses other than ok, with the batch sizes at which they occur."""
        found: dict[str, set[int]] = {}
        for record in self.records:
            if record["status"] != "ok":
                found.setdefault(record["status"], set()).add(record["batch"])
        return [f"batch {', '.join(map(str, sorted(b)))}: {status}" for status, b in found.items()]

    @property
    def best(self) -> dict[int, list[Line]]:
        """The attacks of the highest rate at each batch size; random guessing where there is no other."""
        return {n: leading(self.lines, n) for n in self.batches}

    @property
    def guessing(self) -> dict[int, Cell]:
        """What random guessing reaches, by batch size."""
        return next((line.cells for line in self.lines if line.guesses), {})


def span(counts: set[int]) -> str:
    """The number, or the least and the most.

    >>> span({100}), span({98, 100, 99})
    ('100', '98 to 100')
    """
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def leading(lines: Sequence[Line], batch: int) -> list[Line]:
    """The attacks whose rate at a batch size is the highest, to the tenth of a percent that is shown."""
    there = [one for one in lines if batch in one.cells and not math.isnan(one.cells[batch].rate.mean)]
    there = [one for one in there if not one.guesses] or there
    means = [round(one.cells[batch].rate.mean, 1) for one in there]
    return [one for one, mean in zip(there, means, strict=True) if mean == max(means)]


def blocks(records: Sequence[Record]) -> list[Block]:
    """The blocks of these records, in the order in which their settings first appear."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(repr([record[name] for name in SETTING]), []).append(record)
    return [block(group, records) for group in groups.values()]


def block(records: list[Record], among: Sequence[Record]) -> Block:
    """The block of records of one setting, titled among all."""
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(whole("attack", record), []).append(record)
    lines = [line(name, group, records) for name, group in cells.items()]
    first = records[0]
    return Block(
        setting={name: first[name] for name in SETTING},
        title=title(first, among, steps=any(r["train_steps"] for r in among)),
        stem=title(first, among, steps=False),
        batches=sorted({record["batch"] for record in records}),
        lines=sorted(lines, key=lambda one: one.guesses),
        records=records,
    )


def line(name: str, records: list[Record], among: Sequence[Record]) -> Line:
    """The line of one attack."""
    batches = sorted({record["batch"] for record in records})
    first = records[0]
    return Line(
        name, short(first, among), {n: cell([r for r in records if r["batch"] == n]) for n in batches}
    )


def cell(records: list[Record]) -> Cell:
    """The cell of records that differ in their seeds alone."""
    rates = [100 * value for record in records for value in by_model(record)]
    status = "; ".join(sorted({record["status"] for record in records}))
    return Cell(interval(rates), len(rates), status, middle(records), sizes(records))


def sizes(records: list[Record]) -> Sizes | None:
    """How often these records' estimates of the batch size are right; None of guessing, and without any."""
    if records[0]["attack"] == "random" or records[0]["batch_estimate"] is None:
        return None
    told = [(n, record["batch"]) for record in records for n in record["batch_estimate"] if n is not None]
    return Sizes(sum(n == batch for n, batch in told), sum(n == 0 for n, _ in told), len(told))


def by_model(record: Record) -> list[float]:
    """The success at each model, the mean over its victims; models without a finite update are left out."""
    numbers = np.array([math.nan if s is None else s for s in record["success"]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        means = np.nanmean(numbers.reshape(record["models"], record["victims"]), axis=1)
    return means[np.isfinite(means)].tolist()


def interval(rates: Sequence[float]) -> Rate:
    """The mean and the half width of its 95 % interval, by Student's t.

    >>> rate = interval([90.0, 100.0, 95.0])
    >>> rate.mean, round(rate.half, 2)
    (95.0, 12.42)
    """
    n = len(rates)
    mean = float(np.mean(rates)) if n else math.nan
    return Rate(mean, float(stdtrit(n - 1, 0.975) * np.std(rates, ddof=1) / n**0.5) if n > 1 else math.nan)


def middle(records: Sequence[Record]) -> float:
    """The median imbalance of their updates."""
    found = [value for record in records for value in record["imbalance"] if value is not None]
    return float(np.median(found)) if found else math.nan


def stages(found: Sequence[Block]) -> list[list[Block]]:
    """The blocks that differ in their steps of training alone, in the order of these."""
    groups: dict[str, list[Block]] = {}
    for one in found:
        groups.setdefault(one.stem, []).append(one)
    return [sorted(group, key=lambda b: b.setting["train_steps"]) for group in groups.values()]
