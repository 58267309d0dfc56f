"""What every data source returns: images, labels and names, held as compactly as they came."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from jleak.check import InputError

MOST_CHANNELS = 4
"""More channels than this are taken for a channels-first array."""


class Images(NamedTuple):
    """A labelled image data set in host memory.

    Bytes stay bytes until they are drawn, so MNIST's training set takes 47 MB, not 188 MB;
    `pixels` and `jleak.data.draw` give floats in [0, 1].

    Attributes:
      x: images, channels last: uint8 in 0..255, or float32 in [0, 1].
      labels: the class number of each image; the name of class k is `class_names[k]`.
      class_names: one name a class; a class may be without images.
      name: a short name for tables and figures.
      attributes: what else is known of each image, whole numbers by name: another label, whose photo it is
        (`jleak.data.attribute`).

    >>> images = from_arrays(np.zeros((2, 8, 8, 1), np.uint8), [0, 1], ["cat", "dog"], name="pets")
    >>> images.size, images.shape, images.classes
    (2, (8, 8, 1), 2)
    """

    x: UInt8[np.ndarray, "size h w c"] | Float32[np.ndarray, "size h w c"]
    labels: Int64[np.ndarray, " size"]
    class_names: tuple[str, ...]
    name: str
    attributes: Mapping[str, Int64[np.ndarray, " size"]] = MappingProxyType({})

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.x)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one image."""
        return tuple(self.x.shape[1:])

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def pixels(x: np.ndarray) -> Float32[np.ndarray, "..."]:
    """Images as float32 in [0, 1]: bytes are divided by 255, floats are kept.

    >>> pixels(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)


def from_arrays(
    x: Any,
    labels: Any,
    class_names: Sequence[str] | None = None,
    *,
    name: str,
    attributes: Mapping[str, Any] | None = None,
) -> Images:
    """A data set out of arrays that you hold, checked.

    Args:
      x: (size, h, w, c) or, for one channel, (size, h, w); uint8, or floats in [0, 1].
      labels: (size,) whole numbers from 0.
      class_names: the names of the classes; None numbers them 0 to the largest label.
      name: what to call the data set, also in error messages.
      attributes: further whole numbers from 0, one an image, by name; None for none.

    Raises:
      InputError: no images, a wrong rank, channels first, another dtype, floats outside [0, 1],
        labels that are not one whole number an image within the classes, or such attributes.

    >>> from_arrays(np.zeros((2, 8, 8)), [0, 2], name="mine").class_names
    ('0', '1', '2')
    >>> from_arrays(np.full((1, 8, 8), 255.0), [0], name="mine")
    Traceback (most recent call last):
    jleak.check.InputError: mine: float images must be in [0, 1], got 255 to 255; divide by 255 or store uint8
    """
    x = _checked_images(np.asarray(x), name)
    labels = _checked_labels(np.asarray(labels), len(x), name)
    if class_names is None:
        class_names = range(int(labels.max()) + 1)
    names = tuple(str(k) for k in class_names)
    if labels.max() >= len(names):
        at = int(labels.argmax())
        raise InputError(
            f"{name}: labels must be < {len(names)}, the number of class names, got {labels[at]} at {at}; "
            "name every class, or count classes from 0"
        )
    more = {key: _checked_labels(np.asarray(v), len(x), name, key) for key, v in (attributes or {}).items()}
    return Images(x, labels, names, name, MappingProxyType(more))


def chosen(images: Images, which: np.ndarray, name: str) -> Images:
    """These images of a data set, by mask or by number, under another name.

    >>> both = from_arrays(np.zeros((2, 8, 8)), [0, 1], name="pets", attributes={"age": [3, 5]})
    >>> chosen(both, np.array([1]), "old ones").attributes["age"].tolist()
    [5]
    """
    attributes = MappingProxyType({key: values[which] for key, values in images.attributes.items()})
    return images._replace(x=images.x[which], labels=images.labels[which], name=name, attributes=attributes)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind where it has none.

    >>> first_line(ValueError("no\\nmore")), first_line(EOFError())
    ('no', 'EOFError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _checked_images(x: np.ndarray, name: str) -> np.ndarray:
    if x.ndim not in (3, 4):
        raise InputError(
            f"{name}: images must be (N, h, w, c) or (N, h, w), got shape {x.shape}; reshape the array"
        )
    x = x[..., None] if x.ndim == 3 else x
    if x.shape[3] > MOST_CHANNELS:
        raise InputError(
            f"{name}: images must have at most {MOST_CHANNELS} channels, channels last, got shape {x.shape}; "
            "if the channels come first, use images.transpose(0, 2, 3, 1)"
        )
    if x.size == 0:
        raise InputError(f"{name}: holds no images, got shape {x.shape}; give at least one")
    if x.dtype == np.uint8:
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise InputError(
            f"{name}: images must be uint8 in 0..255 or float in [0, 1], got {x.dtype}; "
            "convert with images.astype('uint8')"
        )
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # also where one is NaN
        raise InputError(
            f"{name}: float images must be in [0, 1], got {low:g} to {high:g}; divide by 255 or store uint8"
        )
    return x.astype(np.float32, copy=False)


def _checked_labels(
    labels: np.ndarray, size: int, name: str, what: str = "labels"
) -> Int64[np.ndarray, " size"]:
    if labels.shape != (size,):
        raise InputError(
            f"{name}: {what} must be one number an image, shape ({size},), got {labels.shape}; "
            "give as many labels as images, as a flat array"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{name}: {what} must be whole numbers, got {labels.dtype}; convert with {what}.astype('int64')"
        )
    at = int(labels.argmin())
    if labels[at] < 0:
        raise InputError(
            f"{name}: {what} must be >= 0, got {labels[at]} at {at}; leave unlabelled images out"
        )
    return labels.astype(np.int64, copy=False)
