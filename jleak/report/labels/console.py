"""The tables in the terminal."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jleak.report.console import captioned
from jleak.report.labels.rows import SUSPICIOUS, Block, Cell, Line, Rate, Sizes

WIDE = 120
"""Columns of screen from which attacks are named with all their arguments."""

MARGIN = 3
"""Columns that a table needs beside what its columns hold, and one column beside its text."""


HEADING = "attack, at batch"
"""Above the attacks, beside the batch sizes."""


class Sheet(NamedTuple):
    """What a table shows of every cell.

    Attributes:
      title: what it is about.
      caption: what its numbers are.
      lines: the attacks that are in it.
      forms: how a cell is written; the first form that fits the screen is taken.
      style: how a cell is set off.
    """

    title: str
    caption: str
    lines: list[Line]
    forms: tuple[Callable[[Cell], str], ...]
    style: Callable[[Line, int], str]


def tables(found: Sequence[Block], width: int) -> list[Group]:
    """A table a setting, an attack a line, a batch size a column; in pieces where the screen is narrow."""
    return [table for block in found for sheet in sheets(block) for table in pieces(block, sheet, width)]


def sheets(block: Block) -> list[Sheet]:
    """The rates of a setting and, where attackers estimated the batch size, how often they were right."""

    def style(line: Line, batch: int) -> str:
        color = "red" if leaks(line.cells[batch], block.guessing.get(batch)) else "green"
        return "" if line.guesses else f"bold {color}" if line in block.best[batch] else color

    forms = tuple(lambda cell, form=form: written(cell.rate, form) for form in (".1f", ".0f"))
    found = [Sheet(block.title, caption(block), block.lines, forms, style)]
    if block.sized:
        forms = (lambda cell: f"{cell.sizes.right} ({cell.sizes.none})",)
        note = (
            f"Of {block.updates} updates each; in brackets, of how many the classes' shares told no size. "
            "The rest: a wrong one."
        )
        title = f"{block.title}: batch size estimated right"
        found.append(Sheet(title, note, block.sized, forms, lambda line, batch: ""))
    return found


def pieces(block: Block, sheet: Sheet, width: int) -> list[Group]:
    """The table of one setting: the batch sizes in one piece if they fit, else in several."""
    named = max(len(HEADING), *(len(name(line, width)) for line in sheet.lines))
    for form in sheet.forms:
        column = max(len(form(cell)) for line in sheet.lines for cell in line.cells.values())
        fit = (width - named - MARGIN) // (column + 2)
        if fit >= len(block.batches):
            return [table(sheet, block.batches, form, width, last=True)]
    cuts = range(0, len(block.batches), max(fit, 1))
    parts = [block.batches[cut : cut + max(fit, 1)] for cut in cuts]
    return [table(sheet, part, form, width, last=part is parts[-1]) for part in parts]


def name(line: Line, width: int) -> str:
    """The attack, as long as the screen allows."""
    return line.attack if width >= WIDE else line.short


def table(
    sheet: Sheet, batches: Sequence[int], form: Callable[[Cell], str], width: int, *, last: bool
) -> Group:
    """A table of these batch sizes; the caption stands below the last one.

    Guessing is dim. Rates are red where more leaked than guessing finds, bold where no attack found more.
    """
    out = Table(box=SIMPLE_HEAD)
    out.add_column(HEADING, no_wrap=True)
    for batch in batches:
        out.add_column(str(batch), justify="right", no_wrap=True)
    for line in sheet.lines:
        if line.guesses and len(sheet.lines) > 1:
            out.add_section()
        cells = [
            Text(form(line.cells[n]), style=sheet.style(line, n)) if n in line.cells else Text("")
            for n in batches
        ]
        out.add_row(escape(name(line, width)), *cells, style="dim" if line.guesses else "")
    return captioned(sheet.title, out, sheet.caption if last else "")


def estimated(sizes: Sizes) -> str:
    """How often the batch size was estimated right, and of the others, how.

    >>> estimated(Sizes(93, 5, 100)), estimated(Sizes(20, 0, 20))
    ('93 of 100 (5 none, 2 wrong)', '20 of 20')
    """
    others = {"none": sizes.none, "wrong": sizes.of - sizes.right - sizes.none}
    told = ", ".join(f"{number} {how}" for how, number in others.items() if number)
    return f"{sizes.right} of {sizes.of}" + (f" ({told})" if told else "")


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
    known = block.setting["assumed_batch"] == "known"
    told = "true ones among the labels" if known else "overlap of the classes' shares"
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
