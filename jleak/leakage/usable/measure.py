"""Usable information as a measure that a run can ask for: probes of a family, layer by layer."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak.check import InputError, one_of, whole
from jleak.leakage.layers import Rows
from jleak.leakage.measure import Kernels, Leak, Measure, Sample
from jleak.leakage.usable import FAMILIES, Family, Usable, conv, joined, mlp, narrowed, ridge, usable
from jleak.leakage.usable.information import NATS_A_BIT
from jleak.metrics.attributes import accuracy, auc, balanced_accuracy
from jleak.tree import stream
from jleak.types import Key

ALL = "all"
"""The name of all layers together, among those of the single ones."""

OF = ("images", "attribute")
"""What information can be of."""


def usable_information(
    *, of: str = "attribute", family: str = "mlp", seeds: int = 1, permutations: int = 10
) -> Measure:
    """What a probe learns from each layer, of an attribute or of the images (`jleak.leakage.usable`).

    With it goes what it learns of each test update (`Leak.pvi`), so that the most exposed records are known.

    Args:
      of: `attribute`, whose probes are of the family; or `images`, where an inverter is learnt by ridge
        regression (and the other settings do not count): of a batch, its first image.
      family: of `jleak.leakage.usable.FAMILIES`. `conv` looks at whole gradients of kernels that slide over
        an image, filter by filter; layers without such a kernel, and all layers together, get `mlp` probes.
      seeds: trainings of each probe.
      permutations: trainings on permuted values, for what a layer that says nothing would reach.

    Raises:
      InputError: a setting out of bounds; later, `conv` for a model without a kernel that slides.

    >>> usable_information(of="images").unit, usable_information().whole
    ('bits a pixel', 'ratio')
    >>> usable_information(family="conv").note(("conv0", "head"), ((3, 3, 1, 4), None))
    'conv probes for conv0; mlp ones for head and all layers together, which have no spatial kernel'
    """
    one_of("of", of, OF)
    one_of("family", family, FAMILIES)
    whole("seeds", seeds)
    whole("permutations", permutations, least=0)
    if of == "images":
        return Measure("images", _inverted, "information", "information", "bits a pixel")

    def fn(key, sample):
        def learnt(key: Key, rows: Rows, family: Family) -> Usable:
            settings = {"family": family, "seeds": seeds, "permutations": permutations}
            return usable(key, rows, sample.value, sample.split, sets=sample.sets, **settings)

        rows = together(key, sample)
        found = _by_kernels(key, rows, sample, learnt) if by_kernel else learnt(key, rows, FAMILIES[family]())
        numbers = {n: getattr(found, n) for n in ("ratio", "bits", "raw", "low", "high", "null", "p")}
        return split_off(numbers | _rated(found.probabilities, sample), found.pvi)

    by_kernel, traced = family == "conv", family != "boosted_trees"
    settings = {"kernels": True, "note": _whose} if by_kernel else {}
    return Measure("attribute", fn, "ratio", "ratio", "share", traced=traced, **settings)


def _by_kernels(key: Key, rows: Rows, sample: Sample, learnt: Callable[..., Usable]) -> Usable:
    """`conv` probes where a layer has a spatial kernel, `mlp` ones elsewhere; layers in their order."""
    shapes = {name: shape for name, shape in zip(rows, sample.kernels, strict=False) if shape is not None}
    if not shapes:
        raise InputError(
            "family 'conv' must have a layer whose kernel slides over an image (height, width, inputs, "
            "outputs), and this model has none; take family=mlp"
        )
    others = [name for name in rows if name not in shapes]
    of_kernels = learnt(stream(key, "kernels"), {name: rows[name] for name in shapes}, conv(shapes=shapes))
    of_others = learnt(stream(key, "others"), {name: rows[name] for name in others}, mlp())
    here = [*shapes, *others]
    order = np.array([here.index(name) for name in rows])

    def merged(one: Array, other: Array) -> Array:
        return jnp.concatenate([one, other])[order] if one.ndim else one  # a scalar is of the attribute alone

    return jax.tree.map(merged, of_kernels, of_others)


def _whose(names: Sequence[str], kernels: Kernels) -> str:
    """Which layers `conv` probes look at, and which `mlp` ones."""
    spatial = [name for name, shape in zip(names, kernels, strict=True) if shape is not None]
    others = [name for name in names if name not in spatial]
    rest = " and ".join(filter(None, [", ".join(others), "all layers together"]))
    return f"conv probes for {', '.join(spatial)}; mlp ones for {rest}, which have no spatial kernel"


def _rated(probabilities: Float[Array, "sets tests values"], sample: Sample) -> dict[str, Array]:
    """How often the probes are right about the test updates; `auc` of two values alone."""
    true = jnp.asarray(sample.value[sample.split == 2])
    values = probabilities.shape[-1]
    guess = probabilities.argmax(-1)
    rated = {
        "accuracy": jnp.stack([accuracy(one, true).value for one in guess]),
        "balanced": jnp.stack([balanced_accuracy(one, true, classes=values).value for one in guess]),
    }
    if values == 2:
        areas = [auc(one[:, 1], true) for one in probabilities]
        for name, part in zip(("auc", "auc_low", "auc_high"), zip(*areas, strict=True), strict=True):
            rated[name] = jnp.stack(part)
    return rated


def _inverted(key: Key, sample: Sample) -> Leak:
    found = ridge(together(key, sample), sample.x[:, 0], sample.split)
    numbers = {"information": found.bits_per_pixel, "bits": found.bits, "mse": found.mse}
    return split_off(numbers, found.pvi)


def named(rows: Sequence[Array]) -> Rows:
    """Layers by number, which sort as they are."""
    return {f"{i:04d}": row for i, row in enumerate(rows)}


def together(key: Key, sample: Sample) -> Rows:
    """The layers, and last all of them side by side, the whole gradients of kernels sketched."""
    rows = named(sample.rows)
    long = {name: rows[name] for name, shape in zip(rows, sample.kernels, strict=False) if shape is not None}
    short = narrowed(stream(key, "narrowed"), long, sample.split) if long else {}
    return {**rows, ALL: joined(rows | short, sample.split)}


def split_off(numbers: dict[str, Float[Array, " sets"]], pvi: Float[Array, "sets tests"]) -> Leak:
    """The numbers of the layers, and those of all of them together, which come last; and PVI, from nats."""
    return Leak(
        {name: values[:-1] for name, values in numbers.items()},
        {name: values[-1] for name, values in numbers.items()},
        pvi / NATS_A_BIT,
    )
