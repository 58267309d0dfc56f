"""Runs the cases of an audit one after the other, keeping each as soon as it is finished."""

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jleak import data
from jleak.audit import store
from jleak.audit.built import Programs, ahead
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.parts import attack_of, client_of, floats_of, model_of, weights_of
from jleak.audit.pieces import Tell
from jleak.audit.settings import AnyCase, Setting
from jleak.audit.store import Record
from jleak.audit.trial import build, trial
from jleak.data import Images
from jleak.types import View


class Progress(NamedTuple):
    """Where an audit stands.

    Attributes:
      done: cases finished, earlier runs included.
      total: cases in all.
      part: how much of the case under way is finished, 0 to 1.
      case: the case under way, or the one just finished (part 0).
      loss: median of its attackers' losses; NaN where there are none.
    """

    done: int
    total: int
    part: float
    case: Setting
    loss: float


def prepared(cases: Sequence[Case], *, budget: Budget | None = None) -> dict[str, Images]:
    """The data sets of the cases, by name, once it is sure that every case can run on its own.

    Raises:
      InputError: a data set that cannot be read, a case that does not fit it, or one that needs more memory
        than the budget, where there is one.
    """
    images = {name: data.load(name) for name in dict.fromkeys(case.dataset for case in cases)}
    apart_from_seeds = {json.dumps(case.to_json() | {"seed": 0}): case for case in cases}
    for case in apart_from_seeds.values():
        fits(case, images[case.dataset], budget)
    return images


def run(
    cases: Sequence[Case],
    path: Path,
    images: Mapping[str, Images],
    *,
    finished: Mapping[str, Record],
    report: Callable[[Progress], None] = lambda progress: None,
    budget: Budget | None = None,
    kind: str | None = None,
    clocked: bool = False,
) -> list[Record]:
    """Runs the cases that are not `finished`, and returns the records of all, in the order of `cases`.

    A finished case is on the disk before the next one starts; an interruption loses the case under way. While
    it attacks, the programs of the cases to come are compiled, unless the cases are `clocked`.

    Args:
      cases: what to run.
      path: the run's directory, made by `store.make`.
      images: the data sets of the cases to run, from `prepared`.
      finished: the records that it holds already, by case.
      report: called between pieces of work.
      budget: the memory that the attacks may take; None for any amount.
      kind: of run, for the records; None for an audit.
      clocked: whether the seconds of an attack must be its own: nothing is compiled beside it.

    Raises:
      InputError: a full disk; the finished cases are kept.
    """
    cache = Programs()

    def one(case, tell):
        record, arrays = trial(case, images[case.dataset], cache, tell, budget)
        return record if kind is None else {"kind": kind} | record, arrays

    todo = [] if clocked else [case for case in cases if case.case_id not in finished]
    jobs = [functools.partial(build, case, images[case.dataset], cache, budget) for case in todo]
    with ahead(jobs):
        return kept(cases, one, path, finished=finished, report=report)


def kept(
    cases: Sequence[AnyCase],
    one: Callable[[AnyCase, Tell], tuple[Record, Mapping[str, np.ndarray]]],
    path: Path,
    *,
    finished: Mapping[str, Record],
    report: Callable[[Progress], None],
) -> list[Record]:
    """`each` of the cases, kept in a run's directory as soon as it is finished."""
    return each(
        cases,
        one,
        keep=lambda records, record, arrays: store.add_record(path, records, record, arrays),
        finished=finished,
        report=report,
    )


def each(
    cases: Sequence[AnyCase],
    one: Callable[[AnyCase, Tell], tuple[Record, Mapping[str, np.ndarray]]],
    *,
    keep: Callable[[Mapping[str, Record], Record, Mapping[str, np.ndarray]], None],
    finished: Mapping[str, Record],
    report: Callable[[Progress], None],
) -> list[Record]:
    """What `run` does, for cases of any kind.

    Args:
      cases: what to run.
      one: `(case, tell) -> (record, images)`.
      keep: `(records so far, record, images)`, called as soon as a case is finished.
      finished: the records that there are already, by case.
      report: called between pieces of work.
    """
    todo = [case for case in cases if case.case_id not in finished]
    records = dict(finished)
    for i, case in enumerate(todo):
        done = len(cases) - len(todo) + i

        def tell(part: float, loss: float, case=case, done=done) -> None:
            report(Progress(done, len(cases), part, case, loss))

        record, arrays = one(case, tell)
        keep(records, record, arrays)
        records[case.case_id] = record
        report(Progress(done + 1, len(cases), 0.0, case, math.nan))
    return [records[case.case_id] for case in cases]


def fits(case: Case, images: Images, budget: Budget | None = None) -> None:
    """Checks, without computing anything, that the case's parts go together, and into the memory.

    Raises:
      InputError: they do not.
    """
    model = model_of(case, images.shape, images.classes)
    batch = data.draw(jax.random.key(0), images, case.batch, case.draw)
    key = jax.random.key(0)
    params = weights_of(case, model) if case.weights else jax.eval_shape(model.init, key)
    jax.eval_shape(client_of(case, model, floats_of(case)), key, params, batch)
    naive = Case.from_json(case.to_json() | {"knows": "nothing"})
    attack_of(naive, model, View(params, params["params"]), floats_of(case))
    if budget:
        budget.layout(case, model)
