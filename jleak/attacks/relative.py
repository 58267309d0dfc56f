"""Every layer counts: matching each kernel of the update relative to its own size."""

from jleak import distances
from jleak.attacks.matching import matching
from jleak.check import number, whole
from jleak.labels import labels_first
from jleak.search import Search, descending, optimizer
from jleak.spaces import pixels
from jleak.types import LabelAttack, Threat


def relative(
    threat: Threat,
    *,
    steps: int = 2000,
    lr: float = 1.0,
    optim: str = "lbfgs",
    labels: str | LabelAttack = "demix",
) -> Search:
    """Distance of every kernel relative to its own, L-BFGS of one evaluation a step, from grey.

    min over x of  sum over kernels t of ||client(params, (x, y))_t - update_t||^2 / ||update_t||^2.

    Ours, for speed on smooth models: DLG's problem with the layers brought to one scale, a start without
    high frequencies (1/2 plus N(0, .01^2)), which images have little of and which the gradient shows worst,
    and the label first. `bench/papers/matching.py` has how long it takes beside the published ones.

    Args:
      threat: what the attacker knows.
      steps: evaluations.
      lr: the first trial's length (`jleak.search.lbfgs`).
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: steps < 1, lr not above 0, unknown optimiser, unknown or joint labels.
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    return matching(
        threat,
        space=pixels(threat.shape, mean=0.5, std=0.01, box=False),
        distance=distances.relative,
        engine=descending(optimizer(optim, lr)),
        steps=steps,
        labels=labels_first("relative", threat, labels),
    )
