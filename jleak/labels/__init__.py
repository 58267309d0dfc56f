"""Label leakage: from a view to the labels of the client's batch.

Each factory is `(threat, *, ...) -> LabelAttack`, usable alone and as the label step of an image attack.
"""

from jleak.labels.idlg import idlg
from jleak.labels.step import LABELS, label_step

__all__ = ["LABELS", "idlg", "label_step"]
