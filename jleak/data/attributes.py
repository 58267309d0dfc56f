"""What is private about an image besides its label: an attribute, one whole number an image."""

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Int64

from jleak.check import one_of
from jleak.data.images import Images, pixels


def bright(x: Float[np.ndarray, "size h w c"]) -> Float[np.ndarray, " size"]:
    """The mean of an image's pixels."""
    return x.mean((1, 2, 3))


def contrast(x: Float[np.ndarray, "size h w c"]) -> Float[np.ndarray, " size"]:
    """The standard deviation of an image's pixels."""
    return x.std((1, 2, 3))


def lopsided(x: Float[np.ndarray, "size h w c"]) -> Float[np.ndarray, " size"]:
    """How much brighter the left half of an image is than its right half."""
    half = x.shape[2] // 2
    return x[:, :, :half].mean((1, 2, 3)) - x[:, :, -half:].mean((1, 2, 3))


DERIVED: dict[str, Callable] = {"bright": bright, "contrast": contrast, "lopsided": lopsided}
"""Attributes that images of any data set have: 1 for those above the median of their class, else 0."""


def attribute(images: Images, name: str) -> Int64[np.ndarray, " size"]:
    """The attribute of that name: one that came with the data set, its `labels`, or one of `DERIVED`.

    Raises:
      InputError: unknown name; lists the known ones.

    >>> from jleak.data.digits import digits
    >>> found = attribute(digits(), "bright")
    >>> bool(abs(found[digits().labels == 3].mean() - 0.5) < 0.02)
    True
    """
    known = {"labels": images.labels, **images.attributes}
    one_of("attribute", name, [*known, *DERIVED], hint=f"{images.name} has no other")
    if name in known:
        return known[name]
    return _above_median(DERIVED[name](pixels(images.x)), images.labels).astype(np.int64)


def relabelled(images: Images, name: str) -> Images:
    """The data set with an attribute for its labels; the labels it had are its attribute `labelled`.

    Raises:
      InputError: as `attribute`.

    >>> from jleak.data.digits import digits
    >>> relabelled(digits(), "bright").class_names
    ('bright 0', 'bright 1')
    """
    labels = attribute(images, name)
    others = {key: values for key, values in images.attributes.items() if key != name}
    return images._replace(
        labels=labels,
        class_names=tuple(f"{name} {k}" for k in range(int(labels.max()) + 1)),
        name=f"{images.name} by {name}",
        attributes=MappingProxyType(others | {"labelled": images.labels}),
    )


def _above_median(
    values: Float[np.ndarray, " size"], labels: Int64[np.ndarray, " size"]
) -> Bool[np.ndarray, " size"]:
    medians = np.array(
        [np.median(values[labels == k]) if (labels == k).any() else 0 for k in range(labels.max() + 1)]
    )
    return values > medians[labels]
