"""Gradient inversion over feature domains: a generator's layers, one after the other."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jleak import distances, penalties, priors
from jleak.attacks.matching import matching
from jleak.check import number, whole
from jleak.labels import labels_first
from jleak.priors import Prior
from jleak.search import Search, Stage, descending, optimizer, schedule, staged
from jleak.spaces import Space, latent, layers
from jleak.types import LabelAttack, Threat, View


def gifd(
    threat: Threat,
    *,
    prior: str | Prior = "digits",
    steps: int = 4000,
    lr: float = 0.1,
    radius: float = 0.3,
    tv: float = 1e-4,
    l2: float = 1e-6,
    optim: str = "adam",
    labels: str | LabelAttack = "demix",
) -> Search:
    """Cosine distance and image priors, over latents and then over the features of layer after layer.

    min over h_k of  1 - cos(client(params, (x, y)), update) + tv TV(x) + l2 ||x||,  x = G_k(h_k, y),

    for k = 0 (latents), 1, ... K - 1: the stages of the generator, each from what the best features of the
    one before become. From k = 1 on, an image's features stay in an l1 ball around where they started. The
    steps are shared evenly. What has the lowest loss of all stages is returned.

    Source: Fang, Chen, Wang, Wang and Xia, "GIFD: A Generative Gradient Inversion Method with Feature Domain
    Optimization", ICCV 2023, algorithm 1; rates and weights of its reference code. Its radii are numbers for
    BigGAN and StyleGAN2 (1000 to 8000); here, as generators differ, a share of the features' own l1 norm.

    Args:
      threat: what the attacker knows.
      prior: the generator (`jleak.attacks.ggl`).
      steps: gradient evaluations of the victim model, in all stages.
      lr: highest learning rate of each stage.
      radius: of the balls, as a share of the mean l1 norm of the features at the start.
      tv, l2: weights of the image priors.
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: fewer steps than the generator has stages, a number below 0; an unknown
        name, joint labels, a prior that does not fit the model.
    """
    for name, value in {"lr": lr, "radius": radius, "tv": tv, "l2": l2}.items():
        number(name, value, least=0)
    found = priors.fitting(prior, threat.model)
    count = len(found.generator.stages)
    whole("steps", steps, least=count, hint="each stage of the generator needs one")
    each = [steps // count + (k < steps % count) for k in range(count)]

    def stage(k, space, labels):
        return matching(
            threat,
            space=space,
            distance=distances.cosine,
            penalty=lambda x, y, view, known: tv * penalties.total_variation(x) + l2 * penalties.l2_norm(x),
            engine=descending(optimizer(optim, schedule("cosine", lr, each[k], warmup=-(-each[k] // 20)))),
            steps=each[k],
            labels=labels,
        )

    def deeper(k):
        def make(before, view):
            space = further(found, k, before.best["x"], before.fixed["y"], view, radius)
            return stage(k, space, lambda key, view: before.fixed["y"])

        return Stage(make, each[k])

    space = latent(found.generator, threat.batch, regular="none", params=found.params)
    first = stage(0, space, labels_first("gifd", threat, labels))
    return staged(first, *(deeper(k) for k in range(1, count)))


def further(prior: Prior, k: int, h: PyTree, y: jax.Array, view: View, radius: jax.Array) -> Space:
    """The features that stage k takes, from what stage k - 1 makes of h, within a share of their l1 norm."""
    weights = prior.params if view.prior is None else view.prior
    h = prior.generator.stages[k - 1](weights, h, y)
    length = sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(h)) / len(y)
    return layers(prior.generator, k, h, radius=radius * length, params=prior.params)
