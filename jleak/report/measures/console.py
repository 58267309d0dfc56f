"""The maps in the terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jleak.report.console import captioned
from jleak.report.measures.exposed import Exposed
from jleak.report.measures.rows import Block, Column
from jleak.report.measures.scatter import Points, points
from jleak.report.rows import Spread

FIRST = 5
"""Most exposed records of a measure that the terminal shows."""

WIDE = 140
"""Columns of screen from which quartiles are shown."""


def tables(found: Sequence[Block], width: int) -> list[Group]:
    """A map a setting with its most exposed records, then what of it predicts the attacks."""
    predicted = points(found)
    of_blocks = [
        shown
        for block in found
        for shown in (table(block, width), *([exposures(block, width)] if block.ranked else []))
    ]
    return [*of_blocks, *([predictions(predicted)] if predicted else [])]


def table(block: Block, width: int) -> Group:
    """A line a layer, a column a measure; the largest of a column is bold."""
    out = Table(box=SIMPLE_HEAD)
    out.add_column("layer", no_wrap=True)
    out.add_column("entries", justify="right", no_wrap=True)
    shown = [column for column in block.measures if column.shown is not None]
    for column in shown:
        out.add_column(headed(column), justify="right")
    for i, (name, size) in enumerate(zip(block.names, block.sizes, strict=True)):
        out.add_row(escape(name), str(size), *(cell(column, i, width) for column in shown))
    for column in block.columns:
        if column.status != "ok":
            out.add_row("", "", Text(f"{column.name}: {column.status}", style="red"))
    wholes = [f"{one.name}, {one.main['whole']}: {number(one.total, WIDE)}" for one in block.columns]
    notes = [f"{one.name}: {one.note}." for one in block.columns if one.note]
    return captioned(block.title, out, "\n".join(["Of the whole update:", *wholes, *notes, caption(block)]))


def headed(column: Column) -> str:
    """A column's heading: the measure and which of its numbers, in which unit."""
    return escape(f"{column.name}\n{told(column)}")


def told(column: Column) -> str:
    """Which of a measure's numbers is shown of the layers, in which unit."""
    layer, unit = column.main["layer"], column.main["unit"]
    return layer if unit in ("", layer) else f"{layer}, {unit}"


def cell(column: Column, layer: int, width: int) -> Text:
    """A layer's number, bold where it is the column's largest."""
    medians = [of.median for of in column.shown]
    most = max((m for m in medians if not math.isnan(m)), default=math.nan)
    style = "bold red" if medians[layer] == most and most > 0 else ""
    return Text(number(column.shown[layer], width), style=style)


def number(of: Spread, width: int = 0) -> str:
    """A median to three digits, with its quartiles where the screen is wide.

    >>> number(Spread(0.123456, 0.1, 0.2)), number(Spread(math.nan, math.nan, math.nan))
    ('0.123', '-')
    """
    if math.isnan(of.median):
        return "-"
    return f"{of.median:.3g}" + (f" [{of.low:.3g}, {of.high:.3g}]" if width >= WIDE else "")


def caption(block: Block) -> str:
    """What the numbers are."""
    first = block.records[0]
    told = f"Median [quartiles] over {first['models']} models and their batches; bold where most leaks."
    judged = "" if block.accuracy is None else f" Accuracy of the models: {100 * block.accuracy:.0f} %."
    attacked = "\nAn attack's numbers are an oracle's, against the truth." if block.attacks else ""
    return told + judged + attacked


def exposures(block: Block, width: int) -> Group:
    """The records that give most away, the first few of each measure."""
    out = Table(box=SIMPLE_HEAD)
    seeds = len({record["seed"] for record in block.records}) > 1
    out.add_column("measure")
    for heading in ("record", *(["seed"] if seeds else []), "label", "bits", "batches", "of one layer, most"):
        out.add_column(heading, justify="right", no_wrap=True)
    for column, ranking in block.ranked:
        for i, one in enumerate(ranking.top[:FIRST]):
            name = escape(column.name) if i == 0 else ""
            out.add_row(name, *exposed_cells(one, seeds=seeds, width=width))
        out.add_section()
    return captioned(f"Most exposed records: {block.title}", out, "\n".join(exposed_caption(block)))


def exposed_cells(one: Exposed, *, seeds: bool, width: int) -> list[str]:
    """What is told of a record."""
    seed = [str(one.seed)] if seeds else []
    layer = f"{escape(one.layer)} {of_number(one.of_layer)}"
    return [str(one.record), *seed, escape(one.label), number(one.bits, width), str(one.batches), layer]


def exposed_caption(block: Block) -> list[str]:
    """What the numbers of records are, and what the middle record has."""
    middles = [
        f"{column.name}: the middle one of {found.records} test records has {of_number(found.median)} bits."
        for column, found in block.ranked
    ]
    return [
        "record: its place in the data set, from 0. bits: by which the probes guess the record (for an",
        "attribute: that of its batch, whose records share them) better with the update than without, all",
        "layers together; in several test batches, their mean. Below 0 where they mislead. Median",
        "[quartiles] over models. The first of many are partly the luckiest: compare with the middle one.",
        *middles,
    ]


def of_number(value: float) -> str:
    """A number to three digits, as `number`."""
    return number(Spread(value, value, value))


def predictions(found: Sequence[Points]) -> Group:
    """A line a measure: how it ranks what an attack recovers."""
    out = Table(box=SIMPLE_HEAD)
    for heading in ("measure", "attack", "rank correlation with its MSE", "over"):
        out.add_column(heading, no_wrap=True)
    for one in found:
        out.add_row(escape(one.measure), escape(one.attack), correlated(one), counted(one))
    text = (
        "Spearman's rank correlation [95 % by bootstrap]: -1 where what leaks more by the measure is always "
        "recovered with less error."
    )
    return captioned("Does the measure predict the attack?", out, text)


def correlated(one: Points) -> str:
    """The correlation as text."""
    return "too few" if math.isnan(one.rho) else f"{one.rho:.2f} [{one.low:.2f}, {one.high:.2f}]"


def counted(one: Points) -> str:
    """Over how many of what."""
    return f"{len(one.middle) if one.over == 'settings' else len(one.x)} {one.over}"
