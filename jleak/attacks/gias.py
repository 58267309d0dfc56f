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
    latent_steps: int = 500,
    lr: float = 0.03,
    weights_lr: float = 1e-3,
    tv: float = 1e-6,
    optim: str = "adam",
    labels: str | LabelAttack = "demix",
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
      latent_steps: how many of these go to the first.
      lr, weights_lr: learning rates of the two.
      tv: weight of the total variation.
      optim: any optimiser of `jleak.search.OPTIMIZERS`, in both.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: latent_steps < 1 or not below steps, a rate not above 0, tv below 0; an unknown name, joint
        labels, a prior that does not fit the model.
    """
    whole("latent_steps", latent_steps)
    whole("steps", steps, least=latent_steps + 1, hint="what latent_steps leaves goes to the weights")
    number("lr", lr, above=0)
    number("weights_lr", weights_lr, above=0)
    number("tv", tv, least=0)
    found = priors.fitting(prior, threat.model)
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
        return stage(space, weights_lr, steps - latent_steps, lambda key, view: before.fixed["y"])

    space = latent(found.generator, threat.batch, regular="none", params=found.params)
    return staged(stage(space, lr, latent_steps, infer), Stage(refine, steps - latent_steps))
