"""Label leakage: from a view to the counts of the labels in the client's batch.

Each factory is `(threat, *, ...) -> LabelAttack`, usable alone and as the label step of an image attack.
All but `random` refuse an update whose classifier layer is absent, of other classes than the model's, or
(where its values are known when this is traced) all zeros or not finite.
"""

from jleak.labels.counting import apportion, counts_of, labels_of
from jleak.labels.counts import counts
from jleak.labels.demix import demix
from jleak.labels.head import finite, imbalance, masked
from jleak.labels.ilrg import ilrg
from jleak.labels.llg import llg, llg_plus, llg_star
from jleak.labels.noise import NoiseLevel, noise_level
from jleak.labels.simple import bias_sign, idlg, random, yin
from jleak.labels.size import Size, batch_size, unknown
from jleak.labels.step import LABELS, label_step, labels_first
from jleak.labels.trajectory import trajectory

__all__ = [
    "LABELS",
    "NoiseLevel",
    "Size",
    "apportion",
    "batch_size",
    "bias_sign",
    "counts",
    "counts_of",
    "demix",
    "finite",
    "idlg",
    "ilrg",
    "imbalance",
    "label_step",
    "labels_first",
    "labels_of",
    "llg",
    "llg_plus",
    "llg_star",
    "masked",
    "noise_level",
    "random",
    "trajectory",
    "unknown",
    "yin",
]
