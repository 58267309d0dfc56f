"""The measures by name, each `(*, settings) -> Measure`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jleak.check import InputError, number, one_of, whole
from jleak.leakage.jacobian import factor
from jleak.leakage.measure import Leak, Measure, Sample
from jleak.leakage.mixing import mixing as mixed
from jleak.leakage.mutual_information import ESTIMATORS, Estimate
from jleak.leakage.mutual_information.hierarchical import hierarchical
from jleak.leakage.mutual_information.jacobian import jacobian_gaussian, jacobian_lanczos
from jleak.leakage.sensitivity import sensitivity as sensitive
from jleak.leakage.subspace import subspace_distance as distance_between
from jleak.leakage.usable.measure import named, usable_information
from jleak.tree import stream

LINEARISED = {"jacobian_gaussian": jacobian_gaussian, "jacobian_lanczos": jacobian_lanczos}
"""Estimators of mutual information that look at one batch."""


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


def mutual_information(
    *,
    estimator: str = "jacobian_gaussian",
    sigma: float = 1e-4,
    components: int = 32,
    draws: int = 8,
) -> Measure:
    """What each layer tells of the images, at a resolution or to an estimator (`.mutual_information`).

    Args:
      estimator: `jacobian_gaussian` or `jacobian_lanczos`, which linearise the update at one batch; or one
        of `jleak.leakage.mutual_information.ESTIMATORS`, from pairs of an image and the update of its batch.
      sigma: the resolution of the former, in units of the update; for the latter, noise of that size is
        added to every number of a layer's row, be it an entry or one of a sketch.
      components: directions in which images are taken to vary, of the former.
      draws: updates from which the client's own randomness is measured, for the former.

    >>> mutual_information(sigma=0.1).unit, mutual_information(estimator="ksg").on
    ('nats', 'images')
    """
    one_of("estimator", estimator, [*LINEARISED, *ESTIMATORS])
    number("sigma", sigma, above=0, hint="without a resolution the information has no bound")
    whole("components", components)
    whole("draws", draws, least=2)
    if estimator in ESTIMATORS:
        return Measure("images", _from_pairs(ESTIMATORS[estimator], sigma), "nats", "total", "nats")

    def fn(key, subject, batch, known):
        whose = key, subject.model, subject.client, subject.params, batch
        found = LINEARISED[estimator](*whose, sigma=sigma, factor=known, draws=draws)
        layers = {"nats": found.layers, "increment": found.increments, "sigma": found.sigmas}
        of_one = {"sample": found.samples.mean(), "most": found.samples.max(), "mse": found.mse.mean()}
        return Leak(layers, {"total": found.total, **of_one})

    return Measure("batch", fn, "nats", "sample", "nats", lambda images: factor(images, components))


def _from_pairs(estimator: Callable[..., Estimate], sigma: float) -> Callable[..., Leak]:
    """What each layer tells of the first image of its batch, by an estimator from pairs."""

    def fn(key: Array, sample: Sample) -> Leak:
        x = sample.x[:, 0].reshape(len(sample.x), -1)
        keys = jax.random.split(stream(key, "noise"), len(sample.rows))
        noisy = [
            row + sigma * jax.random.normal(k, row.shape) for k, row in zip(keys, sample.rows, strict=True)
        ]
        found = hierarchical(stream(key, "estimates"), x, named(noisy), estimator=estimator)
        numbers = ("nats", "low", "high", "null", "cap")
        layers = {name: jnp.stack([getattr(one, name) for one in found.own.values()]) for name in numbers}
        layers["increment"] = jnp.stack(list(found.increments.values()))
        total = found.total
        return Leak(layers, {"total": total.nats} | {name: getattr(total, name) for name in numbers[1:]})

    return fn


def subspace_distance(*, k: int = 4, centred: bool = False, splits: int = 8) -> Measure:
    """How far apart updates with and without an attribute lie (`jleak.leakage.subspace`).

    The geodesic distance beyond what updates of one value have among each other. Of an attribute of more
    values, the first two.

    Args:
      k: dimensions of the subspaces.
      centred: whether the mean update of a value is left out.
      splits: halvings behind the null.

    >>> subspace_distance().layer
    'excess'
    """
    whole("k", k)
    whole("splits", splits)

    def fn(key, sample):
        sides = [sample.value == value for value in (0, 1)]
        if min(side.sum() for side in sides) < 2 * (k + centred):
            raise InputError(
                f"subspaces of k={k} dimensions need {2 * (k + centred)} updates of either value, got "
                f"{[int(side.sum()) for side in sides]}; use a smaller k or more updates"
            )
        found = [
            distance_between(
                key, *(row[side] for side in sides), k=min(k, row.shape[1]), centred=centred, splits=splits
            )
            for row in sample.rows
        ]
        parts = {
            "excess": [one.excess.geodesic for one in found],
            "distance": [one.across.geodesic for one in found],
            "null": [one.null.geodesic for one in found],
        }
        layers = {name: jnp.stack(numbers) for name, numbers in parts.items()}
        return Leak(layers, {"excess": layers["excess"].max()})

    return Measure("attribute", fn, "excess", "excess", "of a right angle")


MEASURES = {
    "mixing": mixing,
    "mutual_information": mutual_information,
    "sensitivity": sensitivity,
    "subspace_distance": subspace_distance,
    "usable_information": usable_information,
}
"""Name -> factory."""
