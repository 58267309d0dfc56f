"""Inverting Gradients, and its authors' tuned form."""

from jleak import distances, penalties
from jleak.attacks.matching import matching
from jleak.attacks.priors import demixed, feature_match, held
from jleak.check import number, one_of, whole
from jleak.labels import label_step
from jleak.search import Search, descending, optimizer, schedule
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
    start: str = "normal",
    decay: str = "step_decay",
    warmup: int = 0,
    tensors: str = "all",
    weights: str = "equal",
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
      start: where the images start (`jleak.spaces.STARTS`).
      decay, warmup: the learning rate over the steps (`jleak.search.schedule`).
      tensors: which of the update are matched: all, first:K, last:K or top:K (`jleak.distances.selected`).
      weights: theirs: equal, linear or exp, favouring those near the image (`jleak.distances.weighted`).
      labels: the label step (`jleak.labels.label_step`).

    Raises:
      InputError: steps < 1, lr not above 0, tv below 0; an unknown name.
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    number("tv", tv, least=0)
    plain = (tensors, weights) == ("all", "equal")
    order = None if plain else distances.tensor_order(threat.model)
    distance = distances.selected(distances.cosine, tensors=tensors, order=order)
    return matching(
        threat,
        space=pixels(threat.shape, mean=0.5, std=0.25, box=True, start=start),
        distance=distances.weighted(distance, weights=weights, order=order),
        penalty=lambda x, y, view, known: tv * penalties.total_variation(x),
        engine=descending(
            optimizer(optim, schedule(decay, lr, steps, warmup=warmup), sign="hard" if signed else "none")
        ),
        steps=steps,
        labels=label_step(threat, labels),
    )


def inverting_tuned(
    threat: Threat,
    *,
    steps: int = 24_000,
    lr: float = 0.1,
    tv: float = 0.1,
    features: float = 0.1,
    targets: str = "ratio",
    warmup: int = 50,
    optim: str = "adam",
    labels: str | LabelAttack = "auto",
) -> Search:
    """Inverting Gradients as its authors tuned it later: `modern` in breaching.

    min over x in [0, 1] of  1 - cos(client(params, (x, y)), update) + tv * TV2(x) + features * F(x, y),
    with Adam on a soft sign of the gradient that hardens over the steps, warm-up and a cosine decay, from a
    patterned start. TV2 is isotropic with colour opponents; F holds the features of every image to what the
    update says of its label. The optimiser sees a *soft* sign throughout (`jleak.search.soft_sign`).

    Source: Geiping et al., breaching, `modern` (24,000 steps, TV 0.1 with exponents 2 and 1/2 and double
    opponents, features 0.1, cosine decay, 50 steps of warm-up, patterned-4 start). There images are
    normalised, so its weights are not quite these.

    Args:
      threat: what the attacker knows; its model must tell its features and have a bias in its classifier,
        unless `features=0`.
      steps, lr, optim, labels: as `inverting`.
      tv: weight of the total variation.
      features: weight of the feature term.
      targets: what features are held to: `ratio` (theirs), or `demixing` (ours): for distinct labels the
        features themselves (`jleak.attacks.priors.demixed`); it needs labels, granted or of a label attack.
      warmup: steps in which the learning rate rises.

    Raises:
      InputError: steps < 1, lr not above 0, a weight below 0, an unknown name, a model without features.
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    number("tv", tv, least=0)
    number("features", features, least=0)
    one_of("targets", targets, ("ratio", "demixing"))
    match = feature_match(threat.model)

    def penalty(x, y, view, known):
        rough = penalties.total_variation_powered(x, inner=2.0, outer=0.5, double_opponents=True)
        if known is None:
            return tv * rough + features * match(view.params, x, y, view.update)
        return tv * rough + features * held(threat.model, view.params, x, *known)

    return matching(
        threat,
        space=pixels(threat.shape, mean=0.5, std=0.25, box=True, start="patterned"),
        distance=distances.cosine,
        penalty=penalty,
        known=demixed(threat) if targets == "demixing" else None,
        engine=descending(
            optimizer(optim, schedule("cosine", lr, steps, warmup=warmup), sign="soft", steps=steps)
        ),
        steps=steps,
        labels=label_step(threat, labels),
    )
