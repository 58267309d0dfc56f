"""What is computed on the device for a measure: of one batch after the other, or of many updates at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.audit import lanes
from jleak.audit.lanes import Layout
from jleak.audit.measures.case import MeasureCase
from jleak.audit.parts import Floats, client_of, defense_of, loss_of, threat_of
from jleak.leakage.layers import by_layer, layer_names, layer_sizes
from jleak.leakage.measure import Kernels, Leak, Measure, Sample, Subject
from jleak.leakage.projection import Plan, plan, sketched
from jleak.leakage.usable import spatial_kernels
from jleak.leakage.usable.protocols import Draws
from jleak.types import Key, Model, Params


def subject(case: MeasureCase, model: Model, params: Params, floats: Floats) -> Subject:
    """Whose leakage is measured: one model, one kind of client."""
    plain, loss = client_of(case, model, floats), loss_of(case)
    threat = replace(threat_of(case, plain, model, case.batch, floats), loss=loss)
    return Subject(model, params, defense_of(case, floats)(plain), loss, threat)


def of_batches(case: MeasureCase, model: Model, measure: Measure, where: Layout) -> Callable:
    """`(params, pool, known, floats, lanes) -> Leak` of every slot.

    Params are those of all models; known is what the measure has prepared; a lane is (the number of its
    model, its key, its picks from the pool).
    """

    def program(params, pool, known, floats, slots):
        def one(shared, lane):
            params, pool, known, floats = shared
            number, key, picks = lane
            own = jax.tree.map(lambda leaf: leaf[number], params)
            return measure.fn(key, subject(case, model, own, floats), pool.batch(picks), known)

        return lanes.over(where, one, (params, pool, known, floats), slots)

    return program


def updates(case: MeasureCase, model: Model, kernels: Kernels, where: Layout) -> Callable:
    """`(params, pool, key, floats, lanes) -> rows`: each layer's, of every slot; lanes as of `of_batches`.

    A layer longer than `case.width` is sketched, by the key, alike in all updates; a shorter one, and one
    whose kernel is looked at as such, is as it is.
    """
    names, sizes = layer_names(model), layer_sizes(model)

    def program(params, pool, key, floats, slots):
        def one(shared, lane):
            params, pool, by, floats = shared
            number, own_key, picks = lane
            own = jax.tree.map(lambda leaf: leaf[number], params)
            update = subject(case, model, own, floats).client(own_key, own, pool.batch(picks))
            return shortened(by_layer(names, update), by, case.width)

        by = plans(key, sizes, case.width, kernels)
        return lanes.over(where, one, (params, pool, by, floats), slots)

    return program


def kernels_of(measure: Measure, model: Model) -> Kernels:
    """The model's kernels, for a measure that looks at them; else none."""
    return tuple(spatial_kernels(model).values()) if measure.kernels else ()


def lengths(sizes: Sequence[int], width: int, kernels: Kernels = ()) -> tuple[int, ...]:
    """How many numbers a row of each layer has: at most `width`, but all of a kernel looked at as such.

    >>> lengths((40, 9, 50), 16, ((3, 3, 1, 4), None, None))
    (40, 9, 16)
    """
    whole = kernels or (None,) * len(sizes)
    return tuple(size if shape else min(size, width) for size, shape in zip(sizes, whole, strict=True))


def plans(key: Key, sizes: Sequence[int], width: int, kernels: Kernels = ()) -> tuple[Plan | None, ...]:
    """How layers of these sizes are sketched to `width`, a key for each, by its place; None: not at all."""
    return tuple(
        plan(jax.random.fold_in(key, i), size, width) if size > length else None
        for i, (size, length) in enumerate(zip(sizes, lengths(sizes, width, kernels), strict=True))
    )


def shortened(
    layers: tuple[Float[Array, " p"], ...], by: tuple[Plan | None, ...], width: int
) -> tuple[Float[Array, " k"], ...]:
    """Each layer as it is, or sketched.

    >>> [len(row) for row in shortened((jnp.ones(9), jnp.ones(3)), plans(jax.random.key(0), (9, 3), 4), 4)]
    [4, 3]
    """
    return tuple(row if of is None else sketched(row, of, width) for row, of in zip(layers, by, strict=True))


def of_updates(measure: Measure, drawn: Draws, kernels: Kernels) -> Callable:
    """`(keys, rows, x) -> Leak` of each model; which images the rows are of, x, all models share."""

    def program(keys, rows, x):
        def one(args):
            key, rows = args
            return measure.fn(key, sample(drawn, rows, x, kernels))

        return lax.map(one, (keys, rows))

    return program


def sample(
    drawn: Draws, rows: tuple[Float[Array, "m k"], ...], x: Float[Array, "m n h w c"], kernels: Kernels = ()
) -> Sample:
    """One model's updates of these batches."""
    return Sample(rows, x, drawn.value, drawn.split, drawn.sets, kernels)


def one_after_the_other(
    measure: Measure, drawn: Draws, kernels: Kernels, keys: Key, rows: tuple, x: Array
) -> Leak:
    """What `of_updates` gives, for a measure that JAX cannot compile."""
    found = [
        measure.fn(key, sample(drawn, jax.tree.map(lambda leaf, i=i: leaf[i], rows), x, kernels))
        for i, key in enumerate(keys)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
