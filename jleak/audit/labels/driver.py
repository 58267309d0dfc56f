"""Runs label cases one after the other, in memory or keeping each in a run's directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from jleak import data
from jleak.audit.cohort.pools import Pools, Sets, loaded, pools
from jleak.audit.cohort.programs import like_batch
from jleak.audit.cohort.setting import BUILT, DRAWN
from jleak.audit.cohort.stages import Memory, of
from jleak.audit.driver import Progress, each, kept
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.pools import auxiliary
from jleak.audit.labels.programs import attack_of, readable
from jleak.audit.labels.trial import ATTACKED, trial
from jleak.audit.parts import client_of, defense_of, floats_of, model_of
from jleak.audit.pieces import Tell
from jleak.audit.store import Record
from jleak.data import Images
from jleak.types import Batch, LabelAttack, Model, View


def measure(
    cases: Sequence[LabelCase], *, report: Callable[[Progress], None] = lambda progress: None
) -> list[Record]:
    """The records of the cases, in their order, in memory alone.

    Raises:
      InputError: as `prepared`.

    >>> (record,) = measure([LabelCase(attack="random", model="mlp", batch=4, models=3)])
    >>> len(record["success"]), record["found"]
    (3, [4, 4, 4])
    """
    return each(cases, trials(prepared(cases)), keep=lambda *_: None, finished={}, report=report)


def run(
    cases: Sequence[LabelCase],
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
    return kept(cases, trials(sets), path, finished=finished, report=report)


def trials(sets: Sets) -> Callable[[LabelCase, Tell], tuple[Record, dict]]:
    """`(case, tell) -> (record, images)`, which share what they compute."""
    memory = Memory()
    return lambda case, tell: trial(case, sets, memory, tell)


def prepared(cases: Sequence[LabelCase]) -> Sets:
    """The data sets of the cases, by name, once it is sure that every case can run on its own.

    Raises:
      InputError: a data set that cannot be read, or a case that does not fit it.
    """
    sets, memory, traced = loaded(cases), Memory(), set()
    for case in cases:
        sides = memory.last("sides", of(case, *DRAWN), lambda case=case: pools(case, sets))
        settings = of(case, *(name for name in case.to_json() if name not in (*ATTACKED, "train_steps")))
        memory.last("clients", settings, lambda case=case, sides=sides: clients_fit(case, sides))
        model = model_of(case, sides.public.shape, sides.public.classes)
        attack = attack_of(case, model, floats_of(case))  # refuses batches that it cannot serve
        settings = of(case, *DRAWN, *BUILT, "client", "client_args", "auxiliary", "attack", "attack_args")
        if settings not in traced:
            attack_fits(case, model, attack, sides.public)
            traced.add(settings)
    return sets


def clients_fit(case: LabelCase, sides: Pools) -> None:
    """Checks, without computing anything, that a case's data, model, client and defense go together.

    Raises:
      InputError: they do not.
    """
    model = model_of(case, sides.private.shape, sides.private.classes)
    key, floats = jax.random.key(0), floats_of(case)
    data.picks(key, sides.private, 1, case.batch, case.draw)
    batch = like_batch(model, case.batch)
    client = defense_of(case, floats)(client_of(case, model, floats))
    jax.eval_shape(client, key, jax.eval_shape(model.init, key), batch)


def attack_fits(case: LabelCase, model: Model, attack: LabelAttack, images: Images) -> None:
    """Checks, without computing anything, that the attack can serve the model, with its auxiliary data.

    Raises:
      InputError: it cannot.
    """
    picks = auxiliary(case, images, 1)[0]
    prior = Batch(jnp.zeros((len(picks), *images.shape)), jnp.asarray(images.labels[picks], jnp.int32))

    def infer(key, params):
        known = attack.calibrate(View(params, None, prior=prior))
        return attack.infer(key, View(params, readable(case, model, params["params"]), prior=prior), known)

    key = jax.random.key(0)
    jax.eval_shape(infer, key, jax.eval_shape(model.init, key))
