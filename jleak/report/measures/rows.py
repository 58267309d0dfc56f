"""From records to maps: what every measure says of every layer, a map a setting."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jleak.audit import store
from jleak.audit.measures.case import MeasureCase
from jleak.audit.store import Record
from jleak.report.measures.exposed import Ranking, ranking
from jleak.report.rows import Spread, label, spread

RECOVERY = "recovery"
"""The measure that is what an attack recovers."""

NOT_SETTING = ("measure", "measure_args", "seed")
"""Fields of a case that do not make another setting."""

PLAIN = {"client": "fedsgd", "defense": "none"}


class Column(NamedTuple):
    """What one measure says in one setting, over models, batches and seeds.

    Attributes:
      name: the measure, with the arguments that tell it from its namesakes.
      measure: the measure alone.
      main: the names of the numbers that stand for it, `layer` and `whole`, and their `unit`.
      layers: each of its numbers of the layers, by name: (samples, layers).
      whole: each of its numbers of the whole update, by name: (models, ...).
      status: what was not finite, or `ok`.
      seconds: that it took.
      exposed: the records that it finds most exposed; None where it knows none.
      note: what is to be said beside its numbers, if anything.
    """

    name: str
    measure: str
    main: dict[str, str]
    layers: dict[str, Float[np.ndarray, "samples layers"]]
    whole: dict[str, Float[np.ndarray, "models ..."]]
    status: str
    seconds: float
    exposed: Ranking | None
    note: str

    @property
    def shown(self) -> list[Spread] | None:
        """Its main number of every layer; None for a measure of the whole alone."""
        found = self.layers.get(self.main["layer"])
        return None if found is None else [spread(of) for of in found.T]

    @property
    def total(self) -> Spread:
        """Its main number of the whole."""
        return spread(self.whole[self.main["whole"]].ravel())


class Block(NamedTuple):
    """One setting: a model at a stage of its training, a client, a defense.

    Attributes:
      title: what tells it from the others.
      names, sizes: its layers, input first, and how many entries each has.
      columns: a measure each, in the order asked for; those of attacks last.
      accuracy: of the trained models, a share; None for untrained ones.
      records: what it stands on.
    """

    title: str
    names: list[str]
    sizes: list[int]
    columns: list[Column]
    accuracy: float | None
    records: list[Record]

    @property
    def measures(self) -> list[Column]:
        """The columns that are measures."""
        return [column for column in self.columns if column.measure != RECOVERY]

    @property
    def ranked(self) -> list[tuple[Column, Ranking]]:
        """The columns that know which records are most exposed, with these."""
        return [(column, column.exposed) for column in self.columns if column.exposed]

    @property
    def attacks(self) -> list[Column]:
        """The columns that say what attacks recover."""
        return [column for column in self.columns if column.measure == RECOVERY]


def blocks(records: Sequence[Record], run: Path) -> list[Block]:
    """The settings of a run's records, in the order in which they first appear.

    Raises:
      InputError: the arrays of a case are missing or damaged.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(repr(setting(record)), []).append(record)
    return [block(group, records, run) for group in groups.values()]


def setting(record: Record) -> dict[str, Any]:
    """The settings that are not the measure's."""
    return {f.name: record[f.name] for f in fields(MeasureCase) if f.name not in NOT_SETTING}


def block(group: Sequence[Record], among: Sequence[Record], run: Path) -> Block:
    """One setting's map."""
    of: dict[str, list[Record]] = {}
    for record in group:
        of.setdefault(called(record, among), []).append(record)
    judged = [record["accuracy"] for record in group if record["accuracy"] is not None]
    first = group[0]
    columns = [column(name, found, run) for name, found in of.items()]
    columns.sort(key=lambda one: one.measure == RECOVERY)
    accuracy = float(np.mean(judged)) if judged else None
    return Block(title(first, among), first["names"], first["sizes"], columns, accuracy, list(group))


def column(name: str, records: Sequence[Record], run: Path) -> Column:
    """One measure over its seeds."""
    arrays = [store.read_images(run, record["case_id"]) for record in records]
    found: dict[str, dict[str, np.ndarray]] = {"layers": {}, "whole": {}}
    for key in arrays[0]:
        part, _, number = key.partition("/")
        values = [np.asarray(of[key], float) for of in arrays] if part in found else []
        if part == "layers":
            found[part][number] = np.concatenate([v.reshape(-1, v.shape[-1]) for v in values])
        elif part == "whole":
            found[part][number] = np.concatenate(values)
    statuses = dict.fromkeys(record["status"] for record in records)
    wild = [status for status in statuses if status != "ok"]
    return Column(
        name,
        records[0]["measure"],
        records[0]["main"],
        found["layers"],
        found["whole"],
        "; ".join(wild) or "ok",
        sum(record["seconds"] for record in records),
        ranking(records, arrays),
        records[0].get("note", ""),
    )


def called(record: Record, among: Sequence[Record]) -> str:
    """A measure with the arguments that tell it from its namesakes; an attack by its own name.

    >>> record = {"measure": "recovery", "measure_args": {"attack": "dlg:steps=9", "restarts": 1}}
    >>> called(record, [record])
    'dlg:steps=9'
    """
    if record["measure"] == RECOVERY:
        return record["measure_args"]["attack"]
    name, _, args = label("measure", record, among).partition(" ")
    return f"{name.replace('_', ' ')} {args}".rstrip()


def title(record: Record, among: Sequence[Record]) -> str:
    """What tells a setting from the others."""
    parts = [f"{label('model', record, among)} on {record['dataset']}"]
    parts.append(f"after {record['train_steps']} steps" if record["train_steps"] else "untrained")
    parts.append(f"batch {record['batch']}")
    for kind, plain in PLAIN.items():
        if record[kind] != plain:
            parts.append(label(kind, record, among))
        elif any(other[kind] != plain for other in among):
            parts.append(f"no {kind}" if plain == "none" else plain)
    rest = ("public", "attribute", "groups", "protocol", "loss_fn", "train_lr", "train_batch", "draw")
    rest += ("models", "records", "updates", "width", "lanes")
    parts += [f"{n}={record[n] or 'none'}" for n in rest if any(r[n] != record[n] for r in among)]
    return ", ".join(parts)
