"""What mixing buys: direct recovery by loss, draw of labels and batch size, as a table and a picture."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jleak.report.palette import COLORS
from jleak.report.rows import Row, Spread, values

MARKERS = "osD^vP"

LEAST = 1e-8
"""Pixel errors and mixing coefficients are drawn no lower than this, and than `APART`."""

APART = 1e-3


class Line(NamedTuple):
    """One attack without a defense: how its victims' images were mixed, and what it made of them.

    Attributes:
      row: the row.
      mu, condition, rank, rmse, avd: over victims (`jleak.leakage.mixing`); rmse of pixels in [0, 1].
    """

    row: Row
    mu: Spread
    condition: Spread
    rank: Spread
    rmse: Spread
    avd: Spread


def lines(rows: Sequence[Row]) -> list[Line]:
    """The undefended rows of the settings by which a client could mix, best hidden last.

    None where no attack vouches for what it found, so none is of the direct kind, or records are older than
    these scores.
    """
    plain = [row for row in rows if row.setting["defense"] == "none" and row.mixing]
    if not any(row.vouched for row in plain):
        return []
    found = [
        Line(row, *(row.mixing[name] for name in ("mu", "condition", "rank")), rmse(row), row.avd)
        for row in plain
    ]
    return sorted(found, key=lambda line: (line.row.setting["batch"], line.mu.median))


def rmse(row: Row) -> Spread:
    """Root of the victims' mean square errors."""
    return Spread(*(math.sqrt(number) for number in row.mse))


def proven(row: Row) -> str:
    """How many images are proven to be recovered, of how many; a dash where nothing vouches.

    >>> proven(type("", (), {"vouched": {"proven": 3, "class mean": 1}}))
    '3 of 4'
    """
    return f"{row.vouched.get('proven', 0)} of {sum(row.vouched.values())}" if row.vouched else "-"


def picture(found: Sequence[Line]) -> Figure:
    """Pixel error over mixing coefficient, an attack a panel: filled where every image is proven."""
    attacks = list(dict.fromkeys(line.row.attack for line in found))
    losses = list(dict.fromkeys(line.row.setting["loss_fn"] for line in found))
    draws = list(dict.fromkeys(line.row.setting["draw"] for line in found))
    figure = Figure(figsize=(2.2 + 3.6 * len(attacks), 4.4), layout="constrained")
    axes = figure.subplots(1, len(attacks), sharey=True, squeeze=False)[0]
    for axis, attack in zip(axes, attacks, strict=True):
        labelled: list[tuple[str, float, float]] = []
        for line in (one for one in found if one.row.attack == attack):
            color = COLORS[losses.index(line.row.setting["loss_fn"]) % len(COLORS)]
            marker = MARKERS[draws.index(line.row.setting["draw"]) % len(MARKERS)]
            place = points(axis, line, color, marker)
            label(axis, f"B={line.row.setting['batch']}", place, labelled)
        axis.set(xscale="log", yscale="log", title=attack, xlabel="mixing coefficient mu")
        axis.set_ylim(LEAST / 2, 1.0)
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(*reach(found))
        axis.axhspan(LEAST / 2, 1e-3, color="#f8d7da", alpha=0.5, zorder=0, linewidth=0)
        axis.text(0.02, 0.02, "exact to the eye", transform=axis.transAxes, fontsize=8, color="#7d1320")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("error of the images (RMSE of pixels)")
    legend(figure, axes[0], losses, draws)
    return figure


def reach(found: Sequence[Line]) -> tuple[float, float]:
    """Whole powers of ten around all mixing coefficients."""
    every = [v for one in found for r in one.row.records for v in r["mixing"]["mu"] if v is not None]
    every = np.maximum(every, APART)
    if not every.size:
        return APART, 10.0
    return 10 ** np.floor(np.log10(every.min())), 10 ** np.ceil(np.log10(1.01 * every.max()))


def points(axis, line: Line, color: str, marker: str) -> tuple[float, float]:
    """A victim a small mark; the median a large one, filled where all is proven; where that lies."""
    row = line.row
    x = np.maximum([v for r in row.records for v in numbers(r["mixing"]["mu"])], APART)
    y = np.clip(np.sqrt(values(row.records, "mse")), LEAST, None)
    axis.scatter(x, y, s=10, alpha=0.4, color=color, marker=marker, linewidths=0)
    whole = set(row.vouched) == {"proven"}
    middle = (max(line.mu.median, APART), max(line.rmse.median, LEAST))
    axis.scatter(
        *([v] for v in middle), s=64, marker=marker, linewidths=1.4,
        facecolors=color if whole else "none", edgecolors=color,
    )  # fmt: skip
    return middle


def label(axis, text: str, place: tuple[float, float], labelled: list[tuple[str, float, float]]) -> None:
    """A mark's label, if the same one does not stand there already; `labelled` takes it down."""
    here = (text, *np.log10(place))
    near = [one for one in labelled if one[0] == text and np.hypot(one[1] - here[1], one[2] - here[2]) < 0.3]
    if not near and np.isfinite(here[1:]).all():
        axis.annotate(text, place, xytext=(6, 4), textcoords="offset points", fontsize=7, color="#444444")
        labelled.append(here)


def numbers(found: Sequence[float | None]) -> list[float]:
    """The numbers of a record; null as NaN."""
    return [math.nan if value is None else value for value in found]


def legend(figure: Figure, axis, losses: Sequence[str], draws: Sequence[str]) -> None:
    """Colours are losses, marks are draws of labels."""
    marks = [
        axis.scatter([], [], color=COLORS[i % len(COLORS)], s=40, label=name) for i, name in enumerate(losses)
    ]
    for i, name in enumerate(draws):
        style = {"marker": MARKERS[i % len(MARKERS)], "facecolors": "none", "edgecolors": "black"}
        marks.append(axis.scatter([], [], s=40, label=f"labels {name}", **style))
    named = [mark.get_label() for mark in marks]
    figure.legend(marks, named, loc="outside upper left", ncols=6, frameon=False, fontsize=9)
