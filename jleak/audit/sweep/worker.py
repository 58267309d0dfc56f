"""Runs batches of a sweep, each into a part of the store."""

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from jleak.audit.built import Programs, ahead
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.pieces import Tell
from jleak.audit.sides import Picks
from jleak.audit.sweep import checkpoint, claims, store
from jleak.audit.sweep import place as files
from jleak.audit.sweep.batches import Batch, fitted, group_key, name_of
from jleak.audit.sweep.place import Place
from jleak.audit.trial import Outcome, build, recorded, trials
from jleak.data import Images

POLL = 1.0
"""Seconds between two looks at what other workers are doing, when nothing else is left."""


class Means(NamedTuple):
    """What batches are run with.

    Attributes:
      images: the data sets, by name.
      budget: the memory that the attacks may take.
      keep_images: whether images are kept beside the records.
      checkpoint: seconds between two checkpoints.
      cache: compiled programs.
      picked: which images the victims of cases hold.
    """

    images: Mapping[str, Images]
    budget: Budget
    keep_images: bool
    checkpoint: float
    cache: Programs
    picked: Picks


class Stand(NamedTuple):
    """Where a worker stands.

    Attributes:
      cases: finished since the worker began, by itself or by others.
      part: how much of the batch under way is done, 0 to 1.
      size: cases in it.
      case: one of them.
      loss: the median of its attackers' losses.
      evaluations: gradient evaluations of the victim models since the last stand.
      waiting: whether other workers are at all batches that are left.
    """

    cases: int
    part: float
    size: int
    case: Case
    loss: float
    evaluations: int = 0
    waiting: bool = False


Listen = Callable[[Stand], None]


class Job(NamedTuple):
    """A batch whose turn it is.

    Attributes:
      batch: the batch.
      name: of its part.
      cases: those that are open.
      turn: what is to be done: `run` it, nothing as somebody has `finished` it, or `wait` for others.
    """

    batch: Batch
    name: str
    cases: Sequence[Case]
    turn: str


def work(
    where: Place,
    todo: Sequence[Batch],
    means: Means,
    *,
    finished: set[str],
    listen: Listen = lambda stand: None,
) -> int:
    """Runs the batches that nobody has finished or is at; returns how many cases were run here.

    A batch that another worker is at is left for later, and done only if that worker dies. While a batch is
    attacked, the records of the one before are written, and the programs of the groups to come are compiled.
    Batches that the memory of this machine does not hold are run, and kept, in smaller ones.

    Args:
      where: the store.
      todo: the batches.
      means: what they are run with.
      finished: the cases that were finished before.
      listen: called after each piece of an attack and after each batch.

    Raises:
      InputError: a full disk; the finished batches are kept.
    """
    todo = fitted(unfinished(todo, finished), means.images, means.budget)
    firsts = {group_key(batch.settings[0].case): batch for batch in reversed(todo)}
    ahead_of_time = [functools.partial(prebuild, batch, means) for batch in reversed(firsts.values())]
    done, ran, writing = 0, 0, None

    def settle() -> None:
        nonlocal done, ran, writing
        if writing is not None:
            cases, evaluations = writing.result()
            done, ran, writing = done + len(cases), ran + len(cases), None
            listen(Stand(done, 0.0, 0, cases[-1], math.nan, evaluations))

    with claims.holding(where) as hold, ahead(ahead_of_time), ThreadPoolExecutor(1, "store") as pool:
        for job in jobs(where, todo, finished):
            if job.turn == "run":
                release = hold(job.name)
                outcome = run(where, job, means, functools.partial(telling, listen, done, job.cases))
                settle()
                writing = pool.submit(write, where, job, outcome, means.keep_images, release)
                continue
            settle()
            done += len(job.cases) if job.turn == "finished" else 0
            case = job.batch.settings[0].case
            listen(Stand(done, 0.0, 0, case, math.nan, waiting=job.turn == "wait"))
            time.sleep(POLL if job.turn == "wait" else 0)
        settle()
    return ran


def jobs(where: Place, todo: Sequence[Batch], finished: set[str]) -> Iterator[Job]:
    """The batches one after the other; those that others are at later, and again and again."""
    queue, passed = deque(todo), 0
    while queue:
        batch = queue.popleft()
        cases = [case for case in batch.cases() if not finished or case.case_id not in finished]
        job = Job(batch, name_of(cases), cases, "run")
        if files.exists(where, f"records/{job.name}.parquet"):
            yield job._replace(turn="finished")
        elif claims.taken(where, job.name):
            queue.append(batch)
            passed += 1
            if passed < len(queue):
                continue
            yield job._replace(turn="wait")
        else:
            yield job
        passed = 0


def telling(listen: Listen, done: int, cases: Sequence[Case], part: float, loss: float) -> None:
    """Tells of a batch under way."""
    listen(Stand(done, part, len(cases), cases[0], loss))


def run(where: Place, job: Job, means: Means, tell: Tell) -> Outcome:
    """Attacks a batch's open cases."""
    return trials(
        filled(job.cases, job.batch.width),
        means.images[job.cases[0].dataset],
        means.cache,
        tell,
        means.budget,
        count=len(job.cases),
        picked=means.picked,
        shots=1,
        keeping=checkpoint.keeping(where, job.name, means.checkpoint),
    )


def write(
    where: Place, job: Job, outcome: Outcome, images: bool, release: Callable[[], None]
) -> tuple[Sequence[Case], int]:
    """Writes a batch's part, and releases its claim; its cases, and their gradient evaluations."""
    found = recorded(outcome)
    store.add(where, job.name, found, images)
    files.remove(where, checkpoint.filed(job.name))
    release()
    return job.cases, sum(record["evaluations"] for record, _ in found)


def unfinished(todo: Sequence[Batch], finished: set[str]) -> list[Batch]:
    """The batches that hold an open case."""
    if not finished:
        return list(todo)
    return [batch for batch in todo if any(case.case_id not in finished for case in batch.cases())]


def prebuild(batch: Batch, means: Means) -> None:
    """Compiles what a batch takes, but for the scoring."""
    cases = batch._replace(count=1).cases()
    build(filled(cases, batch.width), means.images[cases[0].dataset], means.cache, means.budget)


def filled(cases: Sequence[Case], width: int) -> list[Case]:
    """The cases, filled up to `width` by the first."""
    return [*cases, *[cases[0]] * (width - len(cases))]
