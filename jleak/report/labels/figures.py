"""The pictures of a run of label attacks: success by batch size, and by training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jleak.report.figures import Picture, saved, slug
from jleak.report.labels.rows import Block, Line, Rate, stages
from jleak.report.palette import COLORS

SHADES = (*COLORS, "#000000")
MARKERS = "osD^vPX"
STYLES = ("-", ":", "-.", "--")
PANELS = 3
"""Panels in a line of a picture."""

TICKS = 5
"""Most labels below an axis of training steps."""

SPREAD = 0.05
"""Distance between the marks of two attacks at one place, as a share of the distance of two places."""

WIDTH = 10.6
"""Inches, of every picture, so that they are of one scale on the page."""


def draw(found: Sequence[Block], run: Path) -> list[Picture]:
    """Every picture of a run, under `figures/`.

    Raises:
      OSError: the pictures cannot be written.
    """
    (run / "figures").mkdir(exist_ok=True)
    several = [group for group in stages(found) if len(group) > 1]
    return [
        *(by_training(group, run) for group in several),
        *(by_batch(block, run) for block in found if len(block.batches) > 1 or not several),
    ]


def by_batch(block: Block, run: Path) -> Picture:
    """Success against the batch size."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axis = figure.subplots()
    places = [float(np.log2(n)) for n in block.batches]
    for line, look in zip(block.lines, looks(block.lines), strict=True):
        curve(
            axis,
            look,
            {p: line.cells[n].rate for p, n in zip(places, block.batches, strict=True) if n in line.cells},
        )
    axis.set_xticks(places, [str(n) for n in block.batches])
    framed(axis, "images in the client's batch (log scale)")
    axis.set_ylabel("labels recovered (%)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    text = f"Mean over {block.counted} models; bars: 95 % interval of the mean. Dashed: random guessing."
    return saved(
        figure, run, slug("batch", block.title.replace(",", "")), f"By batch size: {block.title}", text
    )


def by_training(group: Sequence[Block], run: Path) -> Picture:
    """Success against the steps of training, a panel a batch size."""
    batches = sorted({n for block in group for n in block.batches})
    lines = {line.attack: line for block in group for line in block.lines}
    lines = sorted(lines.values(), key=lambda line: line.guesses)
    columns = min(len(batches), PANELS)
    rows = -(-len(batches) // columns)
    size = (WIDTH, 3.2 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis in grid.flat[len(batches) :]:
        axis.set_visible(False)
    for axis, batch in zip(grid.flat, batches, strict=False):
        for line, look in zip(lines, looks(lines), strict=True):
            curve(axis, look, at_stages(group, line.attack, batch))
        shown = thinned(len(group))
        axis.set_xticks(shown, [stage(group[i]) for i in shown])
        axis.set_title(f"batch {batch}", fontsize=10)
        framed(axis, "steps of training")
    for axis in grid[:, 0]:
        axis.set_ylabel("labels recovered (%)")
    handles = grid.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize=9)
    text = (
        f"Mean over {group[0].counted} models, the same ones at every stage; bars: 95 % interval. "
        "Dashed: random guessing. In brackets, the trained models' accuracy."
    )
    return saved(
        figure, run, slug("training", group[0].stem.replace(",", "")), f"By training: {group[0].stem}", text
    )


def stage(block: Block) -> str:
    """The steps of training, and what they achieved."""
    steps = f"{block.setting['train_steps']:,}"
    return steps if block.accuracy is None else f"{steps}\n({block.accuracy:.0f} %)"


def at_stages(group: Sequence[Block], attack: str, batch: int) -> dict[float, Rate]:
    """An attack's rates at a batch size by the number of the stage, where there are any."""
    found = {}
    for place, block in enumerate(group):
        for line in block.lines:
            if line.attack == attack and batch in line.cells:
                found[float(place)] = line.cells[batch].rate
    return found


def looks(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """How each attack is drawn: a colour and a mark a name, a line style a form; random grey and dashed."""
    names = list(dict.fromkeys(line.name for line in lines))
    found: list[dict[str, Any]] = []
    for i, line in enumerate(lines):
        at, form = names.index(line.name), sum(other.name == line.name for other in lines[:i])
        look = {
            "color": SHADES[at % len(SHADES)], "marker": MARKERS[at % len(MARKERS)], "markersize": 5,
            "linestyle": STYLES[form % len(STYLES)], "markerfacecolor": "white" if form else None,
            "shift": SPREAD * (i - (len(lines) - 2) / 2), "zorder": 3,
        }  # fmt: skip
        floor = {"color": "grey", "marker": "", "linestyle": "--", "shift": 0.0, "zorder": 1}
        found.append({"label": line.short, "linewidth": 1.4, **(floor if line.guesses else look)})
    return found


def thinned(count: int) -> list[int]:
    """The places of at most `TICKS` ticks, evenly apart, the first and the last among them.

    >>> thinned(3), thinned(21)
    ([0, 1, 2], [0, 5, 10, 15, 20])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, TICKS))})


def curve(axis: Axes, look: dict[str, Any], rates: dict[float, Rate]) -> None:
    """One attack's rates by place: marks with their intervals, a little apart from others', and a line."""
    if not rates:
        return
    gap = min(np.diff(sorted(rates)), default=1.0)
    x = [place + gap * look["shift"] for place in rates]
    y, half = ([getattr(rate, name) for rate in rates.values()] for name in ("mean", "half"))
    look = {name: value for name, value in look.items() if name != "shift"}
    axis.errorbar(x, y, yerr=np.nan_to_num(half), elinewidth=1, capsize=2, **look)


def framed(axis: Axes, xlabel: str) -> None:
    """The frame common to all: percent, from nothing to everything."""
    axis.set_ylim(0, 104)
    axis.set_xlabel(xlabel)
    axis.grid(axis="y", color="#e3e3e3", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
