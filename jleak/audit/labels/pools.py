"""Whose images are whose: the victims' private ones, and the server's public ones; disjoint."""

import jax
import numpy as np
from jaxtyping import Int

from jleak.audit.labels.case import LabelCase
from jleak.check import InputError
from jleak.data import Images, Pools, halves
from jleak.tree import stream

Sets = dict[str, Images]
"""Data sets by the names that cases give them."""


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
