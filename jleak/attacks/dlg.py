"""Deep Leakage from Gradients, and its improvement by an inferred label."""

from jleak import distances
from jleak.attacks.matching import matching
from jleak.check import number, whole
from jleak.labels import label_step
from jleak.search import Search, descending, optimizer
from jleak.spaces import pixels
from jleak.types import LabelAttack, Threat


def dlg(
    threat: Threat,
    *,
    steps: int = 6000,
    lr: float = 1.0,
    optim: str = "lbfgs",
    labels: str | LabelAttack = "joint",
) -> Search:
    """DLG: images and soft labels from N(0, 1), squared l2 distance of the updates, L-BFGS.

    Source: Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019, algorithm 1. The L-BFGS of its
    reference code takes 300 outer steps of up to 20 evaluations with a fixed step of 1; here each step is one
    evaluation, with backtracking (`jleak.search.lbfgs`), which does not blow up, and the budget is as large.

    Args:
      threat: what the attacker knows.
      steps: evaluations.
      lr: learning rate (for `lbfgs` the first trial's length).
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      labels: the label step (`jleak.labels.label_step`).

    Raises:
      InputError: steps < 1, lr not above 0, unknown optimiser.
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    return matching(
        threat,
        space=pixels(threat.shape, mean=0.0, std=1.0, box=False),
        distance=distances.l2,
        engine=descending(optimizer(optim, lr)),
        steps=steps,
        labels=label_step(threat, labels),
    )


def idlg(threat: Threat, *, steps: int = 6000, lr: float = 1.0, optim: str = "lbfgs") -> Search:
    """iDLG: the label first, in closed form, then DLG on the image alone.

    Source: Zhao, Mopuri and Bilen, "iDLG: Improved Deep Leakage from Gradients", arXiv 2001.02610.
    """
    return dlg(threat, steps=steps, lr=lr, optim=optim, labels="idlg")
