"""One case of a measure from its seed to its record: models, clients, measure."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from jleak import catalog, data
from jleak.audit import lanes
from jleak.audit.cohort.pools import Sets, places, pools
from jleak.audit.cohort.setting import DRAWN
from jleak.audit.cohort.stages import Memory, Sides, judged, keys, keys_each, of, placed, shaping, trained
from jleak.audit.measures import exposed, programs
from jleak.audit.measures.case import MeasureCase
from jleak.audit.measures.recovery import ENTRIES
from jleak.audit.parts import floats_of, model_of, split
from jleak.audit.pieces import Tell
from jleak.audit.programs import in_slots
from jleak.audit.results import device, significant, versions
from jleak.audit.store import Record
from jleak.check import InputError
from jleak.data import Images
from jleak.leakage.layers import layer_names, layer_sizes
from jleak.leakage.measure import ON, Leak, Measure
from jleak.leakage.usable.protocols import Draws, batches, draws
from jleak.tree import stream
from jleak.types import Key, Model, Params

KNOWN = 2000
"""Public images from which a measure learns how images vary, at most."""

NEAR = 0.9
"""Of its cap, from where an estimate only bounds from below."""

SHAPED = ("loss_fn", "client", "client_args", "batch", "defense", "defense_args")
"""What shapes a client's program, besides its model."""


class Found(NamedTuple):
    """What a measure found of all models, how long it took, and which updates it learnt from, if any."""

    leak: Leak
    seconds: float
    drawn: Draws | None = None


def trial(case: MeasureCase, sets: Sets, memory: Memory, tell: Tell) -> tuple[Record, dict[str, np.ndarray]]:
    """Runs one case; its record, and its numbers as arrays.

    The record: `kind`, the case's fields, `status` and

    - `names`, `sizes`: the layers, input first, and how many entries each has;
    - `layers`, `whole`: of each of the measure's numbers the median and quartiles over models and batches,
      a list a layer, or one;
    - `accuracy`: of the trained models on private images, the mean; an oracle's number, null for untrained;
    - `exposed`: the records that give most away (`.exposed.told`), where the measure knows them; else null;
    - `note`: what is to be said beside the numbers;
    - `seconds` of the measure, `compile_seconds`, `device`, `versions`.

    Arrays: each number by name, `layers/NAME` (models, ..., layers) and `whole/NAME` (models, ...);
    those of the most exposed records (`.exposed.arrays_of`).
    """
    before = memory.programs.seconds
    sides = memory.last("sides", of(case, *DRAWN), lambda: placed(pools(case, sets)))
    model = model_of(case, sides.pools.private.shape, sides.pools.private.classes)
    stage = trained(case, model, sides, memory, tell)
    measure = measure_of(case)
    run = of_batches if measure.on == "batch" else of_updates
    leak, seconds, drawn = run(case, model, measure, sides, stage.params, memory)
    arrays = {
        f"{part}/{name}": np.asarray(values)
        for part, numbers in (("layers", leak.layers), ("whole", leak.whole))
        for name, values in numbers.items()
    }
    names, shown = layer_names(model), {}
    if leak.pvi is not None:
        picks = drawn.picks[drawn.split == 2][:, : 1 if measure.on == "images" else None]
        shown = exposed.arrays_of(np.asarray(leak.pvi), picks, sides.pools.private, places(case, sets))
    return {
        "case_id": case.case_id,
        "kind": "measure",
        **case.to_json(),
        "on": measure.on,
        "main": {"layer": measure.layer, "whole": measure.whole, "unit": measure.unit},
        "status": status(arrays),
        "names": list(names),
        "sizes": list(layer_sizes(model)),
        "layers": {name: summary(values, keep=1) for name, values in leak.layers.items()},
        "whole": {name: summary(values, keep=0) for name, values in leak.whole.items()},
        "exposed": exposed.told(shown, names, sides.pools.private.class_names) if shown else None,
        "note": measure.note(names, programs.kernels_of(measure, model)),
        "accuracy": judged(case, model, sides, stage, memory),
        "seconds": round(seconds, 4),
        "compile_seconds": round(memory.programs.seconds - before, 4),
        "device": device(),
        "versions": versions(),
    }, arrays | shown


def measure_of(case: MeasureCase) -> Measure:
    """The case's measure, ready to run.

    Raises:
      InputError: what a factory of the user's own gives is no measure.

    >>> measure_of(MeasureCase(measure="sensitivity")).on
    'batch'
    """
    static, floats = split(case.measure_args)
    found = catalog.find("measure", case.measure, ENTRIES)(**static, **floats)
    if not isinstance(found, Measure) or found.on not in ON:
        raise InputError(
            f"measure {case.measure!r} must give a jleak.leakage.measure.Measure on one of {', '.join(ON)}, "
            f"got {found!r:.80}; return one from the factory"
        )
    return found


class Spread(NamedTuple):
    """Batches of all models as lanes, over the devices.

    Attributes:
      where: the layout.
      slots: of every slot the number of its model, its key, and its picks.
      order: where each lane lies.
      shape: (models, batches a model).
    """

    where: lanes.Layout
    slots: tuple[Array, Key, Array]
    order: np.ndarray
    shape: tuple[int, int]

    def gathered(self, found: PyTree) -> PyTree:
        """What a program gave for the slots, as (models, batches, ...)."""
        return jax.tree.map(lambda leaf: leaf[self.order].reshape(*self.shape, *leaf.shape[1:]), found)


def spread_over(case: MeasureCase, each: int, picks: Int[np.ndarray, "lanes n"], most: int) -> Spread:
    """`each` batches a model, their picks in the order of the models, in groups of at most `most`."""
    where = lanes.layout(len(picks), most)
    place = lanes.placing(where, np.ones(len(picks), bool))
    every = (jnp.arange(len(picks)) // each, keys_each(case, "client", each).reshape(-1), jnp.asarray(picks))
    return Spread(where, in_slots(where, every, place.lane), place.slot, (case.models, each))


def of_batches(
    case: MeasureCase, model: Model, measure: Measure, sides: Sides, params: Params, memory: Memory
) -> Found:
    """A measure of one batch, over the batches of all models."""
    private, public, key = sides.pools.private, sides.pools.public, stream(jax.random.key(case.seed), "data")
    picks = data.picks(key, private, case.models * case.records, case.batch, case.draw)
    spread = spread_over(case, case.records, picks, case.lanes)
    known = prepared_for(case, measure, public, memory)
    args = (params, sides.private, known, floats_of(case), spread.slots)
    names = (*SHAPED, "records", "measure", "measure_args")
    made = programs.of_batches(case, model, measure, spread.where)
    program = memory.compiled("measure", shaping(case, *names), made, *args)
    clock = time.perf_counter()
    leak = jax.block_until_ready(program(*args))
    return Found(spread.gathered(leak), time.perf_counter() - clock)


def prepared_for(case: MeasureCase, measure: Measure, public: Images, memory: Memory) -> Any:
    """What the measure takes from public images; that of the case before, where they are the same."""

    def prepare():
        images = jnp.asarray(data.pixels(public.x[:KNOWN]))
        settings = {name: getattr(case, name) for name in ("measure", "measure_args")}
        return memory.compiled("prepare", settings, measure.prepare, images)(images)

    return memory.last(f"known to {case.measure}", of(case, *DRAWN, "measure_args"), prepare)


def of_updates(
    case: MeasureCase, model: Model, measure: Measure, sides: Sides, params: Params, memory: Memory
) -> Found:
    """A measure that learns from many updates, for each model."""
    drawn = drawn_for(case, measure, sides)
    clock = time.perf_counter()
    rows = rows_of(case, model, measure, drawn, sides, params, memory)
    x = data.pixels(sides.pools.private.x[drawn.picks])
    args = (keys(case, "measure"), rows, jnp.asarray(x))
    kernels = programs.kernels_of(measure, model)
    if measure.traced:
        # batches come split by split, values in turn: only their number shapes the program
        settings = {
            "measure": case.measure,
            "measure_args": case.measure_args,
            "values": int(drawn.value.max()),
            "kernels": kernels,
        }
        program = memory.compiled("measure", settings, programs.of_updates(measure, drawn, kernels), *args)
        leak = jax.block_until_ready(program(*args))
    else:
        leak = programs.one_after_the_other(measure, drawn, kernels, *args)
    return Found(leak, time.perf_counter() - clock, drawn)


def rows_of(case, model, measure, drawn: Draws, sides: Sides, params: Params, memory: Memory):
    """The updates of all models by layer; those of the case before, where only the measure differs."""
    key = stream(jax.random.key(case.seed), "sketch")
    spread = spread_over(case, case.updates, np.tile(drawn.picks, (case.models, 1)), 2 * case.lanes)
    args = (params, sides.private, key, floats_of(case), spread.slots)
    kernels = programs.kernels_of(measure, model)
    made = programs.updates(case, model, kernels, spread.where)
    settings = shaping(case, *SHAPED, "updates", "width") | {"kernels": kernels}
    program = memory.compiled("updates", settings, made, *args)
    others = ("measure", "measure_args", "records", "draw")
    apart = {k: v for k, v in case.to_json().items() if k not in others}
    return memory.last("rows", (measure.on, kernels, repr(apart)), lambda: spread.gathered(program(*args)))


def drawn_for(case: MeasureCase, measure: Measure, sides: Sides) -> Draws:
    """The batches that a measure learns from and is tested on, out of the private images.

    Raises:
      InputError: an unknown attribute, one that does not vary, or too few images.
    """
    images, key = sides.pools.private, stream(jax.random.key(case.seed), "updates")
    groups = data.attribute(images, case.groups) if case.groups else None
    size = {"count": case.updates, "n": case.batch, "groups": groups}
    if measure.on == "images":
        return batches(key, images.labels, **size)
    found = data.attribute(images, case.attribute)
    return draws(key, images.labels, found, how=case.protocol, **size)


def summary(values: Any, *, keep: int) -> dict[str, Any]:
    """Median and quartiles over all axes but the last `keep`; what is not finite is left out.

    >>> summary(np.array([[1.0], [2.0], [3.0]]), keep=0)
    {'median': 2.0, 'low': 1.5, 'high': 2.5}
    """
    values = np.asarray(values, float)
    rows = values.reshape(-1, values.shape[-1] if keep else 1)
    rows = np.where(np.isfinite(rows), rows, np.nan)
    known = ~np.isnan(rows).all(0)
    found = np.full((3, rows.shape[1]), math.nan)
    found[:, known] = np.nanquantile(rows[:, known], (0.5, 0.25, 0.75), axis=0)
    told = dict(zip(("median", "low", "high"), map(significant, found), strict=True))
    return told if keep else {name: part[0] for name, part in told.items()}


def status(arrays: dict[str, np.ndarray]) -> str:
    """`ok`, or which numbers are not finite, or that an estimate of information is not to be trusted.

    >>> of = {"nats": 4.0, "cap": 4.1, "low": 3.9, "high": 4.1}
    >>> status({f"layers/{name}": np.array([value]) for name, value in of.items()})
    'near the cap of the estimator, 4.1 nats: the information may be any larger; use more updates'
    """
    wild = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    told = [f"not finite: {', '.join(wild)}"] if wild else []
    if "layers/cap" in arrays:  # an estimate from pairs
        nats, cap = arrays["layers/nats"], arrays["layers/cap"]
        near = nats > NEAR * cap
        if near.any():
            told.append(
                f"near the cap of the estimator, {cap[near].max():.3g} nats: the information may be any "
                "larger; use more updates"
            )
        if (arrays["layers/low"] == arrays["layers/high"]).any():
            told.append("an interval without width: the estimator has learnt nothing of some layer")
    return "; ".join(told) or "ok"
