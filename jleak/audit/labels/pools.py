"""The server's auxiliary images."""

import jax
import numpy as np
from jaxtyping import Int

from jleak.audit.labels.case import LabelCase
from jleak.data import Images
from jleak.tree import stream


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
