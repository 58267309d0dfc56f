"""Runs batches of a sweep, each into a part of the store."""

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from jleak.audit.built import Programs, ahead
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.pieces import Tell
from jleak.audit.sides import Picks
from jleak.audit.sweep import checkpoint, claims, store
from jleak.audit.sweep import place as files
from jleak.audit.sweep.batches import Batch, at_once, fitted, group_key, name_of
from jleak.audit.sweep.place import Place
from jleak.audit.trial import Outcome, build, recorded, trials
from jleak.audit.turns import Turns, together
from jleak.data import Images

POLL = 1.0
"""Seconds between two looks at what other workers are doing, when nothing else is left."""

BEHIND = 2
"""Batches that are attacked and still to be written, at most."""


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
      part: how much is done of the batches under way, in cases.
      case: one of them.
      loss: the median of its attackers' losses; NaN where nothing is under way.
      evaluations: gradient evaluations of the victim models since the last stand.
      waiting: whether other workers are at all batches that are left.
    """

    cases: int
    part: float
    case: Case
    loss: float = math.nan
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


class Tally:
    """How far a worker is, of which a listener is told.

    Attributes:
      ran: cases run by this worker.
    """

    def __init__(self, listen: Listen):
        self.ran = 0
        self._listen, self._done, self._parts = listen, 0, {}

    def telling(self, job: Job) -> Tell:
        """What a batch under way tells."""

        def tell(part: float, loss: float) -> None:
            self._parts[job.name] = part * len(job.cases)
            self._tell(job.cases[0], loss=loss)

        return tell

    def written(self, job: Job, evaluations: int) -> None:
        """A batch that was run here is written."""
        self.ran += len(job.cases)
        self.finished(job, evaluations)

    def finished(self, job: Job, evaluations: int = 0) -> None:
        """A batch is finished, here or elsewhere."""
        self._done += len(job.cases)
        self._parts.pop(job.name, None)
        self._tell(job.cases[0], evaluations=evaluations)

    def waiting(self, case: Case) -> None:
        """Others are at all that is left, such as this case."""
        self._tell(case, waiting=True)

    def _tell(self, case: Case, **more: Any) -> None:
        self._listen(Stand(self._done, sum(self._parts.values()), case, **more))


def work(
    where: Place,
    todo: Sequence[Batch],
    means: Means,
    *,
    finished: set[str],
    listen: Listen = lambda stand: None,
) -> int:
    """Runs the batches that nobody has finished or is at; returns how many cases were run here.

    A batch that another worker is at is left for later, and done only if that worker dies. Two batches take
    turns, if the memory holds both: one has the devices work while the other is prepared or read. Meanwhile
    the records of the one before are written, and the programs of the groups to come are compiled. Batches
    that the memory of this machine does not hold are run, and kept, in smaller ones.

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
    tally, writing = Tally(listen), deque()

    def settle(behind: int) -> None:
        while writing and (writing[0].done() or len(writing) > behind):
            job, evaluations = writing.popleft().result()
            tally.written(job, evaluations)

    with claims.holding(where) as claimed, ahead(ahead_of_time), ThreadPoolExecutor(1, "store") as pool:
        works = begun(where, jobs(where, todo, finished), means, tally, claimed.hold)
        for found in together(works, at_once(todo, means.images, means.budget)):
            settle(BEHIND)
            if found is None:
                settle(0)
                tally.waiting(todo[-1].settings[0].case)
                time.sleep(POLL)
            else:
                writing.append(pool.submit(write, where, *found, means.keep_images, claimed.release))
        settle(0)
    return tally.ran


def begun(
    where: Place, queue: Iterator[Job], means: Means, tally: Tally, hold: Callable[[str], None]
) -> Iterator[Turns[tuple[Job, Outcome]] | None]:
    """The attacks on the batches whose turn it is, claimed; None while others are at all that is left."""
    for job in queue:
        if job.turn == "run":
            hold(job.name)
            yield run(where, job, means, tally.telling(job))
        elif job.turn == "finished":
            tally.finished(job)
        else:
            until = time.monotonic() + POLL  # before that nobody looks again
            while time.monotonic() < until:
                yield None


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


def run(where: Place, job: Job, means: Means, tell: Tell) -> Turns[tuple[Job, Outcome]]:
    """Attacks a batch's open cases."""
    outcome = yield from trials(
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
    return job, outcome


def write(
    where: Place, job: Job, outcome: Outcome, images: bool, release: Callable[[str], None]
) -> tuple[Job, int]:
    """Writes a batch's part, and releases its claim; with the gradient evaluations that it took."""
    found = recorded(outcome)
    store.add(where, job.name, found, images)
    files.remove(where, checkpoint.filed(job.name))
    release(job.name)
    return job, sum(record["evaluations"] for record, _ in found)


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
