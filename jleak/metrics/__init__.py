"""How much leaked: reconstructions, labels and updates against the truth.

Only here, in clients and in the audit does the truth appear; no attack can see it.
"""

from typing import NamedTuple

from jleak.metrics.avd import avd, avd_2022, avd_match, avd_rank, variation
from jleak.metrics.features import mse_features
from jleak.metrics.gmsd import ms_gmsd
from jleak.metrics.image import best_constant, mse, mse_pm1, psnr, psnr_pm1, ssim
from jleak.metrics.labels import hard, label_success
from jleak.metrics.pairing import pair
from jleak.metrics.update import snr
from jleak.types import Metric

__all__ = [
    "METRICS",
    "Entry",
    "avd",
    "avd_2022",
    "avd_match",
    "avd_rank",
    "best_constant",
    "hard",
    "label_success",
    "ms_gmsd",
    "mse",
    "mse_features",
    "mse_pm1",
    "pair",
    "psnr",
    "psnr_pm1",
    "snr",
    "ssim",
    "variation",
]


class Entry(NamedTuple):
    """An image metric and how to read it.

    Attributes:
      fn: `(x, truth) -> (n,)`, one number an image.
      higher_is_better: whether a larger number means that more leaked.
      unit: "dB", or "" where the number has none.
    """

    fn: Metric
    higher_is_better: bool
    unit: str


METRICS: dict[str, Entry] = {
    "avd": Entry(avd, higher_is_better=False, unit=""),
    "ms_gmsd": Entry(ms_gmsd, higher_is_better=False, unit=""),
    "mse": Entry(mse, higher_is_better=False, unit=""),
    "mse_pm1": Entry(mse_pm1, higher_is_better=False, unit=""),
    "psnr": Entry(psnr, higher_is_better=True, unit="dB"),
    "psnr_pm1": Entry(psnr_pm1, higher_is_better=True, unit="dB"),
    "ssim": Entry(ssim, higher_is_better=True, unit=""),
}
"""The image metrics by name."""
