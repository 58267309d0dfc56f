"""The report page of a sweep."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jleak.report.figures import Picture
from jleak.report.page import rendered
from jleak.report.rows import MARGIN, RECOVERED, leakiest
from jleak.report.sweep.answers import Answer, digits, headings, named
from jleak.report.sweep.choosing import written
from jleak.report.sweep.columns import Column
from jleak.report.sweep.console import MEASURES, notes, percent, title, verdict

QUIET = ("weights", "halving", "stop", "lanes", "precision", "known_labels", "restarts", "seed")
"""Settings that are not told where they are as they are by default."""


def html(
    table: pa.Table,
    there: Mapping[str, Column],
    by: Sequence[str],
    found: Sequence[Answer],
    pictures: Sequence[Picture],
    made: dict[str, Any],
    where: Sequence[str] = (),
    whole: int | None = None,
) -> str:
    """The page.

    Args:
      table, there: the records that are asked about, and their settings.
      by: what the answers are told apart by.
      found: the answers.
      pictures: of them.
      made: the sweep's `sweep.json`.
      where: the conditions that chose the records.
      whole: how many records the store holds; None for those of the table.
    """
    measures = [measure for measure in MEASURES if measure.told(found)]
    size = digits(there)
    return rendered(
        "sweep.html",
        pictures,
        made,
        title=title(found, by),
        cases=len(table),
        unfinished=(len(table) if whole is None else whole) < made["cases"],
        where=list(where),
        names=headings(by),
        fixed=fixed(there),
        answers=found,
        short=worst(found, headings(by)),
        measures=measures,
        notes=notes(found, measures, size),
        named=functools.partial(told, size),
        percent=percent,
        verdict=verdict,
        recovered=RECOVERED,
        margin=MARGIN,
        **origin(table),
    )


def told(size: Mapping[str, int], answer: Answer, heading: str) -> str:
    """What an answer has under a heading."""
    return named(answer, heading, size)


def worst(found: Sequence[Answer], names: Sequence[str]) -> list[Answer]:
    """Of each value of the first heading the answer that leaks most; none where each has one answer alone."""
    groups: dict[str, list[Answer]] = {}
    for answer in found if len(names) > 1 else []:
        groups.setdefault(named(answer, names[0]), []).append(answer)
    return [leakiest(group) for group in groups.values()]


def fixed(there: Mapping[str, Column]) -> list[tuple[str, str]]:
    """The settings that are the same in all records, arguments and what is by default as always apart."""
    return [
        (name, written(column.values[0]))
        for name, column in there.items()
        if len(column.values) == 1 and "." not in name and name not in QUIET
    ]


def origin(table: pa.Table) -> dict[str, Any]:
    """Where the records come from: devices, hosts, revisions, and of each package its versions."""
    unique = {
        name: sorted(value for value in pc.unique(table.column(name)).to_pylist() if value)
        for name in ("device", "host", "revision", "versions")
    }
    versions: dict[str, list[str]] = {"jleak": []}
    for text in unique["versions"]:
        for name, version in json.loads(text).items():
            versions[name] = sorted({*versions.get(name, []), version})
    return {
        "devices": unique["device"],
        "hosts": len(unique["host"]),
        "revisions": unique["revision"],
        "versions": versions,
    }
