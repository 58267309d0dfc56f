"""Leakage against the strength of a defense: a panel a defense, a line an attack and knowledge."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from jleak.report.figures import TOP, lines
from jleak.report.palette import COLORS
from jleak.report.sweep.answers import Answer, answers, digits, named, rounded
from jleak.report.sweep.choosing import numeric
from jleak.report.sweep.columns import Column, of_part, varying

LOOKS = {
    "nothing": {"linestyle": "-", "marker": "o"},
    "kind": {"linestyle": "--", "marker": "s", "markerfacecolor": "white"},
    "all": {"linestyle": ":", "marker": "D", "markerfacecolor": "white"},
}
"""How a line is drawn, by what the attacker knows of the defense."""

COLUMNS = 3
"""Panels in a line of the picture."""

APART = 0.012
"""Between lines that would lie on each other, as a share of the axis; all together take five times that."""

EDGE = 0.12
"""Room at either end of the axis of strengths, as a share of what they span."""

LETTER = 0.024
"""Width of a letter below a panel, as a share of the axis."""

MANY = 4
"""Lines in a panel from which their bands are fainter."""


def panels(there: Mapping[str, Column]) -> dict[str, str]:
    """The defenses of which exactly one argument varies, and it is a number -> that argument.

    >>> args = ['{"sigma": 0.1}', '{"sigma": 1.0}', "{}"]
    >>> from jleak.report.sweep.columns import columns
    >>> panels(columns(pa.table({"defense": ["gaussian", "gaussian", "none"], "defense_args": args})))
    {'gaussian': 'defense.sigma'}
    """
    found = {}
    for code, defense in enumerate(there["defense"].values):
        among = {name: c.where(there["defense"].codes == code) for name, c in there.items()}
        differ = [name for name in of_part("defense", among) if len(among[name].values) > 1]
        if len(differ) == 1 and all(numeric(value) is not None for value in among[differ[0]].values):
            found[defense] = differ[0]
    return found


def groups(there: Mapping[str, Column], by: Sequence[str]) -> list[str]:
    """What the pictures tell apart: defenses with their strengths, attacks as `by` has them, knowledge."""
    varied = varying(there)
    return ["defense", *of_part("defense", varied), "attack", *of_part("attack", by), "knows"]


def picture(table: pa.Table, there: Mapping[str, Column], by: Sequence[str]) -> Figure | None:
    """The figure; None where no defense has several strengths."""
    shown = panels(there)
    if not shown:
        return None
    found = answers(table, there, groups(there, by))
    attacks = list(dict.fromkeys(named(a, "attack", digits(there)) for a in found))
    columns = 2 if len(shown) == 4 else min(len(shown), COLUMNS)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(3.5 * columns, 6.4) + 0.6, 3.5 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis in grid.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (defense, argument) in zip(grid.flat, shown.items(), strict=False):
        panel(axis, [a for a in found if a.key["defense"] in (defense, "none")], argument, attacks, there)
        axis.set_title(defense, fontsize=11, fontweight="bold")
    for axis in grid[:, 0]:
        axis.set_ylabel("PSNR of the reconstruction (dB)")
    handles = {
        text: handle
        for axis in grid.flat
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    order = sorted(handles, key=lambda text: "no defense" in text)
    room = int(figure.get_figwidth() / (0.5 + 0.08 * max(map(len, order))))
    figure.legend(
        [handles[text] for text in order], order, loc="outside upper left", ncols=min(max(room, 1), 3),
        frameon=False, fontsize=9, handlelength=2.8,
    )  # fmt: skip
    return figure


def panel(
    axis: Axes, found: Sequence[Answer], argument: str, attacks: Sequence[str], there: Mapping[str, Column]
) -> None:
    """One defense's strengths; what the same attacks do without it, dotted."""
    kept = [a for a in found if a.key["defense"] != "none"]
    values = sorted({numeric(a.key[argument]) for a in kept})
    scale(axis, values, digits(there).get(argument, 3))
    axis.set_xlabel(argument.partition(".")[2])
    series: dict[tuple[str, str], list[Answer]] = {}
    for answer in kept:
        series.setdefault((named(answer, "attack", digits(there)), answer.key["knows"]), []).append(answer)
    for place, ((attack, knows), points) in enumerate(series.items()):
        color = COLORS[attacks.index(attack) % len(COLORS)]
        shift = min(APART, 5 * APART / len(series)) * (place - (len(series) - 1) / 2)
        look = LOOKS[knows] | {"alpha": 0.07 if len(series) > MANY else 0.14}
        curve(axis, points, argument, shift * span(axis), f"{attack}, knows {knows}", color, look)
    for answer in (a for a in found if a.key["defense"] == "none"):
        attack = named(answer, "attack", digits(there))
        color = COLORS[attacks.index(attack) % len(COLORS)]
        axis.axhline(
            min(answer.psnr.median, TOP), color=color, linestyle=(0, (1, 2)), linewidth=1.6, zorder=1,
            label=f"{attack}, no defense",
        )  # fmt: skip
    lines(axis, float(np.nanmedian([a.constant for a in kept])), left=axis.get_xlim()[0])
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#ececec", linewidth=0.7)
    axis.set_axisbelow(True)


def scale(axis: Axes, values: Sequence[float], size: int) -> None:
    """The axis of strengths: logarithmic if all are positive; as many are written as there is room for."""
    logarithmic = values[0] > 0
    axis.set_xscale("log" if logarithmic else "linear")
    places = np.log10(values) if logarithmic else np.array(values)
    wide = places[-1] - places[0]
    ends = places[[0, -1]] + EDGE * wide * np.array([-1, 1])
    axis.set_xlim(*(10**ends if logarithmic else ends))
    texts = [rounded(value, size) for value in values]
    shown = apart((places - ends[0]) / (ends[1] - ends[0]), texts)
    axis.xaxis.set_major_locator(FixedLocator([values[i] for i in shown]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks([values[i] for i in shown], [texts[i] for i in shown])


def apart(places: Float[np.ndarray, " n"], texts: Sequence[str]) -> list[int]:
    """Which of these texts are written at these places of an axis from 0 to 1, so that none covers another.

    >>> apart(np.array([0.1, 0.2, 0.5]), ["0.001", "0.002", "0.1"])
    [0, 2]
    """
    shown = [0]
    for i in range(1, len(texts)):
        if places[i] - places[shown[-1]] > LETTER * (len(texts[i]) + len(texts[shown[-1]])) / 2 + LETTER / 2:
            shown.append(i)
    return shown


def span(axis: Axes) -> float:
    """How far the axis of strengths reaches: in powers of ten where it is logarithmic."""
    first, last = axis.get_xlim()
    return float(np.log10(last / first)) if axis.get_xscale() == "log" else last - first


def curve(
    axis: Axes,
    points: Sequence[Answer],
    argument: str,
    shift: float,
    label: str,
    color: str,
    look: Mapping[str, Any],
) -> None:
    """One attack's medians over the strength in a band of its quartiles, of the look's `alpha`."""
    points = sorted((a for a in points if np.isfinite(a.psnr.median)), key=lambda a: a.key[argument])
    x = np.array([numeric(a.key[argument]) for a in points])
    x = x * 10**shift if axis.get_xscale() == "log" else x + shift
    middle, low, high = np.minimum(np.array([a.psnr for a in points]).reshape(-1, 3).T, TOP)
    axis.fill_between(x, low, high, color=color, alpha=look["alpha"], linewidth=0, zorder=2)
    axis.plot(
        x,
        middle,
        color=color,
        label=label,
        markersize=5.5,
        linewidth=1.6,
        zorder=3,
        **(look | {"alpha": 1.0}),
    )
