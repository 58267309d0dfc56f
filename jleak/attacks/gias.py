"""Gradient inversion in alternative spaces: a generator's latents first, then its weights."""

from jleak import distances, penalties, priors
from jleak.attacks.matching import matching
from jleak.check import number, whole
from jleak.labels import labels_first
from jleak.priors import Prior
from jleak.search import Search, Stage, descending, optimizer, staged
from jleak.spaces import latent, weights
from jleak.types import LabelAttack, Threat


def gias(
    threat: Threat,
    *,
    prior: str | Prior = "digits",
    steps: int = 5500,
    share: float = 1 / 11,
    lr: float = 0.03,
    weights_lr: float = 1e-3,
    tv: float = 1e-6,
    optim: str = "adam",
    labels: str | LabelAttack = "auto",
) -> Search:
    """Cosine distance and total variation, over latents at first and then over weights of the generator.

    min over z, then over w, of  1 - cos(client(params, (G_w(z, y), y)), update) + tv TV(G_w(z, y)).

    Every image has weights of its own in the second stage, which starts from the best latents of the first.
    What has the lower loss is returned.

    Source: Jeon, Kim, Lee, Oh and Ok, "Gradient Inversion with Generative Image Prior", NeurIPS 2021,
    algorithm 1; budgets and rates of its reference code for images of 32x32 (500 steps, then 5000).

    Args:
      threat: what the attacker knows.
      prior: the generator (`jleak.attacks.ggl`).
      steps: gradient evaluations of the victim model, in both stages.
      share: of the steps in the first stage.
      lr, weights_lr: learning rates of the two.
      tv: weight of the total variation.
      optim: any optimiser of `jleak.search.OPTIMIZERS`, in both.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: steps < 2, a share outside (0, 1), a rate not above 0, tv below 0; an unknown name, joint
        labels, a prior that does not fit the model.
    """
    whole("steps", steps, least=2, hint="two stages need a step each")
    number("share", share, above=0, below=1)
    number("lr", lr, above=0)
    number("weights_lr", weights_lr, above=0)
    number("tv", tv, least=0)
    found = priors.fitting(prior, threat.model)
    early = early_steps(steps, share)
    infer = labels_first("gias", threat, labels)

    def stage(space, lr, steps, labels):
        return matching(
            threat,
            space=space,
            distance=distances.cosine,
            penalty=lambda x, y, view, known: tv * penalties.total_variation(x),
            engine=descending(optimizer(optim, lr)),
            steps=steps,
            labels=labels,
        )

    def refine(before, view):
        del view  # the space asks for the prior itself
        space = weights(found.generator, before.best["x"], params=found.params)
        return stage(space, weights_lr, steps - early, lambda key, view: before.fixed["y"])

    space = latent(found.generator, threat.batch, regular="none", params=found.params)
    return staged(stage(space, lr, early, infer), Stage(refine, steps - early))


def early_steps(steps: int, share: float) -> int:
    """The steps of a first stage, of which either has one at least."""
    return min(max(round(share * steps), 1), steps - 1)
