"""The pictures of measures: where it leaks, and whether that predicts an attack."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jleak.report.figures import Picture, saved, slug
from jleak.report.measures.console import correlated, number, told
from jleak.report.measures.rows import Block, Column
from jleak.report.measures.scatter import Points, points
from jleak.report.palette import COLORS
from jleak.report.tiles import COLUMNS, Line, tiled

SHOWN = 24
"""Layers up to which a map has their numbers in it."""

MARKERS = "osD^vP*X"


def draw(found: Sequence[Block], run: Path) -> list[Picture]:
    """Every picture of a run, under `figures/`.

    Raises:
      OSError: the pictures cannot be written.
    """
    (run / "figures").mkdir(exist_ok=True)
    maps = [layer_map(block, run) for block in found if shown(block)]
    return [*maps, *(exposed(block, run) for block in found if block.ranked), *scatters(found, run)]


def shown(block: Block) -> list[Column]:
    """The measures of layers."""
    return [column for column in block.measures if column.shown is not None]


def layer_map(block: Block, run: Path) -> Picture:
    """Layers down, measures across: each column from nothing to its own largest number."""
    columns = shown(block)
    values = np.array([[of.median for of in column.shown] for column in columns]).T
    most = np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=0)
    shares = np.clip(values / np.where(most > 0, most, np.inf), 0, 1)
    figure = Figure(figsize=(2.6 + 1.55 * len(columns), 1.7 + 0.34 * len(block.names)), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, aspect="auto", cmap="YlOrRd", vmin=0, vmax=1)
    axis.set_xticks(range(len(columns)), [heading(column) for column in columns], fontsize=8)
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(block.names)), block.names, fontsize=8)
    axis.tick_params(length=0)
    axis.set_ylabel("from the image to the classifier", fontsize=8)
    axis.yaxis.set_label_position("right")
    if len(block.names) <= SHOWN:
        annotate(axis, columns, shares)
    bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.6, aspect=40, pad=0.02)
    bar.set_label("share of the column's largest", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    text = (
        "Medians over models and batches. Columns have different units and are coloured each for itself: "
        "compare layers, not columns."
    )
    return saved(
        figure, run, slug("map", block.title.replace(",", "")), f"Where it leaks: {block.title}", text
    )


def exposed(block: Block, run: Path) -> Picture:
    """The records that give most away, a line a measure."""
    lines = [
        Line(
            column.name,
            [one.image for one in ranking.top[:COLUMNS]],
            [f"{one.record}\n{number(one.bits)} bits" for one in ranking.top[:COLUMNS]],
        )
        for column, ranking in block.ranked
    ]
    text = (
        "The test records that all layers together expose most, most exposed first; below each its place in "
        "the data set and its pointwise usable information, the median over models."
    )
    name = slug("exposed", block.title.replace(",", ""))
    return saved(tiled(lines), run, name, f"Most exposed records: {block.title}", text)


def annotate(axis: Axes, columns: Sequence[Column], shares: np.ndarray) -> None:
    """The numbers in their fields."""
    for j, column in enumerate(columns):
        for i, of in enumerate(column.shown):
            color = "white" if shares[i, j] > 0.7 else "#222222"
            axis.text(j, i, number(of), ha="center", va="center", fontsize=7.5, color=color)


def heading(column: Column) -> str:
    """A measure in a few short lines."""
    words = column.name.split(" ")
    return "\n".join([*words, told(column)])


def scatters(found: Sequence[Block], run: Path) -> list[Picture]:
    """A picture an attack: its error over every measure."""
    of = points(found)
    attacks = [one.attack for one in of if np.isfinite(one.rho)]
    made = []
    for attack in dict.fromkeys(attacks):
        panels = [one for one in of if one.attack == attack and np.isfinite(one.rho)]
        text = (
            "Small marks are batches (or models, for measures that learn from many updates), large ones the "
            "medians of settings; colours are settings. A measure that predicts the attack falls from left "
            "to right: the more leaks by it, the smaller the error. Rank correlation with its 95 % interval "
            "above each. The errors are an oracle's."
        )
        figure = scatter(panels, [block.title for block in found])
        title = f"Does the measure predict the attack? {attack}"
        made.append(saved(figure, run, slug("predicts", attack.replace(":", " ")), title, text))
    return made


def scatter(panels: Sequence[Points], titles: Sequence[str]) -> Figure:
    """One panel a measure."""
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(1.2 + 3.4 * across, 0.9 + 3.0 * down + 0.16 * len(titles)), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, one in zip(axes, panels, strict=False):
        panel(axis, one)
    for i, title in enumerate(titles):
        axes[0].scatter([], [], color=color(i), marker=marker(i), label=title, s=30)
    axes[0].set_ylabel("attack's MSE")
    figure.legend(loc="outside lower left", ncols=1 if len(titles) < 8 else 2, frameon=False, fontsize=7.5)
    return figure


def panel(axis: Axes, one: Points) -> None:
    """One measure beside one attack."""
    for place, i in enumerate(np.unique(one.block)):
        here = one.block == i
        style = {"color": color(i), "marker": marker(i)}
        axis.scatter(one.x[here], one.y[here], s=9, alpha=0.35, linewidths=0, **style)
        axis.scatter(*one.middle[place], s=52, edgecolors="black", linewidths=0.7, zorder=3, **style)
    for side, scale, values in ((axis.xaxis, axis.set_xscale, one.x), (axis.yaxis, axis.set_yscale, one.y)):
        if values.size and values.min() > 0 and values.max() / values.min() > 20:
            scale("log")
            side.set_minor_formatter(NullFormatter())
    axis.set_xlabel(one.measure + (f" ({one.unit})" if one.unit else ""), fontsize=8)
    axis.set_title(f"{correlated(one)}, {one.over}", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def color(i: int) -> str:
    """A setting's colour."""
    return COLORS[i % len(COLORS)]


def marker(i: int) -> str:
    """A setting's mark."""
    return MARKERS[i // len(COLORS) % len(MARKERS)]
