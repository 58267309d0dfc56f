"""A data set in two halves that share no image: the victims' and the server's."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int

from jleak.check import InputError
from jleak.data.images import Images, chosen
from jleak.types import Key


class Pools(NamedTuple):
    """Images of two sides that share none.

    Attributes:
      private: the victims'.
      public: the server's, for training models and priors and for auxiliary data.
    """

    private: Images
    public: Images


def halves(key: Key, images: Images) -> Pools:
    """The halves of a data set, drawn by key class by class; the odd image of a class is private.

    Raises:
      InputError: no class has two images.

    >>> from jleak.data.digits import digits
    >>> halves(jax.random.key(0), digits()).public.name
    'digits, public half'
    """
    private = is_private(key, images)
    if private.all():
        raise InputError(
            f"{images.name} has no class of two images, so no public half; name a data set with public=..."
        )
    return Pools(part(images, private, "private"), part(images, ~private, "public"))


def is_private(key: Key, images: Images) -> Bool[np.ndarray, " size"]:
    """Which images of a data set are its private half.

    >>> from jleak.data.digits import digits
    >>> key = jax.random.key(0)
    >>> int(is_private(key, digits()).sum()) == halves(key, digits()).private.size
    True
    """
    return within_class(key, images) % 2 == 0


def part(images: Images, mask: np.ndarray, side: str) -> Images:
    """Those images of a data set."""
    return chosen(images, mask, f"{images.name}, {side} half")


def within_class(key: Key, images: Images) -> Int[np.ndarray, " size"]:
    """Each image's place in a random order of its class."""
    bits = np.asarray(jax.random.bits(key, (images.size,), "uint32"))
    order = np.lexsort((bits, images.labels))
    counts = np.bincount(images.labels)
    place = np.empty(images.size, int)
    place[order] = np.arange(images.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return place
