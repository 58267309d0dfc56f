"""The pictures of a run."""

import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which would change how a notebook draws its own

from jleak.audit import store
from jleak.defenses import KNOWS
from jleak.report import mixing, tiles
from jleak.report.palette import COLORS
from jleak.report.rows import RECOVERED, Row, by_model, values

TOP = 60.0
"""Decibels above which an overview does not tell apart."""


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
    """Every picture of a run, under `figures/`.

    Raises:
      InputError: the images of a case are missing or damaged.
      OSError: the pictures cannot be written.
    """
    (run / "figures").mkdir(exist_ok=True)
    groups = by_model(rows)
    return [
        *mixed(rows, run),
        *(overview(title, group, run) for title, group in groups),
        *(gallery(title, shown, run) for title, group in groups for shown in by_attacker(group)),
        *(film(title, long, run) for title, group in groups if (long := searching(undefended(group), run))),
    ]


def undefended(group: Sequence[Row]) -> list[Row]:
    """The rows without a defense."""
    return [row for row in group if row.setting["defense"] == "none"]


def searching(group: Sequence[Row], run: Path) -> list[Row]:
    """The rows of attacks that search step by step; a closed form has one step."""
    return [r for r in group if len(store.read_images(run, r.records[0]["case_id"])["shares"]) > 1]


def mixed(rows: Sequence[Row], run: Path) -> list[Picture]:
    """Error over mixing, where an attack recovers directly."""
    found = mixing.lines(rows)
    if not found:
        return []
    text = (
        "Right: the images of a batch are the better mixed in the update, which the client can compute "
        "before it shares. Down: the attack came closer to them. Small marks are victims, large ones "
        f"medians, filled where the attack proves every image; errors below {mixing.LEAST:g} are drawn there."
    )
    return [
        saved(mixing.picture(found), run, "mixing", "What mixing buys: direct recovery, no defense", text)
    ]


def by_attacker(group: Sequence[Row]) -> list[list[Row]]:
    """The rows of each attack and knowledge; one without a defense belongs to every knowledge."""
    found = []
    for attack in dict.fromkeys(row.attack for row in group):
        of = [row for row in group if row.attack == attack]
        plain = undefended(of)
        knowing = {row.knows for row in of if row not in plain} or {"nothing"}
        for knows in sorted(knowing, key=KNOWS.index):
            found.append([row for row in of if row.knows == knows or row in plain])
    return found


def slug(*parts: str) -> str:
    """A file name of these parts; another one for other parts.

    >>> slug("gallery", "lenet on digits", "dlg")
    'gallery-lenet_on_digits-dlg'
    >>> slug("lenet on npz:/a/b.npz") == slug("lenet on npz:/c/b.npz")
    False
    """
    plain = [re.sub(r"[^A-Za-z0-9.=]+", "_", re.sub(r"\S*/", "", part)) for part in parts]
    whole = plain == [part.replace(" ", "_") for part in parts]
    return "-".join(plain) + ("" if whole else f"-{zlib.crc32(repr(parts).encode()):08x}")


def overview(title: str, group: Sequence[Row], run: Path) -> Picture:
    """Every victim's PSNR, by defense and attack."""
    defenses = list(dict.fromkeys(row.defense for row in group))
    attacks = list(dict.fromkeys(row.attack for row in group))
    knowing = list(dict.fromkeys(row.knows for row in group))
    figure = Figure(figsize=(1.8 + 2.0 * len(defenses), 3.8), layout="constrained")
    axis = figure.subplots()
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
    text = (
        "Each small mark is one victim, the large ones are medians; higher means that more leaked. "
        f"{TOP:.0f} dB and above, exact to the eye and beyond, are drawn at the top."
    )
    return saved(figure, run, slug("overview", title), f"What leaks: {title}", text)


def marks(axis: Axes, row: Row, x: float, color: str, marker: str, label: str) -> None:
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


def lines(axis: Axes, floor: float, left: float) -> None:
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


def gallery(title: str, group: Sequence[Row], run: Path) -> Picture:
    """Truth above the reconstruction under each defense."""
    attack, knows = group[0].attack, max((row.knows for row in group), key=KNOWS.index)
    heading = f"{attack} against {title}; the attacker knows {knows}"
    text = "The clients' images above what the server makes of their updates, under each defense."
    figure = tiles.tiled(tiles.gallery(group, run))
    return saved(figure, run, slug("gallery", title, attack, knows), heading, text)


def film(title: str, group: Sequence[Row], run: Path) -> Picture:
    """A search step by step, one line an attack."""
    heading = f"The search, step by step: {title}, no defense"
    text = "What each attack held of the first victim after a share of its search; the truth at the right."
    return saved(tiles.tiled(tiles.film(group, run)), run, slug("film", title), heading, text)


def saved(figure: Figure, run: Path, name: str, title: str, text: str) -> Picture:
    """Writes the figure."""
    buffer, path = io.BytesIO(), run / "figures" / f"{name}.png"
    figure.savefig(buffer, dpi=140)
    store.write_aside(path, buffer.getvalue())
    return Picture(path, title, text)
