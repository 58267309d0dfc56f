"""Whose images are whose: the victims' private ones, and the server's public ones; disjoint."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from jleak.audit.labels.case import LabelCase
from jleak.check import InputError
from jleak.data import Images
from jleak.tree import stream
from jleak.types import Key

Sets = dict[str, Images]
"""Data sets by the names that cases give them."""


class Pools(NamedTuple):
    """Images of two sides that share none.

    Attributes:
      private: the victims'.
      public: the server's, for training the models and for auxiliary data.
    """

    private: Images
    public: Images


def pools(case: LabelCase, sets: Sets) -> Pools:
    """The two sides of a case: two data sets, or the halves of one.

    Raises:
      InputError: the public data set has other shapes or classes than the victims', or one half is empty.

    >>> from jleak.data import digits
    >>> private, public = pools(LabelCase(attack="llg"), {"digits": digits()})
    >>> private.size + public.size == digits().size
    True
    """
    images = sets[case.dataset]
    if not case.public:
        return halves(stream(jax.random.key(case.seed), "halves"), images)
    public = sets[case.public]
    if (public.shape, public.classes) != (images.shape, images.classes):
        raise InputError(
            f"public images must be like the victims': {images.name} has shape {images.shape} and "
            f"{images.classes} classes, {public.name} has {public.shape} and {public.classes}; convert one"
        )
    return Pools(images, public)


def halves(key: Key, images: Images) -> Pools:
    """The halves of a data set, drawn by key class by class; the odd image of a class is private.

    Raises:
      InputError: no class has two images.

    >>> from jleak.data import digits
    >>> halves(jax.random.key(0), digits()).public.name
    'digits, public half'
    """
    place = within_class(key, images)
    private = place % 2 == 0
    if private.all():
        raise InputError(
            f"{images.name} has no class of two images, so no public half; name a data set with public=..."
        )
    return Pools(part(images, private, "private"), part(images, ~private, "public"))


def part(images: Images, mask: np.ndarray, side: str) -> Images:
    """Those images of a data set."""
    return images._replace(x=images.x[mask], labels=images.labels[mask], name=f"{images.name}, {side} half")


def within_class(key: Key, images: Images) -> Int[np.ndarray, " size"]:
    """Each image's place in a random order of its class."""
    bits = np.asarray(jax.random.bits(key, (images.size,), "uint32"))
    order = np.lexsort((bits, images.labels))
    counts = np.bincount(images.labels)
    place = np.empty(images.size, int)
    place[order] = np.arange(images.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return place


def auxiliary(case: LabelCase, public: Images, models: int) -> Int[np.ndarray, "models k"]:
    """Where in the public images each model's auxiliary data are: so many of every class that has some.

    Of a class with fewer images, all come as often as it takes; attacks weight classes by their means.

    >>> from jleak.data import digits
    >>> auxiliary(LabelCase(attack="llg", auxiliary=2), digits(), 3).shape
    (3, 20)
    """
    key = stream(jax.random.key(case.seed), "auxiliary")
    counts = np.bincount(public.labels)
    counts = counts[counts > 0]
    start = np.cumsum(counts) - counts
    picks = start[:, None] + np.arange(case.auxiliary) % counts[:, None]
    rows = []
    for i in range(models):
        bits = np.asarray(jax.random.bits(jax.random.fold_in(key, i), (public.size,), "uint32"))
        rows.append(np.lexsort((bits, public.labels))[picks.ravel()])
    return np.stack(rows)
