"""Inverting Gradients."""

from jleak import distances, penalties
from jleak.attacks.matching import matching
from jleak.check import number, whole
from jleak.labels import label_step
from jleak.search import Search, optimizer, step_decay
from jleak.spaces import pixels
from jleak.types import LabelAttack, Threat


def inverting(
    threat: Threat,
    *,
    steps: int = 4800,
    lr: float = 0.1,
    tv: float = 1e-4,
    optim: str = "adam",
    signed: bool = True,
    labels: str | LabelAttack = "auto",
) -> Search:
    """Cosine distance and total variation, minimised by Adam on the sign of the gradient.

    min over x in [0, 1] of  1 - cos(client(params, (x, y)), update) + tv * TV(x).

    Source: Geiping, Bauermeister, Droege and Moeller, "Inverting Gradients", NeurIPS 2020, equation 4;
    defaults of its reference code (4,800 steps, step decay at 3/8, 5/8 and 7/8, box constraint; tv 1e-4 as
    its command line). The start is N(1/2, 1/4^2), which is N(0, 1) in normalised pixels.

    Args:
      threat: what the attacker knows.
      steps: optimiser steps; each is one gradient evaluation of the victim model.
      lr: learning rate at the start.
      tv: weight of the total variation.
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      signed: whether the optimiser sees only the gradient's sign.
      labels: the label step (`jleak.labels.label_step`).

    Raises:
      InputError: steps < 1, lr not above 0, tv below 0, unknown optimiser.
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    number("tv", tv, least=0)
    return matching(
        threat,
        space=pixels(threat.shape, mean=0.5, std=0.25, box=True),
        distance=distances.cosine,
        penalty=lambda x: tv * penalties.total_variation(x),
        optimizer=optimizer(optim, step_decay(lr, steps), sign="hard" if signed else "none"),
        steps=steps,
        labels=label_step(threat, labels),
    )
