"""The table in the terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jleak.audit.results import MEANING
from jleak.report import mixing
from jleak.report.rows import Row, Spread, by_model, counted

WIDE = 160
"""Columns of screen from which everything is shown."""

PSNR_QUARTILES = 120
"""Columns of screen from which quartiles of the PSNR are shown."""

STYLES = {
    "proven recovered": "bold red",
    "recovered": "bold red",
    "partly": "yellow",
    "not recovered": "green",
}


def tables(found: Sequence[Row], width: int) -> list[Group]:
    """One table a data set and model: a line for each defense and attack, coloured by what leaked.

    Args:
      found: the rows.
      width: columns of the screen; quartiles that do not fit are left out.
    """
    return [*(table(title, group, width) for title, group in by_model(found)), *mixing_table(found)]


def table(title: str, group: Sequence[Row], width: int) -> Group:
    """The table of one model."""
    first = group[0]
    knowing = {row.knows for row in group}
    caption = (
        f"Median [quartiles] of {counted(group)} victims; best constant image: {first.constant:.1f} dB.\n"
        "SNR: of the update, after the defense. Evals: gradients of the victim model, a victim."
        + (f"\nThe attacker knows {first.knows} of the defense." if len(knowing) == 1 else "")
    )
    caption += "".join(f"\n{name}: {text}." for name, text in meanings(group).items())
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
        if row.vouched:
            out.add_row("", Text(certified(row), style="dim"))
        if (ran := running(row)) != "ok":
            out.add_row("", Text(ran, style="red"))
        before = row.defense
    return captioned(title, out, caption)


def certified(row: Row) -> str:
    """What the attack vouches for, image by image, counted.

    >>> certified(type("", (), {"vouched": {"class mean": 3, "proven": 1}}))
    '3 class mean, 1 proven'
    """
    return ", ".join(f"{count} {name}" for name, count in row.vouched.items())


def running(row: Row) -> str:
    """The row's statuses without what its certificates say."""
    told = [part for part in row.status.split("; ") if not part.startswith("not proven") and part != "ok"]
    return "; ".join(dict.fromkeys(told)) or "ok"


def meanings(rows: Sequence[Row]) -> dict[str, str]:
    """What the statuses that occur in these rows mean."""
    occur = {name for row in rows for name in row.vouched}
    return {status.title: text for status, text in MEANING.items() if status.title in occur}


def mixing_table(found: Sequence[Row]) -> list[Group]:
    """Direct recovery by loss, draw and batch size; none where no attack is direct."""
    lines = mixing.lines(found)
    if not lines:
        return []
    out = Table(box=SIMPLE_HEAD)
    for heading in (
        "model",
        "loss",
        "labels",
        "B",
        "mu",
        "condition",
        "rank",
        "attack",
        "RMSE",
        "AVD",
        "proven",
    ):
        numeric = heading not in ("model", "loss", "labels", "attack")
        out.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for line in lines:
        row, setting = line.row, line.row.setting
        out.add_row(
            escape(row.model), setting["loss_fn"], setting["draw"], str(setting["batch"]),
            middle(line.mu, ".2g"), middle(line.condition, ".3g"), middle(line.rank, ".3g"),
            escape(row.attack), middle(line.rmse, ".1e"), middle(line.avd, ".1e"), mixing.proven(row),
        )  # fmt: skip
    caption = (
        "Medians over victims, no defense. mu, condition, rank: of the classifier's gradient, which the "
        "client knows before it shares.\nA dash: infinite."
    )
    return [captioned("What mixing buys", out, caption)]


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
