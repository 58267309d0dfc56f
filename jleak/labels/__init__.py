"""Label leakage: from a view to the counts of the labels in the client's batch.

Each factory is `(threat, *, ...) -> LabelAttack`, usable alone and as the label step of an image attack.
"""

from jleak.labels.counting import apportion, counts_of, labels_of
from jleak.labels.counts import counts
from jleak.labels.demix import demix
from jleak.labels.head import imbalance
from jleak.labels.ilrg import ilrg
from jleak.labels.llg import llg, llg_plus, llg_star
from jleak.labels.simple import bias_sign, idlg, random, yin
from jleak.labels.step import LABELS, label_step

__all__ = [
    "LABELS",
    "apportion",
    "bias_sign",
    "counts",
    "counts_of",
    "demix",
    "idlg",
    "ilrg",
    "imbalance",
    "label_step",
    "labels_of",
    "llg",
    "llg_plus",
    "llg_star",
    "random",
    "yin",
]
