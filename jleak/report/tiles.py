"""Pictures made of images: truth above reconstruction, and a search step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jleak.audit import store
from jleak.report.rows import Row

COLUMNS = 8
"""Images in a line of a picture."""

WIDTH, HEIGHT = 1.05, 1.3
"""Inches of a tile, its caption included."""


Place = tuple[int, int]
"""An image of a row: its seed, and its number among the images of that seed's victims."""


class Line(NamedTuple):
    """A line of a picture: a label at its left, images (None for a gap), and a text under each."""

    label: str
    images: list[np.ndarray | None]
    captions: list[str]


def gallery(group: Sequence[Row], run: Path) -> list[Line]:
    """Truth, then the reconstruction under each defense, of the first victims.

    Rows of an unfinished run lack some seeds; there is a gap there.
    """
    first = group[0].setting
    seeds = sorted({record["seed"] for row in group for record in row.records})
    places = [(seed, i) for seed in seeds for i in range(first["victims"] * first["batch"])][:COLUMNS]
    truth = {place: image for row in group for place, image in stored(row, run, "truth", places).items()}
    lines = [Line("truth", [truth[place] for place in places], [""] * len(places))]
    for row in group:
        found, psnr = stored(row, run, "reconstruction", places), captions(row)
        lines.append(Line(row.defense, [*map(found.get, places)], [psnr.get(p, "") for p in places]))
    return lines


def film(group: Sequence[Row], run: Path) -> list[Line]:
    """The snapshots of the first victim's first image, one line an attack, the truth last."""
    lines = []
    for row in group:
        arrays = store.read_images(run, row.records[0]["case_id"])
        captions = [f"{100 * float(share):.0f} %" for share in arrays["shares"]]
        images = [*arrays["snapshots"][:, 0, 0], arrays["truth"][0, 0]]
        lines.append(Line(row.attack, images, [*captions, "truth"]))
    return lines


def stored(row: Row, run: Path, name: str, places: Sequence[Place]) -> dict[Place, np.ndarray]:
    """Those images of a row that are at these places."""
    found = {}
    for record in row.records:
        wanted = [i for seed, i in places if seed == record["seed"]]
        if wanted:
            stacked = store.read_images(run, record["case_id"])[name]
            every = stacked.reshape(-1, *stacked.shape[2:])
            found |= {(record["seed"], i): every[i] for i in wanted}
    return found


def captions(row: Row) -> dict[Place, str]:
    """Below each image what the attack vouches for, below a victim's first the PSNR."""
    found = decibels(row)
    for record in row.records:
        if record.get("certificate"):
            names = [name for victim in record["certificate"]["status"] for name in victim]
            for i, name in enumerate(names):
                place = (record["seed"], i)
                found[place] = "\n".join(filter(None, [name, found.get(place)]))
    return found


def decibels(row: Row) -> dict[Place, str]:
    """The PSNR to print under the first image of each victim."""
    return {
        (record["seed"], victim * record["batch"]): "-" if psnr is None else f"{psnr:.1f} dB"
        for record in row.records
        for victim, psnr in enumerate(record["psnr"])
    }


def tiled(lines: Sequence[Line]) -> Figure:
    """The lines as a figure: one pair of axes for all images, since one for each takes seconds."""
    columns = max(len(line.images) for line in lines)
    labels = [line.label.replace(" ", "\n") for line in lines]
    left = 0.15 + 0.075 * max(len(part) for label in labels for part in label.split("\n"))
    width = left + WIDTH * columns
    figure = Figure(figsize=(width, HEIGHT * len(lines)))
    axis = figure.add_axes((left / width, 0, 1 - left / width, 1))
    for i, (line, label) in enumerate(zip(lines, labels, strict=True)):
        axis.text(-0.06, i + 0.4, label, ha="right", va="center", fontsize=8)
        for j, (image, caption) in enumerate(zip(line.images, line.captions, strict=False)):
            if image is not None:
                axis.imshow(
                    visible(image),
                    extent=extent(image.shape, j, i),
                    aspect="auto",
                    cmap="gray",
                    vmin=0,
                    vmax=1,
                    interpolation="nearest",
                )
                axis.text(j + 0.5, i + 0.8, caption, ha="center", va="top", fontsize=7)
    axis.set(xlim=(0, columns), ylim=(len(lines), 0))
    axis.set_axis_off()
    return figure


def extent(shape: tuple[int, ...], column: int, line: int) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of an image in units of tiles: as large as fits above its caption.

    >>> extent((10, 10, 1), 0, 0)
    (0.025, 0.975, 0.79, 0.022692)
    >>> left, right, bottom, top = extent((20, 10, 1), 0, 0)
    >>> round((bottom - top) * HEIGHT / ((right - left) * WIDTH), 3)
    2.0
    """
    side = 0.95 * WIDTH / max(shape[:2])
    half, tall = side * shape[1] / WIDTH / 2, side * shape[0] / HEIGHT
    middle, bottom = column + 0.5, line + 0.79
    return round(middle - half, 6), round(middle + half, 6), bottom, round(bottom - tall, 6)


def visible(image: np.ndarray) -> np.ndarray:
    """An image (h, w, c) as matplotlib shows it: grey, or the first three channels; not finite is black.

    >>> visible(np.full((2, 2, 4), 2.0)).shape, visible(np.full((1, 1, 1), np.nan)).tolist()
    ((2, 2, 3), [[0.0]])
    """
    image = np.clip(np.nan_to_num(image.astype(float)), 0, 1)
    return image[..., :3] if image.shape[-1] >= 3 else image.mean(-1)
