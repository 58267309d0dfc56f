"""Whose records a measure finds most exposed: pointwise usable information, by record of the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jleak import data
from jleak.audit.results import compact, significant
from jleak.data import Images
from jleak.leakage.usable import Exposure, exposure, most_exposed
from jleak.leakage.usable.measure import ALL

TOP = 10
"""Records that are told."""


def arrays_of(
    pvi: Float[np.ndarray, "models sets tests"],
    picks: Int[np.ndarray, "tests n"],
    images: Images,
    places: Int[np.ndarray, " size"],
) -> dict[str, np.ndarray]:
    """How exposed each test record is, and the images of the `TOP` that all layers together expose most.

    A record's number is the mean PVI of the test batches that hold it (`jleak.leakage.usable.exposure`); in
    what order is decided by the median over models.

    Args:
      pvi: in bits, of each model, set of layers (the last is all) and test update.
      picks: the records of each test update, as positions among `images`.
      images: the clients'.
      places: where these stand in the data set.

    Returns:
      By name: `exposed/record`, the places in the data set, most exposed first; `exposed/label`;
      `exposed/batches`, how many test batches hold it; `exposed/bits` (models, sets, records);
      `exposed/images` of the first ones.

    >>> images = data.from_arrays(np.zeros((3, 2, 2, 1), np.uint8), [0, 1, 1], name="three")
    >>> pvi, picks = np.array([[[0.1, 0.2, 0.3]]]), np.array([[0], [2], [1]])
    >>> found = arrays_of(pvi, picks, images, np.array([4, 5, 6]))
    >>> found["exposed/record"].tolist(), found["exposed/bits"].tolist()
    ([5, 6, 4], [[[0.3, 0.2, 0.1]]])
    """
    each = [exposure(one, picks) for one in pvi]
    record, _, batches = each[0]
    bits = np.stack([one.score for one in each])
    ranked = most_exposed(Exposure(record, np.median(bits, 0), batches), layer=-1, top=len(record)).record
    order = np.searchsorted(record, ranked)  # `record` is sorted
    return {
        "exposed/record": places[ranked],
        "exposed/label": images.labels[ranked],
        "exposed/batches": batches[order],
        "exposed/bits": bits[..., order],
        "exposed/images": compact(data.pixels(images.x[ranked[:TOP]])),
    }


def told(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], class_names: Sequence[str]
) -> dict[str, Any]:
    """What a record says of them: how many test records there are, the middle one's bits, and the `TOP`.

    Of each of these its place in the data set and label, the median and quartiles over models of its bits by
    all layers together, in how many test batches it was, and the layer that alone gives most of it away.
    """
    bits = arrays["exposed/bits"]
    middle = np.median(bits, 0)
    low, median, high = (significant(of) for of in np.quantile(bits[:, -1, :TOP], (0.25, 0.5, 0.75), axis=0))
    top = [
        {
            "record": int(arrays["exposed/record"][i]),
            "label": class_names[arrays["exposed/label"][i]],
            "bits": {"median": median[i], "low": low[i], "high": high[i]},
            "batches": int(arrays["exposed/batches"][i]),
            "layer": [*names, ALL][int(middle[:-1, i].argmax())],
            "of_layer": significant(middle[:-1, i].max()[None])[0],
        }
        for i in range(len(median))
    ]
    return {"records": bits.shape[-1], "median": significant(np.median(middle[-1])[None])[0], "top": top}
