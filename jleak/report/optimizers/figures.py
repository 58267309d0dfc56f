"""The picture of a leaderboard: the attacker's loss over what it has spent."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jleak.report.figures import Picture, saved, slug
from jleak.report.optimizers.rows import Block, Line
from jleak.report.palette import COLORS

STYLES = ("-", "--", ":", "-.")


def draw(found: Sequence[Block], run: Path) -> list[Picture]:
    """A picture a leak, under `figures/`.

    Raises:
      OSError: the pictures cannot be written.
    """
    (run / "figures").mkdir(exist_ok=True)
    return [picture(block, run) for block in found if block.lines]


def picture(block: Block, run: Path) -> Picture:
    """Median loss of every optimiser over the evaluations, with the quartiles."""
    figure = Figure(figsize=(10.6, 4.2), layout="constrained")
    axis = figure.subplots()
    for i, line in enumerate(block.lines):
        curve(axis, line, COLORS[i % len(COLORS)], STYLES[i // len(COLORS) % len(STYLES)])
    axis.set_xlabel("gradient evaluations of the victim model, a victim")
    axis.set_ylabel("the attacker's lowest loss so far")
    if axis.dataLim.y0 > 0:
        axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    text = f"Median and quartiles over the same {block.victims} victims; the best-ranked one is named first."
    return saved(
        figure, run, slug("optimizers", block.title.replace(",", "")), f"Loss by effort: {block.title}", text
    )


def curve(axis: Axes, line: Line, color: str, style: str) -> None:
    """One optimiser's course."""
    losses, spent = line.course
    losses = np.where(np.isfinite(losses), losses, np.nan)
    known = np.isfinite(losses).any(axis=1)
    if not known.any():
        axis.plot([], [], color=color, linestyle=style, label=f"{line.name}: no finite loss")
        return
    low, middle, high = np.nanquantile(losses[known], (0.25, 0.5, 0.75), axis=1)
    axis.plot(spent[known], middle, color=color, linestyle=style, label=line.name, linewidth=1.6)
    axis.fill_between(spent[known], low, high, color=color, alpha=0.12, linewidth=0)
