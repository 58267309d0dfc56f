"""Handwritten digits that come with scikit-learn: no download, 8x8 pixels, ten classes."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from jleak.check import InputError
from jleak.data.images import Images, from_arrays


def digits() -> Images:
    """The 1,797 digits of scikit-learn, (1797, 8, 8, 1), float32: counts of 0 to 16 over 16, exactly.

    The file is read where scikit-learn lies; scikit-learn itself is not imported (2 s).

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository 1998 (its test set); CC BY 4.0.

    Raises:
      InputError: scikit-learn, or its copy of the data, is not installed.

    >>> images = digits()
    >>> images.x.shape, images.x.min(), images.x.max(), images.labels[:5]
    ((1797, 8, 8, 1), np.float32(0.0), np.float32(1.0), array([0, 1, 2, 3, 4]))
    """
    with gzip.open(_file(), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    x = table[:, :64].reshape(-1, 8, 8, 1) / np.float32(16)
    return from_arrays(x, table[:, 64], name="digits")


def _file() -> Path:
    """Where scikit-learn keeps the digits."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return path
    raise InputError('digits needs the data of scikit-learn, which is not there; pip install "scikit-learn"')
