"""The pictures of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from jleak.report.rows import RECOVERED, Row, values

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers."""

TOP = 60.0
"""Decibels above which an overview does not tell apart."""

COLUMNS = 8
"""Images in a row of a picture."""


class Picture(NamedTuple):
    """A figure on the disk.

    Attributes:
      path: the PNG.
      title: what it shows.
      text: how to read it.
    """

    path: Path
    title: str
    text: str


def draw(rows: Sequence[Row], run: Path) -> list[Picture]:
    """Every picture of a run, under `figures/`."""
    (run / "figures").mkdir(exist_ok=True)
    pictures = [overview(group, run) for group in grouped(rows, ("dataset", "model", "model_args", "batch"))]
    axes = ("dataset", "model", "model_args", "batch", "attack", "attack_args", "knows_shown")
    for group in grouped(rows, axes):
        pictures.append(gallery(group, run))
    return pictures


def grouped(rows: Sequence[Row], names: Sequence[str]) -> list[list[Row]]:
    """Rows that agree in these settings; one without a defense belongs to every attacker's group."""
    knowing = sorted({r.setting["knows"] for r in rows if r.setting["defense"] != "none"}, key=str) or [
        "nothing"
    ]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        alone = row.setting["defense"] == "none" and "knows_shown" in names
        for knows in knowing if alone else [row.knows]:
            setting = row.setting | {"knows_shown": knows}
            groups.setdefault(repr([setting[name] for name in names]), []).append(row)
    return list(groups.values())


def slug(*parts: str) -> str:
    """A file name of these parts.

    >>> slug("npz:/data/a.npz", "lenet")
    'a-lenet'
    """
    words = [part.rsplit("/", 1)[-1].removesuffix(".npz") for part in parts]
    return "-".join("".join(c if c.isalnum() else "_" for c in word) for word in words)


def overview(group: Sequence[Row], run: Path) -> Picture:
    """Every victim's PSNR, by defense and attack."""
    defenses = list(dict.fromkeys(row.defense for row in group))
    attacks = list(dict.fromkeys(row.attack for row in group))
    knowing = list(dict.fromkeys(row.knows for row in group))
    figure, axis = plt.subplots(figsize=(1.8 + 2.0 * len(defenses), 3.8), layout="constrained")
    for row in group:
        place = attacks.index(row.attack) * len(knowing) + knowing.index(row.knows)
        x = defenses.index(row.defense) + 0.8 * ((place + 0.5) / (len(attacks) * len(knowing)) - 0.5)
        marks(
            axis,
            row,
            x,
            COLORS[attacks.index(row.attack) % len(COLORS)],
            "osD"[knowing.index(row.knows)],
            row.attack if len(knowing) == 1 else f"{row.attack}, knows {row.knows}",
        )
    lines(axis, float(np.median([row.constant for row in group])), left=-0.5)
    axis.set_xticks(range(len(defenses)), [d.replace(" ", "\n", 1) for d in defenses])
    axis.set_xlim(-0.5, len(defenses) - 0.5)
    axis.set_ylabel("PSNR of the reconstruction (dB)")
    axis.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=9
    )
    first = group[0].setting
    path = run / "figures" / f"overview-{slug(first['dataset'], group[0].model)}.png"
    text = (
        "Each small mark is one victim, the large ones are medians; higher means that more leaked. "
        f"{TOP:.0f} dB and above, exact to the eye and beyond, are drawn at the top."
    )
    return saved(figure, path, f"What leaks: {group[0].model} on {first['dataset']}", text)


def marks(axis: plt.Axes, row: Row, x: float, color: str, marker: str, label: str) -> None:
    """One row: a small mark a victim, a large one for the median."""
    y = np.minimum(values(row.records, "psnr"), TOP)
    spread = np.linspace(-0.06, 0.06, len(y)) if len(y) > 1 else np.zeros(1)
    axis.scatter(x + spread, y, s=14, alpha=0.45, color=color, marker=marker, linewidths=0)
    axis.scatter(
        [x],
        [min(row.psnr.median, TOP)],
        s=46,
        color=color,
        marker=marker,
        label=label,
        edgecolors="black",
        linewidths=0.7,
    )


def lines(axis: plt.Axes, floor: float, left: float) -> None:
    """What counts as recovered, and what an image of one grey reaches."""
    for y, text, color, style in (
        (RECOVERED, "recovered", "black", "--"),
        (floor, "best constant image", "grey", ":"),
    ):
        axis.axhline(y, color=color, linewidth=0.8, linestyle=style, zorder=0)
        axis.text(left, y, f" {text}", va="bottom", ha="left", fontsize=8, color=color)
    axis.set_ylim(top=TOP + 3)
    ticks = [*range(0, int(TOP), 10), int(TOP)]
    axis.set_yticks(ticks, [*map(str, ticks[:-1]), f"{TOP:.0f}+"])


def gallery(group: Sequence[Row], run: Path) -> Picture:
    """Truth above the reconstruction under each defense."""
    first = group[0].setting
    knows = next((r.setting["knows"] for r in group if r.setting["defense"] != "none"), "nothing")
    lines = [("truth", images(group[0], run, "truth"), None)]
    for row in group:
        lines.append((row.defense, images(row, run, "reconstruction"), values(row.records, "psnr")))
    columns = min(COLUMNS, len(lines[0][1]))
    figure, grid = plt.subplots(
        len(lines),
        columns,
        figsize=(1.05 * columns + 1.6, 1.25 * len(lines)),
        squeeze=False,
        layout="constrained",
    )
    per_victim = first["batch"] if first["batch"] > 1 else 1
    for (label, pixels, psnr), axes in zip(lines, grid, strict=True):
        for i, axis in enumerate(axes):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            axis.imshow(
                np.clip(pixels[i].astype(float), 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
            )
            if psnr is not None and i % per_victim == 0:
                axis.set_xlabel(f"{psnr[i // per_victim]:.1f} dB", fontsize=7, labelpad=1)
        axes[0].set_ylabel(label.replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=8)
    name = slug(first["dataset"], group[0].model, group[0].attack, knows)
    title = f"{group[0].attack} against {group[0].model} on {first['dataset']}; the attacker knows {knows}"
    return saved(
        figure,
        run / "figures" / f"gallery-{name}.png",
        title,
        "The clients' images above what the server makes of their updates, under each defense.",
    )


def images(row: Row, run: Path, name: str) -> np.ndarray:
    """The first images of a row's victims, seed after seed: (images, h, w, c)."""
    found = []
    for record in row.records:
        with np.load(run / "images" / f"{record['case_id']}.npz") as arrays:
            found.append(arrays[name].reshape(-1, *arrays[name].shape[2:]))
    stacked = np.concatenate(found)[:COLUMNS]
    return stacked[..., 0] if stacked.shape[-1] == 1 else stacked


def saved(figure: plt.Figure, path: Path, title: str, text: str) -> Picture:
    """Writes the figure and forgets it."""
    figure.savefig(path, dpi=140)
    plt.close(figure)
    return Picture(path, title, text)
