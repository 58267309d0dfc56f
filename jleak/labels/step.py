"""The label step of an image attack, by name."""

from jleak.check import one_of
from jleak.labels.idlg import idlg
from jleak.types import LabelAttack, Threat

LABELS = {"idlg": idlg}
"""name -> `threat -> LabelAttack`."""


def label_step(threat: Threat, labels: str | LabelAttack) -> LabelAttack | None:
    """The label attack that `labels` stands for; None where soft labels are optimised with the images.

    Args:
      threat: what the attacker knows.
      labels: a name of `LABELS`, `"joint"` (optimised along), `"auto"` (`idlg` for one image, joint for
        more), or a label attack.

    Raises:
      InputError: unknown name, or a label attack that cannot serve this threat.

    >>> label_step(None, "joint") is None
    True
    """
    if callable(labels):
        return labels
    one_of("label step", labels, ("auto", "joint", *LABELS))
    if labels == "auto":
        labels = "idlg" if threat.batch == 1 else "joint"
    return None if labels == "joint" else LABELS[labels](threat)
