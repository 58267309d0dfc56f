"""The tables in the terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jleak.report.labels.rows import SUSPICIOUS, Block, Cell, Line, Rate

WIDE = 120
"""Columns of screen from which attacks are named with all their arguments."""

FORMS = (".1f", ".0f")
"""How rates are written: the first that fits the screen."""

MARGIN = 3
"""Columns that a table needs beside what its columns hold, and one column beside its text."""


def tables(found: Sequence[Block], width: int) -> list[Table]:
    """A table a setting, an attack a line, a batch size a column; in pieces where the screen is narrow."""
    return [table for block in found for table in pieces(block, width)]


def pieces(block: Block, width: int) -> list[Table]:
    """The table of one setting: the batch sizes in one piece if they fit, else in several."""
    named = max(len(name(line, width)) for line in block.lines)
    for form in FORMS:
        column = max(len(written(cell.rate, form)) for line in block.lines for cell in line.cells.values())
        fit = (width - named - MARGIN) // (column + 2)
        if fit >= len(block.batches):
            return [table(block, block.batches, form, width, last=True)]
    cuts = range(0, len(block.batches), max(fit, 1))
    parts = [block.batches[cut : cut + max(fit, 1)] for cut in cuts]
    return [table(block, part, form, width, last=part is parts[-1]) for part in parts]


def name(line: Line, width: int) -> str:
    """The attack, as long as the screen allows."""
    return line.attack if width >= WIDE else line.short


def table(block: Block, batches: Sequence[int], form: str, width: int, *, last: bool) -> Table:
    """A table of these batch sizes; the caption stands below the last one."""
    out = Table(
        title=escape(block.title),
        caption=escape(caption(block)) if last else None,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    out.add_column("batch", no_wrap=True)
    for batch in batches:
        out.add_column(str(batch), justify="right", no_wrap=True)
    for line in block.lines:
        style = "dim" if line.guesses else ""
        if line.guesses and len(block.lines) > 1:
            out.add_section()
        cells = [shown(block, line, batch, form) for batch in batches]
        out.add_row(escape(name(line, width)), *cells, style=style)
    return out


def shown(block: Block, line: Line, batch: int, form: str) -> Text:
    """A cell: red where more leaked than guessing finds, bold where no attack found more."""
    cell = line.cells.get(batch)
    if cell is None:
        return Text("")
    if line.guesses:
        return Text(written(cell.rate, form))
    style = "red" if leaks(cell, block.guessing.get(batch)) else "green"
    return Text(written(cell.rate, form), style=f"bold {style}" if line in block.best[batch] else style)


def leaks(cell: Cell, guessing: Cell | None) -> bool:
    """Whether the rate is above that of guessing, the intervals of both taken into account."""
    if guessing is None:
        return True
    halves = [0.0 if math.isnan(c.rate.half) else c.rate.half for c in (cell, guessing)]
    return cell.rate.mean - guessing.rate.mean > math.hypot(*halves)


def written(rate: Rate, form: str = ".1f") -> str:
    """A rate with its half width.

    >>> written(Rate(79.123, 2.2)), written(Rate(100.0, math.nan)), written(Rate(math.nan, math.nan))
    ('79.1 ±2.2', '100.0', '-')
    """
    if math.isnan(rate.mean):
        return "-"
    return f"{rate.mean:{form}}" + ("" if math.isnan(rate.half) else f" ±{rate.half:{form}}")


def caption(block: Block) -> str:
    """What the numbers are."""
    victims = block.setting["victims"]
    told = (
        "overlap of the classes' shares" if block.setting["assumed_batch"] else "true ones among the labels"
    )
    lines = [
        f"In %, the {told} predicted: mean over {block.counted} models"
        + (f" of {victims} victims" if victims > 1 else "")
        + " ± half its 95 % interval.",
        f"Red: more than random guessing. Imbalance of the updates, median: {imbalance(block)}.",
    ]
    if block.accuracy is not None:
        lines.append(f"Accuracy of the trained models on private images: {block.accuracy:.1f} %.")
    return "\n".join(lines + block.faults)


def imbalance(block: Block) -> str:
    """The median imbalance, and what a high one says."""
    value = block.imbalance
    text = "0" if value < 1e-3 else f"{value:.2g}"
    return text + (": noise, pruning or another loss" if value > SUSPICIOUS else "")
