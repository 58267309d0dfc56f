"""Images out of class folders of PNG and JPEG files."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jleak.check import InputError
from jleak.data.images import Images, first_line, from_arrays

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".png", ".jpg", ".jpeg")
"""What counts as a picture; other files are left alone."""

MODES = {
    "L": ("1", "L", "LA", "La"),
    "RGB": ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr"),
}
"""Grey and colour: the mode that is stored, and Pillow's modes that are converted to it."""


def folder(path: str | Path) -> Images:
    """The pictures in `path/CLASS/*.png` (or .jpg, .jpeg); the sorted folder names are the classes.

    Pictures come in the order of their class and then of their file name, as uint8, one channel
    where all are grey and three where all are in colour; palettes become RGB and an alpha channel is
    dropped. All pictures must be of one size. Hidden folders are left alone. Names sort as text:
    class `10` comes before class `2`.

    Raises:
      InputError: no such folder, no class folders, a class without pictures, an unreadable
        picture, a picture with 16 bits a channel, or two that differ in size or in grey and colour.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in "cat", "dog":
    ...     root.joinpath(name).mkdir()
    ...     Image.new("RGB", (6, 4)).save(root / name / "1.png")
    >>> images = folder(root)
    >>> images.x.shape, images.class_names, images.labels
    ((2, 4, 6, 3), ('cat', 'dog'), array([0, 1]))
    """
    root = Path(path).expanduser()
    names, files, labels = _files(root)
    first = _picture(files[0])
    x = np.empty((len(files), *first.shape), np.uint8)
    for i, file in enumerate(files):
        image = _picture(file)
        if image.shape != first.shape:
            raise InputError(
                f"{root}: all pictures must have one size and be all grey or all colour, but "
                f"{files[0]} is {_form(first)} and {file} is {_form(image)}; "
                "resize or convert them to match"
            )
        x[i] = image
    return from_arrays(x, labels, names, name=root.resolve().name)


def _files(root: Path) -> tuple[list[str], list[Path], list[int]]:
    """Class names, the pictures of all classes, and the class of each."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(f"image folder {root} {what}; give a folder that holds one folder a class")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise InputError(f"{root} holds no class folders; put the pictures of each class into a folder")
    files, labels = [], []
    for k, of_class in enumerate(classes):
        found = sorted(p for p in of_class.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
        if not found:
            raise InputError(
                f"class folder {of_class} holds no pictures ({', '.join(ENDINGS)}); "
                "put some in, or remove the folder"
            )
        files += found
        labels += [k] * len(found)
    return [p.name for p in classes], files, labels


def _picture(file: Path) -> np.ndarray:
    """One picture as uint8 (h, w, 1) or (h, w, 3)."""
    from PIL import Image

    broken = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
    try:
        with Image.open(file) as image:
            array = np.asarray(image.convert(_mode(image, file)))
    except InputError:
        raise
    except broken as error:
        raise InputError(f"cannot read picture {file} ({first_line(error)}); replace or remove it") from error
    return array[..., None] if array.ndim == 2 else array


def _mode(image: "Image.Image", file: Path) -> str:
    """The mode to store a picture in."""
    for mode, members in MODES.items():
        if image.mode in members:
            return mode
    raise InputError(
        f"picture {file} has mode {image.mode!r}, which is not 8 bits a channel; save it as 8-bit grey or RGB"
    )


def _form(image: np.ndarray) -> str:
    """A picture's size and kind in words."""
    height, width, channels = image.shape
    return f"{width}x{height} {'grey' if channels == 1 else 'colour'}"
