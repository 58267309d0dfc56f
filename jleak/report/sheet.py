"""A sheet of images as a picture."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from jleak.report.tiles import visible

SIDE = 64
"""Images are enlarged by the largest whole number that keeps their longer side up to this, 1 at least."""

GAP = 2
"""Pixels between images."""


def write(path: Path, images: Float[np.ndarray, "rows columns h w c"]) -> None:
    """Writes a PNG; one that is there is replaced."""
    Image.fromarray(picture(images)).save(path)


def picture(images: Float[np.ndarray, "rows columns h w c"]) -> UInt8[np.ndarray, "height width 3"]:
    """The images side by side on white.

    >>> picture(np.zeros((2, 3, 8, 8, 1))).shape
    (130, 196, 3)
    """
    rows, columns, h, w, _ = images.shape
    scale = max(1, SIDE // max(h, w))
    height, width = scale * h, scale * w
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i in range(rows):
        for j in range(columns):
            tile = visible(images[i, j]).reshape(h, w, -1).repeat(scale, 0).repeat(scale, 1)
            top, left = i * (height + GAP), j * (width + GAP)
            page[top : top + height, left : left + width] = np.round(255 * tile)
    return page
