"""The reconstructions of a victim against the truth."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.metrics import METRICS, best_constant, label_success, mse_features, pair, psnr
from jleak.types import Batch, Certificate, Model, Params, Reconstruction


class Score(NamedTuple):
    """How a victim's reconstruction compares with the truth.

    Attributes:
      numbers: by name.
      x: the images as compared: clipped to [0, 1], paired one to one with the truth.
      certificate: in the order of these images.
    """

    numbers: dict[str, Float[Array, ""]]
    x: Float[Array, "n h w c"]
    certificate: Certificate | None


def score(model: Model, params: Params, rec: Reconstruction, batch: Batch) -> Score:
    """One victim's score.

    Numbers are means over the victim's images. `constant_psnr` is what the best constant image reaches, an
    oracle's floor to compare with; `mse_features` is there where the model tells its features.
    """
    x = jnp.clip(rec.x, 0.0, 1.0)
    order = pair(x, batch.x)
    x = x[order]
    numbers = {name: entry.fn(x, batch.x).mean() for name, entry in METRICS.items()}
    if model.features is not None:
        numbers["mse_features"] = mse_features(model, params, x, batch.x).mean()
    numbers["label_success"] = label_success(rec.y, batch.y)
    numbers["constant_psnr"] = psnr(best_constant(batch.x), batch.x).mean()
    found = rec.certificate
    if found is not None:
        found = found._replace(status=found.status[order], consistency=found.consistency[order])
    return Score(numbers | {"loss": rec.loss}, x, found)
