"""The table in the terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jleak.report.rows import Row, Spread, by_model, counted

WIDE = 160
"""Columns of screen from which everything is shown."""

PSNR_QUARTILES = 120
"""Columns of screen from which quartiles of the PSNR are shown."""

STYLES = {"recovered": "bold red", "partly": "yellow", "not recovered": "green"}


def tables(found: Sequence[Row], width: int) -> list[Group]:
    """One table a data set and model: a line for each defense and attack, coloured by what leaked.

    Args:
      found: the rows.
      width: columns of the screen; quartiles that do not fit are left out.
    """
    return [table(title, group, width) for title, group in by_model(found)]


def table(title: str, group: Sequence[Row], width: int) -> Group:
    """The table of one model."""
    first = group[0]
    knowing = {row.knows for row in group}
    caption = (
        f"Median [quartiles] of {counted(group)} victims; best constant image: {first.constant:.1f} dB.\n"
        "SNR: of the update, after the defense. Evals: gradients of the victim model, a victim."
        + (f"\nThe attacker knows {first.knows} of the defense." if len(knowing) == 1 else "")
    )
    out = Table(box=SIMPLE_HEAD)
    for heading in ("defense", "attack", "knows")[: 2 + (len(knowing) > 1)]:
        out.add_column(heading, no_wrap=True)
    for heading in cells(first, width):
        out.add_column(heading, justify="right", no_wrap=True)
    before = None
    for row in group:
        if before not in (None, row.defense):
            out.add_section()
        names = [row.defense if row.defense != before else "", row.attack, row.knows][
            : 2 + (len(knowing) > 1)
        ]
        out.add_row(*map(escape, names), *cells(row, width).values())
        if row.status != "ok":
            out.add_row("", Text(row.status, style="red"))
        before = row.defense
    return captioned(title, out, caption)


def captioned(title: str, table: Table, caption: str) -> Group:
    """A table below its title and above its caption, both as wide as the screen, and a blank line."""
    parts = [Text(title, style="bold"), table, *([Text(caption, style="dim")] if caption else []), Text("")]
    return Group(*parts)


def cells(row: Row, width: int) -> dict[str, Text]:
    """The numbers of a row by heading, as many as fit `width` columns of screen."""

    def both(numbers: Spread, form: str, least: int) -> str:
        return middle(numbers, form) + (f" {quartiles(numbers, form)}" if width >= least else "")

    found = {
        "labels": f"{100 * row.labels.median:.0f} %",
        "PSNR dB": Text(both(row.psnr, ".1f", PSNR_QUARTILES), style=STYLES[row.verdict]),
        "SSIM": both(row.ssim, ".2f", WIDE),
        "MSE": both(row.mse, ".0e", WIDE),
        "own loss": middle(row.loss, ".1e"),
        "SNR dB": middle(row.snr, ".1f"),
        "evals": f"{row.evaluations:.0f}",
        "s": f"{row.seconds:.2f}",
    }
    if width < PSNR_QUARTILES:
        del found["own loss"], found["s"]
    return {heading: Text(cell) if isinstance(cell, str) else cell for heading, cell in found.items()}


def middle(numbers: Spread, form: str) -> str:
    """The median, or a dash where nothing was finite."""
    return "-" if math.isnan(numbers.median) else f"{numbers.median:{form}}"


def quartiles(numbers: Spread, form: str) -> str:
    """The quartiles in brackets."""
    return "" if math.isnan(numbers.low) else f"[{numbers.low:{form}}, {numbers.high:{form}}]"
