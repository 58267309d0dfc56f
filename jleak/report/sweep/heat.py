"""Every attack against every defense: maps of what leaked."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from jleak.report.figures import TOP
from jleak.report.palette import COLORS
from jleak.report.rows import RECOVERED
from jleak.report.sweep.answers import Answer, answers, digits, named, rounded
from jleak.report.sweep.columns import Column, of_part
from jleak.report.sweep.curves import groups

MAP = LinearSegmentedColormap.from_list("leaks", [COLORS[0], "#9ecae1", "#f7f7f7", "#f4b183", COLORS[1]])
"""From safe to leaked, in colours that colour-blind readers tell apart."""

MOST = 40
"""Columns or lines of a map; with more, strengths or an attack's arguments are put together."""

LETTER = 0.62
"""Width of a letter, as a share of its height."""

WIDTH = 10.6
"""Inches of a picture, at most."""


class Sheet(NamedTuple):
    """Answers in lines and columns.

    Attributes:
      lines: attacks, and what they know.
      columns: (defense, its strength).
      cells: of these places, the answers.
    """

    lines: list[str]
    columns: list[tuple[str, str]]
    cells: dict[tuple[int, int], Answer]


def sheet(table: pa.Table, there: Mapping[str, Column], by: Sequence[str]) -> Sheet:
    """The answers by attack and defense; an attack without a defense, of which nothing is known, is in all
    of its lines.
    """
    names = groups(there, by)
    found = answers(table, there, names)
    for part in ("defense", "attack"):
        if len({tuple(a.key[n] for n in [part, *of_part(part, names)]) for a in found}) > MOST:
            names = [name for name in names if name not in of_part(part, names)]
            found = answers(table, there, names)
    size, several = digits(there), len(there["knows"].values) > 1
    attacks = list(dict.fromkeys(named(a, "attack", size) for a in found))
    knowing = list(dict.fromkeys(k for k in there["knows"].values))
    columns = list(dict.fromkeys(column(a, size) for a in found))
    lines = [(attack, knows) for attack in attacks for knows in knowing]
    cells = {}
    for answer in found:
        for i, (attack, knows) in enumerate(lines):
            open_ = answer.key["defense"] == "none" or answer.key["knows"] == knows
            if attack == named(answer, "attack", size) and open_:
                cells[i, columns.index(column(answer, size))] = answer
    shown = [i for i in range(len(lines)) if any(place == i for place, _ in cells)]
    texts = [f"{attack}, knows {knows}" if several else attack for attack, knows in lines]
    return Sheet([texts[i] for i in shown], columns, {(shown.index(i), j): a for (i, j), a in cells.items()})


def column(answer: Answer, size: Mapping[str, int]) -> tuple[str, str]:
    """A defense with the names of its strengths, and their values."""
    args = {name: answer.key[name] for name in of_part("defense", answer.key)}
    told = {name.partition(".")[2]: (name, value) for name, value in args.items() if value is not None}
    values = "\n".join(rounded(value, size.get(name)) for name, value in told.values())
    return "\n".join([answer.key["defense"], *told]), values


def picture(table: pa.Table, there: Mapping[str, Column], by: Sequence[str]) -> Figure:
    """Two maps of the same answers: the median PSNR, and the share of victims recovered."""
    made = sheet(table, there, by)
    floor = np.nanmedian([a.constant for a in made.cells.values()] or [0.0])
    low = min(float(floor) if np.isfinite(floor) else 0.0, RECOVERED - 1)
    left = 0.4 + 0.078 * max(map(len, made.lines))
    cell = min(0.85, (WIDTH - left - 1.3) / len(made.columns))
    size = (max(left + cell * len(made.columns) + 1.3, 6.0), 2 * (0.36 * len(made.lines) + 0.45) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    over, under = figure.subplots(2, 1, sharex=True)
    decibels = filled(made, lambda a: min(a.psnr.median, TOP))
    shares = filled(made, lambda a: 100 * a.recovered.median)
    font = 9 if cell > 0.5 else 7
    drawn(over, decibels, TwoSlopeNorm(RECOVERED, low, TOP), "median PSNR (dB)", made, font)
    drawn(under, shares, Normalize(0, 100), "victims recovered (%)", made, font)
    over.tick_params(bottom=False)
    labelled(under, made.columns, font, cell)
    return figure


def filled(made: Sheet, value: Callable[[Answer], float]) -> Float[np.ndarray, "lines columns"]:
    """A number of each cell; NaN where there is no answer, or it has none."""
    found = np.full((len(made.lines), len(made.columns)), np.nan)
    for place, answer in made.cells.items():
        found[place] = value(answer)
    return found


def drawn(
    axis: Axes,
    numbers: Float[np.ndarray, "lines columns"],
    norm: Normalize,
    title: str,
    made: Sheet,
    font: int,
) -> None:
    """One map, each number written into its cell."""
    image = axis.imshow(np.ma.masked_invalid(numbers), cmap=MAP, norm=norm, aspect="auto")
    for (i, j), number in np.ndenumerate(numbers):
        if np.isfinite(number):
            top = f"{TOP:.0f}+" if number >= TOP and "dB" in title else f"{number:.0f}"
            dark = abs(float(norm(number)) - 0.5) > 0.42
            axis.text(
                j, i, top, ha="center", va="center", fontsize=font, color="white" if dark else "#1b1b1b"
            )
        elif (i, j) in made.cells:
            axis.text(j, i, "not\nfinite", ha="center", va="center", fontsize=font - 2, color="#777777")
    axis.set_yticks(range(len(made.lines)), made.lines, fontsize=9)
    axis.set_xticks(np.arange(len(made.columns) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(made.lines) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=10, fontweight="bold", loc="left")
    bar = axis.figure.colorbar(image, ax=axis, pad=0.01, aspect=12)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    firsts = [j for j in range(1, len(made.columns)) if made.columns[j][0] != made.columns[j - 1][0]]
    for j in firsts:
        axis.axvline(j - 0.5, color="white", linewidth=5)


def labelled(axis: Axes, columns: Sequence[tuple[str, str]], font: int, cell: float) -> None:
    """The strengths below the map, upright if they are wider than a cell, and below these their defenses."""
    texts = [values for _, values in columns]
    longest = max(len(line) for text in texts for line in text.split("\n")) * LETTER * font
    upright = longest > 72 * cell - font
    axis.set_xticks(range(len(columns)), texts, fontsize=font, rotation=90 if upright else 0)
    most = max(text.count("\n") + bool(text) for text in texts)
    below = (longest + 4 if longest else 0) if upright else 1.4 * font * most
    starts = [j for j, (name, _) in enumerate(columns) if j == 0 or columns[j - 1][0] != name]
    for start, end in zip(starts, [*starts[1:], len(columns)], strict=True):
        narrow = (end - start) * cell < 0.07 * max(map(len, columns[start][0].split("\n"))) + 0.05
        axis.annotate(
            columns[start][0], ((start + end - 1) / 2, 0), xycoords=("data", "axes fraction"),
            xytext=(0, -7 - below), textcoords="offset points", ha="center", va="top",
            fontsize=7 if narrow else 9, rotation=90 if narrow and end - start == 1 else 0,
        )  # fmt: skip
