"""From records to the rows of a table: victims and seeds together, one row a setting."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import MISSING, fields
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jleak.audit.case import Case
from jleak.audit.store import Record
from jleak.defenses import KNOWS
from jleak.metrics import attributes

SHARED = (
    "weights",
    "loss_fn",
    "batch",
    "draw",
    "victims",
    "known_labels",
    "restarts",
    "halving",
    "stop",
    "lanes",
    "precision",
)
"""Settings without a column of their own: where they differ, tables and pictures are apart."""

SETTING = (
    "dataset",
    "model",
    "model_args",
    "client",
    "client_args",
    "defense",
    "defense_args",
    "knows",
    "attack",
    "attack_args",
    *SHARED,
)
"""What makes two records belong to different rows: every setting but the seed."""

RECOVERED = 30.0
"""Median PSNR in dB from which an image counts as recovered: the two are hard to tell apart by eye."""

MARGIN = 3.0
"""Decibels above the best constant image from which an image counts as partly recovered."""


DEFAULTS = {field.name: field.default for field in fields(Case) if field.default is not MISSING}
"""Of the settings that have a plain one."""


class Spread(NamedTuple):
    """Median and quartiles of a number over victims and seeds."""

    median: float
    low: float
    high: float


class Row(NamedTuple):
    """One setting's results over all its victims and seeds.

    Attributes:
      setting: the settings, by name.
      model, defense, attack: their names, with the arguments that tell them apart.
      shared: those of `SHARED` that tell the row apart, as text.
      records: what the row stands on.
      psnr, ssim, mse, loss, snr: over victims and seeds; NaN where nothing finite was found.
      labels: share of labels recovered, and its 95 % interval (Wilson).
      constant: median PSNR of the best constant image, an oracle's floor.
      evaluations: gradient evaluations of the victim model, a victim.
      seconds: attack seconds, a victim.
      avd, mse_features: over victims and seeds; the latter NaN where the model tells no features.
      vouched: images by what the attack's certificate says of them (`jleak.types.Status`); empty without one.
      mixing: mu, condition and rank over victims, what the client could know; empty in older records.
    """

    setting: dict[str, Any]
    model: str
    defense: str
    attack: str
    shared: str
    records: list[Record]
    psnr: Spread
    ssim: Spread
    mse: Spread
    loss: Spread
    snr: Spread
    labels: Spread
    constant: float
    evaluations: float
    seconds: float
    avd: Spread
    mse_features: Spread
    vouched: dict[str, int]
    mixing: dict[str, Spread]

    @property
    def knows(self) -> str:
        """What the attacker knows of the defense."""
        return self.setting["knows"]

    @property
    def victims(self) -> int:
        """How many victims over all seeds."""
        return sum(r["victims"] for r in self.records)

    @property
    def status(self) -> str:
        """The records' statuses, each once."""
        return "; ".join(sorted({r["status"] for r in self.records}))

    @property
    def verdict(self) -> str:
        """What the median victim lost: `recovered`, `partly` or `not recovered`.

        `proven recovered` where the attack proves it of every image, which no truth is needed for.
        """
        return (
            "proven recovered" if set(self.vouched) == {"proven"} else lost(self.psnr.median, self.constant)
        )


def lost(psnr: float, constant: float) -> str:
    """What a victim lost whose image was found at so many dB, where the best constant image is at `constant`.

    >>> lost(31.0, 10.0), lost(14.0, 10.0), lost(float("nan"), 10.0)
    ('recovered', 'partly', 'not recovered')
    """
    if psnr >= RECOVERED:
        return "recovered"
    return "partly" if psnr >= constant + MARGIN else "not recovered"


Leaking = TypeVar("Leaking")
"""A row of any table that has a `psnr`."""


def leakiest(found: Sequence[Leaking]) -> Leaking:
    """Of rows the one that leaks most, by median PSNR; one without a number only where none has."""
    return max(found, key=lambda row: -math.inf if math.isnan(row.psnr.median) else row.psnr.median)


def rows(records: Sequence[Record]) -> list[Row]:
    """The rows of these records, in the order in which their settings first appear.

    Settings that differ in anything but the seed are never put together. A setting that did not exist when a
    record was made has its default.
    """
    records = [DEFAULTS | record for record in records]
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(repr([record[name] for name in SETTING]), []).append(record)
    return [row(group, records) for group in groups.values()]


def by_model(found: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """(title, rows) of each model, data set and shared settings; rows of one defense together."""
    groups: dict[str, list[Row]] = {}
    for one in found:
        title = f"{one.model} on {one.setting['dataset']}" + (f", {one.shared}" if one.shared else "")
        groups.setdefault(title, []).append(one)
    defenses = list(dict.fromkeys(one.defense for one in found))
    return [
        (title, sorted(group, key=lambda r: (defenses.index(r.defense), KNOWS.index(r.knows), r.attack)))
        for title, group in groups.items()
    ]


def counted(group: Sequence[Row]) -> str:
    """How many victims the rows stand on, as text: of an unfinished run some have fewer."""
    counts = sorted({row.victims for row in group})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def label(kind: str, record: Record, among: Sequence[Record]) -> str:
    """A name with the arguments in which it differs from its namesakes; a defense with all its numbers.

    >>> short, long = ({"attack": "dlg", "attack_args": {"lr": 1.0, "steps": n}} for n in (10, 20))
    >>> label("attack", short, [short, long]), label("attack", short, [short])
    ('dlg steps=10', 'dlg')
    """
    name, args = record[kind], record[f"{kind}_args"]
    others = [r[f"{kind}_args"] for r in among if r[kind] == name]
    told = {
        key: value
        for key, value in args.items()
        if any(other.get(key) != value for other in others)
        or (kind == "defense" and isinstance(value, float))
    }
    return " ".join([name, *(f"{k}={text(v)}" for k, v in told.items())])


def text(value: Any) -> str:
    """A value as short as it stays exact, as the command line takes it.

    >>> text(1e-4), text(0.10000001), text([16, 8]), text(True)
    ('0.0001', '0.10000001', '16-8', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "-".join(map(text, value)) if isinstance(value, list | tuple) else str(value)


def row(records: list[Record], among: Sequence[Record]) -> Row:
    """The row of records that differ in their seeds alone, labelled among all."""
    images = sum(r["victims"] * r["batch"] for r in records)
    right = sum(sum(filter(None, r["label_success"])) * r["batch"] for r in records)
    victims = sum(r["victims"] for r in records)
    names = ("psnr", "ssim", "mse", "loss", "snr", "avd", "mse_features")
    found = {name: spread(values(records, name)) for name in names}
    return Row(
        setting={name: records[0][name] for name in SETTING},
        **{kind: label(kind, records[0], among) for kind in ("model", "defense", "attack")},
        shared=shared(records[0], among),
        records=records,
        labels=Spread(right / images, *wilson(right, images)),
        constant=median(values(records, "constant_psnr")),
        evaluations=sum(r["evaluations"] for r in records) / victims,
        seconds=sum(r["seconds"] for r in records) / victims,
        vouched=vouched(records),
        mixing=mixing(records),
        **found,
    )


def vouched(records: Sequence[Record]) -> dict[str, int]:
    """How many images each status was given to, most first; none where an attack vouches for nothing.

    >>> vouched([{"certificate": {"status": [["proven", "noisy"], ["noisy"]]}}, {"certificate": None}])
    {'noisy': 2, 'proven': 1}
    """
    given = [r["certificate"]["status"] for r in records if r.get("certificate")]
    return dict(Counter(name for record in given for victim in record for name in victim).most_common())


def mixing(records: Sequence[Record]) -> dict[str, Spread]:
    """The clients' mixing scores; none where a record is older than they are."""
    if not all(r.get("mixing") for r in records):
        return {}
    return {
        name: spread(values([r["mixing"] for r in records], name)) for name in ("mu", "condition", "rank")
    }


def shared(record: Record, among: Sequence[Record]) -> str:
    """The settings without a column in which a record differs from others, and trained weights, as text."""
    client = [label("client", r, among) for r in (record, *among)]
    told = [client[0]] if len(set(client)) > 1 else []
    differing = {n for n in SHARED if any(r[n] != record[n] for r in among)}
    differing |= {"weights"} if record["weights"] else set()  # what is attacked is told in any case
    return " ".join(
        told + [f"{n}={'none' if record[n] == '' else record[n]}" for n in SHARED if n in differing]
    )


def values(records: Sequence[Record], name: str) -> list[float]:
    """The numbers of that name over all victims; null (not finite) as NaN."""
    return [math.nan if value is None else value for r in records for value in r.get(name, [])]


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles of the finite numbers; NaN where there is none.

    >>> spread([1.0, 2.0, 3.0, float("nan")])
    Spread(median=2.0, low=1.5, high=2.5)
    """
    finite = [n for n in numbers if math.isfinite(n)]
    if not finite:
        return Spread(math.nan, math.nan, math.nan)
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    return Spread(float(middle), float(low), float(high))


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95 % interval of a share (`jleak.metrics.attributes.wilson`).

    >>> [round(end, 3) for end in wilson(8, 8)]
    [0.676, 1.0]
    """
    return attributes.wilson(successes / trials, trials)
