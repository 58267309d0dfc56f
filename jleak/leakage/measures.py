"""The measures by name, each `(*, settings) -> Measure`."""

import jax.numpy as jnp

from jleak.check import number, whole
from jleak.leakage.jacobian import factor
from jleak.leakage.measure import Leak, Measure
from jleak.leakage.mixing import mixing as mixed
from jleak.leakage.mutual_information.jacobian import jacobian_gaussian
from jleak.leakage.sensitivity import sensitivity as sensitive


def mixing() -> Measure:
    """How well a batch hides in the gradient of the classifier (`jleak.leakage.mixing`).

    >>> mixing().on
    'batch'
    """

    def fn(key, subject, batch, known):
        found = mixed(subject.model, subject.loss, subject.params, batch)
        return Leak({}, {"mu": found.mu.mean(), "condition": found.condition, "rank": found.rank})

    return Measure("batch", fn, "", "mu")


def sensitivity(*, probes: int = 16) -> Measure:
    """How much each layer moves when the images do (`jleak.leakage.sensitivity`).

    >>> sensitivity().layer
    'relative'
    """
    whole("probes", probes)

    def fn(key, subject, batch, known):
        found = sensitive(key, subject.model, subject.client, subject.params, batch, probes=probes)
        total = jnp.sqrt((found.frobenius**2).sum())
        return Leak(found._asdict(), {"frobenius": total, "relative": found.relative.max()})

    return Measure("batch", fn, "relative", "frobenius")


def mutual_information(*, sigma: float = 0.01, components: int = 32, draws: int = 8) -> Measure:
    """What each layer tells of the batch at a resolution (`jleak.leakage.mutual_information`).

    Args:
      sigma: the resolution, in units of the update.
      components: directions in which images are taken to vary.
      draws: updates from which the client's own randomness is measured.

    >>> mutual_information(sigma=0.1).unit
    'nats'
    """
    number("sigma", sigma, above=0, hint="without a resolution the information has no bound")
    whole("components", components)
    whole("draws", draws, least=2)

    def fn(key, subject, batch, known):
        found = jacobian_gaussian(
            key,
            subject.model,
            subject.client,
            subject.params,
            batch,
            sigma=sigma,
            factor=known,
            draws=draws,
        )
        layers = {"nats": found.layers, "increment": found.increments, "sigma": found.sigmas}
        of_one = {"sample": found.samples.mean(), "most": found.samples.max()}
        return Leak(layers, {"total": found.total, **of_one})

    return Measure("batch", fn, "nats", "sample", "nats", lambda images: factor(images, components))


MEASURES = {
    "mixing": mixing,
    "mutual_information": mutual_information,
    "sensitivity": sensitivity,
}
