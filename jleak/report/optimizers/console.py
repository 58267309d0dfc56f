"""The leaderboards in the terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from jleak.report.console import captioned, middle, quartiles
from jleak.report.optimizers.rows import LEAST, Block, Line

WIDE = 100
"""Columns of screen from which quartiles are shown."""

HEADINGS = ("optimizer", "rank", "wins", "own loss", "p", "to goal", "PSNR dB", "evals", "s")


def tables(found: Sequence[Block], width: int) -> list[Group]:
    """One table a leak, the best-ranked optimiser first."""
    return [table(block, width) for block in found]


def table(block: Block, width: int) -> Group:
    """The leaderboard of one leak."""
    out = Table(box=SIMPLE_HEAD)
    for heading in HEADINGS:
        out.add_column(heading, justify="left" if heading == "optimizer" else "right", no_wrap=True)
    for line in block.lines:
        out.add_row(escape(line.name), *cells(line, width))
    return captioned(block.title, out, caption(block))


def cells(line: Line, width: int) -> list[str]:
    """The numbers of a line, in the order of `HEADINGS`."""
    more = (lambda numbers, form: f" {quartiles(numbers, form)}") if width >= WIDE else (lambda *_: "")
    return [
        f"{line.rank:.2f}",
        str(line.wins),
        middle(line.loss, ".4g") + more(line.loss, ".4g"),
        significance(line.p),
        spent(line),
        middle(line.psnr, ".1f") + more(line.psnr, ".1f"),
        f"{line.evaluations:.0f}",
        f"{line.seconds:.2f}",
    ]


def spent(line: Line) -> str:
    """Its effort, or that its budget was too small."""
    return f"{line.effort:.0f}" if math.isfinite(line.effort) else f">{line.evaluations:.0f}"


def significance(p: float) -> str:
    """A p value as tables have it.

    >>> significance(0.0001), significance(0.04321), significance(float("nan"))
    ('<0.001', '0.043', '')
    """
    return "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def caption(block: Block) -> str:
    """What the numbers are."""
    told = (
        f"The same {block.victims} victims for all. Rank and wins by the attacker's own loss; median "
        "[quartiles]. p: that the losses\nequal those of the first line (signed ranks, Holm). To goal: "
        "evaluations after which half the victims have\nthe loss to which half the optimisers come. PSNR is "
        "an oracle's number: no optimiser is chosen by it."
    )
    few = f"\nFewer than {LEAST} victims: no test." if block.victims < LEAST else ""
    none = "\nNo seed was finished with every optimiser." if not block.lines else ""
    return told + few + none
