"""Label attacks by name, and the label step of an image attack."""

from collections.abc import Callable

from jleak.check import InputError, one_of
from jleak.labels.counting import labels_of
from jleak.labels.counts import counts
from jleak.labels.demix import demix
from jleak.labels.ilrg import ilrg
from jleak.labels.llg import llg, llg_plus, llg_star
from jleak.labels.simple import bias_sign, idlg, random, yin
from jleak.labels.trajectory import trajectory
from jleak.losses import bce, cross_entropy
from jleak.types import Key, LabelAttack, Labels, Threat, View

LABELS: dict[str, Callable[..., LabelAttack]] = {
    "bias_sign": bias_sign,
    "counts": counts,
    "demix": demix,
    "idlg": idlg,
    "ilrg": ilrg,
    "llg": llg,
    "llg_plus": llg_plus,
    "llg_star": llg_star,
    "random": random,
    "trajectory": trajectory,
    "yin": yin,
}
"""name -> `(threat, *, ...) -> LabelAttack`."""

LabelStep = Callable[[Key, View], Labels]


def label_step(threat: Threat, labels: str | LabelAttack) -> LabelStep | None:
    """The label step that `labels` stands for; None where soft labels are optimised with the images.

    Args:
      threat: what the attacker knows.
      labels: a name of `LABELS`, `"joint"` (optimised along), `"auto"` (`idlg` for one image and a loss that
        it can read, joint otherwise), or a label attack `(key, view) -> counts`.

    Returns:
      `(key, view) -> labels`, in the order of the classes.

    Raises:
      InputError: unknown name, or a label attack that cannot serve this threat.

    >>> label_step(None, "joint") is None
    True
    """
    if not callable(labels):
        one_of("label step", labels, ("auto", "joint", *LABELS))
        if labels == "auto":
            readable = threat.loss in (None, bce, cross_entropy)
            labels = "idlg" if threat.batch == 1 and readable else "joint"
        if labels == "joint":
            return None
        labels = LABELS[labels](threat)
    return lambda key, view: labels_of(labels(key, view), threat.batch)


def labels_first(attack: str, threat: Threat, labels: str | LabelAttack) -> LabelStep:
    """`label_step` for an attack that cannot optimise labels along.

    Raises:
      InputError: as `label_step`; joint labels.
    """
    step = label_step(threat, labels)
    if step is None:
        raise InputError(
            f"{attack} needs the labels first, got labels={labels!r}; use labels=demix, or another attack"
        )
    return step
