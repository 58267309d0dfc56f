"""Whose records give most away: pointwise information of updates, carried back to what they were made of."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jleak.check import InputError, whole


class Exposure(NamedTuple):
    """The records of the test batches.

    Attributes:
      record: their positions in the data set.
      score: the mean PVI of the batches that hold the record, layer by layer, in nats.
      batches: how many do.
    """

    record: Int[np.ndarray, " r"]
    score: Float[np.ndarray, "layers r"]
    batches: Int[np.ndarray, " r"]


def exposure(pvi: Float[np.ndarray, "layers tests"], picks: Int[np.ndarray, "tests n"]) -> Exposure:
    """How exposed each record is: the mean PVI of the test batches that it is in.

    PVI is of Ethayarajh et al., ICML 2022; the mean over batches is jleak's own. In batches of one it is the
    record's own PVI; in larger ones the others' share in it averages out with the number of batches.

    Args:
      pvi: of the test batches (`Usable.pvi`).
      picks: their records (`Draws.picks[split == 2]`).

    Raises:
      InputError: not as many batches as PVIs.

    >>> found = exposure(np.array([[1.0, 3.0]]), np.array([[4, 5], [5, 6]]))
    >>> found.record.tolist(), found.score.tolist(), found.batches.tolist()
    ([4, 5, 6], [[1.0, 2.0, 3.0]], [1, 2, 1])
    """
    pvi, picks = np.asarray(pvi, float), np.asarray(picks)
    if pvi.ndim != 2 or picks.ndim != 2 or pvi.shape[1] != len(picks):
        raise InputError(
            f"picks must have a row of records a test batch, got {picks.shape} for pvi {pvi.shape}; take "
            "picks[split == 2]"
        )
    record, place = np.unique(picks, return_inverse=True)
    place = place.reshape(picks.shape)
    batches = np.bincount(place.ravel(), minlength=len(record))
    sums = [
        np.bincount(place.ravel(), np.repeat(layer, picks.shape[1]), minlength=len(record)) for layer in pvi
    ]
    return Exposure(record, np.stack(sums) / batches, batches)


def most_exposed(found: Exposure, *, layer: int, top: int = 10) -> Exposure:
    """The `top` records that one layer's updates expose most, most exposed first.

    Raises:
      InputError: `top` is not a whole number >= 1, or there is no such layer.

    >>> found = exposure(np.array([[1.0, 3.0]]), np.array([[4, 5], [5, 6]]))
    >>> most_exposed(found, layer=0, top=2).record.tolist()
    [6, 5]
    """
    whole("top", top)
    if not -len(found.score) <= layer < len(found.score):
        raise InputError(f"layer must be < {len(found.score)}, the number of layers, got layer={layer}")
    order = np.argsort(-found.score[layer], kind="stable")[:top]
    return Exposure(found.record[order], found.score[:, order], found.batches[order])
