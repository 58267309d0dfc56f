"""Runs cases of measures one after the other, keeping each in a run's directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from jleak import data
from jleak.audit.cohort.pools import Sets, loaded, pools
from jleak.audit.cohort.programs import like_batch
from jleak.audit.cohort.setting import DRAWN
from jleak.audit.cohort.stages import Memory, Sides, of, placed
from jleak.audit.driver import Progress, kept
from jleak.audit.measures.case import MeasureCase
from jleak.audit.measures.programs import kernels_of, lengths, of_updates, subject
from jleak.audit.measures.trial import drawn_for, measure_of, trial
from jleak.audit.parts import floats_of, model_of
from jleak.audit.store import Record
from jleak.leakage.layers import layer_sizes
from jleak.leakage.measure import Measure
from jleak.leakage.usable.protocols import Draws
from jleak.types import Model


def run(
    cases: Sequence[MeasureCase],
    path: Path,
    sets: Sets,
    *,
    finished: Mapping[str, Record],
    report: Callable[[Progress], None] = lambda progress: None,
) -> list[Record]:
    """Runs the cases that are not `finished`, and returns the records of all; as `audit.driver.run`.

    Args:
      cases: what to run.
      path: the run's directory, made by `store.make`.
      sets: the data sets of the cases to run, from `prepared`.
      finished: the records that it holds already, by case.
      report: called between pieces of work.

    Raises:
      InputError: a full disk; the finished cases are kept.
    """
    memory = Memory()

    def one(case, tell):
        return trial(case, sets, memory, tell)

    return kept(cases, one, path, finished=finished, report=report)


def prepared(cases: Sequence[MeasureCase]) -> Sets:
    """The data sets of the cases, by name, once it is sure that every case can run on its own.

    Raises:
      InputError: a data set that cannot be read, or a case that does not fit it.
    """
    sets, memory = loaded(cases), Memory()
    apart_from_models = {repr(case.to_json() | {"train_steps": 0, "train_lr": 0}): case for case in cases}
    for case in apart_from_models.values():
        sides = memory.last("sides", of(case, *DRAWN), lambda case=case: placed(pools(case, sets)))
        fits(case, sides)
    return sets


def fits(case: MeasureCase, sides: Sides) -> None:
    """Checks, without computing anything, that a case's data, model, client, defense and measure go together.

    Raises:
      InputError: they do not.
    """
    private, key, measure = sides.pools.private, jax.random.key(0), measure_of(case)
    model = model_of(case, private.shape, private.classes)
    if measure.on == "batch":
        data.picks(key, private, 1, case.batch, case.draw)
    else:
        learns(case, model, measure, drawn_for(case, measure, sides))

    def once(key, params, batch):
        whose = subject(case, model, params, floats_of(case))
        if measure.on != "batch":
            return whose.client(key, params, batch)
        known = measure.prepare(jnp.zeros((2, *model.shape)))
        return measure.fn(key, whose, batch, known)

    jax.eval_shape(once, key, jax.eval_shape(model.init, key), like_batch(model, case.batch))


def learns(case: MeasureCase, model: Model, measure: Measure, drawn: Draws) -> None:
    """Checks that a measure can learn from so many updates of such a model.

    Raises:
      InputError: it cannot.
    """
    if not measure.traced:
        return
    kernels = kernels_of(measure, model)
    each = lengths(layer_sizes(model), case.width, kernels)
    rows = tuple(jax.ShapeDtypeStruct((1, case.updates, length), jnp.float32) for length in each)
    x = jax.ShapeDtypeStruct((case.updates, case.batch, *model.shape), jnp.float32)
    jax.eval_shape(of_updates(measure, drawn, kernels), jax.random.split(jax.random.key(0), 1), rows, x)
