"""Generative Gradient Leakage: the generator's image whose update matches the defended one."""

from jleak import distances, priors
from jleak.attacks.matching import matching
from jleak.check import one_of, whole
from jleak.labels import label_step
from jleak.priors import Prior
from jleak.search import STRATEGIES, Search, budgeted
from jleak.spaces import latent
from jleak.types import LabelAttack, Threat

DISTANCES = {"l2": distances.mean_l2, "cosine": distances.cosine}


def ggl(
    threat: Threat,
    *,
    prior: str | Prior = "digits",
    evaluations: int = 2_500,
    optim: str = "adam",
    population: int = 20,
    chunk: int = 10,
    lr: float = 0.1,
    distance: str = "l2",
    regular: str = "kl",
    weight: float = 0.1,
    bound: str = "none",
    labels: str | LabelAttack = "idlg",
) -> Search:
    """Searches a generator's latents for the image whose update, defended alike, matches the one observed.

    min over z of  D(client(params, (G(z, y), y)), update) + weight R(z).

    D1 is the mean over tensors of the squared distance, D2 the cosine distance; R1 holds the entries of a
    latent to mean 0 and variance 1, R2 its length to theirs (`jleak.spaces.latent`). The client is the one
    that the attacker believes in: a defended one is GGL's adaptive attack.

    Source: Li, Zhang, Liu and Liu, "Auditing Privacy Defenses in Federated Learning via Generative Gradient
    Leakage", CVPR 2022, equations 3 to 6: D1 + R1 with weight 0.1, the best of its table 1, and the label by
    row sum. It searches with CMA-ES from z = 0, 800 rounds of 50 on faces (500 in its code):
    `optim="cma_es", evaluations=25_000, population=50`. The defaults here are Adam from a random latent and
    its 2,500 steps: its table 2 has Adam ahead through a shallow generator of faces (CMA-ES through BigGAN,
    where the start decides), and through three such generators here Adam needed a quarter of the evaluations
    of any evolution strategy at most (bench/NOTES.md, "Which optimiser"). `jleak bench-optimizers` tells for
    a prior of one's own.

    Args:
      threat: what the attacker knows.
      prior: the generator: a bundled one, a file of `jleak train-prior` (`jleak.priors.load`), or a `Prior`.
        Weights in `View.prior` come before its own.
      evaluations: the budget, in gradient evaluations of the victim model.
      optim: any optimiser of `jleak.search.ENGINES`.
      population: candidates of a step, for those that have several.
      chunk: how many of these a device evaluates at once; on a GPU or TPU, all.
      lr: learning rate, of those that have one.
      distance: D1 `l2` or D2 `cosine`.
      regular, weight: R1 `kl`, R2 `norm` or `none`, and its weight.
      bound: of the latents: `none`, `tanh` or `box`.
      labels: the label step (`jleak.labels.label_step`).

    Raises:
      InputError: an unknown name; a number out of bounds; a prior that makes images of another shape or other
        classes than the model's.
    """
    whole("evaluations", evaluations)
    whole("chunk", chunk)
    one_of("distance", distance, DISTANCES)
    found = priors.fitting(prior, threat.model)
    engine, steps = budgeted(
        optim, evaluations // threat.local_steps, population=population, chunk=chunk, lr=lr
    )
    return matching(
        threat,
        space=latent(
            found.generator,
            threat.batch,
            start="zeros" if optim.partition("+")[0] in STRATEGIES else "normal",
            bound=bound,
            regular=regular,
            weight=weight,
            params=found.params,
        ),
        distance=DISTANCES[distance],
        engine=engine,
        steps=steps,
        labels=label_step(threat, labels),
    )
