"""Whose images are whose: the victims' private ones, and the server's public ones; disjoint."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Int

from jleak import data
from jleak.audit.cohort.setting import Cohort
from jleak.check import InputError
from jleak.data import Images, Pools, halves
from jleak.data.halves import is_private
from jleak.tree import stream

Sets = dict[str, Images]
"""Data sets by the names that cases give them."""


def loaded(cases: Sequence[Cohort]) -> Sets:
    """The data sets that these cases name.

    Raises:
      InputError: one cannot be read.
    """
    names = dict.fromkeys(name for case in cases for name in (case.dataset, case.public) if name)
    return {name: data.load(name) for name in names}


def pools(case: Cohort, sets: Sets) -> Pools:
    """The two sides of a case: two data sets, or the halves of one.

    Raises:
      InputError: the public data set has other shapes or classes than the victims', or one half is empty.

    >>> from jleak.audit.labels.case import LabelCase
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


def places(case: Cohort, sets: Sets) -> Int[np.ndarray, " size"]:
    """Where in the case's data set its private images stand.

    >>> from jleak.audit.labels.case import LabelCase
    >>> from jleak.data import digits
    >>> case, sets = LabelCase(attack="llg"), {"digits": digits()}
    >>> bool((digits().x[places(case, sets)] == pools(case, sets).private.x).all())
    True
    """
    images = sets[case.dataset]
    if case.public:
        return np.arange(images.size)
    return np.flatnonzero(is_private(stream(jax.random.key(case.seed), "halves"), images))
