"""Images out of a NumPy `.npz` file."""

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jleak.check import InputError
from jleak.data.images import Images, first_line, from_arrays

BROKEN = (OSError, EOFError, ValueError, SyntaxError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on damaged bytes."""


def npz(path: str | Path) -> Images:
    """The images in a NumPy archive; nothing in it is unpickled.

    The archive holds `images`, uint8 (N, h, w, c) or (N, h, w), or floats in [0, 1]; `labels`,
    (N,) whole numbers from 0; and, if you like, `class_names`, (classes,) text. Other arrays of N whole
    numbers from 0 are attributes of the images; the rest is left alone. Write one with
    `numpy.savez_compressed(path, images=x, labels=y)`.

    Raises:
      InputError: no such file, not an `.npz`, damaged, an array is missing, or an array's
        values cannot be used (see `from_arrays`).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "two.npz")
    >>> np.savez(path, images=np.zeros((2, 8, 8, 3), np.uint8), labels=[0, 1])
    >>> npz(path).shape
    (8, 8, 3)
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a folder; write folder:PATH for class folders" if path.is_dir() else "does not exist"
        raise InputError(f"npz file {path} {what}; give the path of an .npz file")
    try:
        with path.open("rb") as raw, _archive(raw, path) as file:
            images, labels = _member(file, "images", path), _member(file, "labels", path)
            names = _member(file, "class_names", path) if "class_names" in file.files else None
            attributes = _attributes(file, len(labels)) if labels.ndim else {}
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); copy or write it again") from error
    return from_arrays(images, labels, _names(names, path), name=path.stem, attributes=attributes)


def _archive(raw: BinaryIO, path: Path) -> np.lib.npyio.NpzFile:
    """The opened archive."""
    if not zipfile.is_zipfile(raw):
        raise InputError(
            f"{path} is not an .npz file, or is cut short; "
            "copy it again, or write it with numpy.savez_compressed(path, images=x, labels=y)"
        )
    raw.seek(0)
    return np.load(raw, allow_pickle=False)


def _member(file: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    """One array of the archive."""
    if name not in file.files:
        present = ", ".join(sorted(file.files)) or "nothing"
        raise InputError(f"{path} has no array {name!r}; it has: {present}; save it as {name}=...")
    try:
        return file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"{path}: array {name!r} holds Python objects, which are not read; "
            "save numbers or text, for example numpy.array(values, dtype=str)"
        ) from error


def _attributes(file: np.lib.npyio.NpzFile, size: int) -> dict[str, np.ndarray]:
    """What else the archive holds that can be an attribute; other arrays may be anything."""
    found = {}
    for name in set(file.files) - {"images", "labels", "class_names"}:
        try:
            array = file[name]
        except ValueError:  # Python objects
            continue
        if array.shape == (size,) and array.dtype.kind in "iu" and (size == 0 or array.min() >= 0):
            found[name] = array
    return found


def _names(names: np.ndarray | None, path: Path) -> list[str] | None:
    """Class names as text."""
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise InputError(
            f"{path}: class_names must be a flat array of text, got {names.dtype} of shape {names.shape}; "
            "save numpy.array(names, dtype=str)"
        )
    return names.astype(str).tolist()
