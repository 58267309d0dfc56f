"""Runs batches of a sweep, each into a part of the store."""

import functools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jleak.audit.built import Programs, ahead
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.sweep import checkpoint, claims, store
from jleak.audit.sweep import place as files
from jleak.audit.sweep.batches import Batch, group_key, name_of
from jleak.audit.sweep.place import Place
from jleak.audit.trial import Picks, build, trials
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
    attacked, the programs of the groups to come are compiled.

    Args:
      where: the store.
      todo: the batches.
      means: what they are run with.
      finished: the cases that were finished before.
      listen: called after each piece of an attack and after each batch.

    Raises:
      InputError: a full disk; the finished batches are kept.
    """
    queue, done, ran = deque(todo), 0, 0
    firsts = {group_key(batch.settings[0].case): batch for batch in reversed(todo)}
    jobs = [functools.partial(prebuild, batch, means) for batch in reversed(firsts.values())]
    idle = 0
    with ahead(jobs):
        while queue:
            batch = queue.popleft()
            cases = batch.cases()
            name = name_of(cases)
            open_ = [case for case in cases if case.case_id not in finished]
            if not open_ or files.exists(where, f"records/{name}.parquet"):
                done, idle = done + len(open_), 0
                listen(Stand(done, 0.0, 0, cases[0], float("nan")))
                continue
            if claims.taken(where, name):
                queue.append(batch)
                idle += 1
                if idle >= len(queue):
                    listen(Stand(done, 0.0, 0, cases[0], float("nan"), waiting=True))
                    time.sleep(POLL)
                    idle = 0
                continue
            idle = 0
            evaluations = run(
                where, name, batch, open_, means, functools.partial(telling, listen, done, open_)
            )
            done, ran = done + len(open_), ran + len(open_)
            listen(Stand(done, 0.0, 0, cases[-1], float("nan"), evaluations))
    return ran


def telling(listen: Listen, done: int, cases: Sequence[Case], part: float, loss: float) -> None:
    """Tells of a batch under way."""
    listen(Stand(done, part, len(cases), cases[0], loss))


def run(
    where: Place,
    name: str,
    batch: Batch,
    cases: Sequence[Case],
    means: Means,
    tell: Callable[[float, float], None],
) -> int:
    """Runs a batch's open cases into the part of that name; returns the gradient evaluations that it took."""
    renew = claims.renewing(where, name)
    renew()

    def told(part: float, loss: float) -> None:
        renew()
        tell(part, loss)

    try:
        found = trials(
            filled(cases, batch.width),
            means.images[cases[0].dataset],
            means.cache,
            told,
            means.budget,
            count=len(cases),
            picked=means.picked,
            shots=1,
            keeping=checkpoint.keeping(where, name, means.checkpoint),
        )
        store.add(where, name, found, means.keep_images)
        files.remove(where, checkpoint.filed(name))
    finally:
        claims.release(where, name)
    return sum(record["evaluations"] for record, _ in found)


def prebuild(batch: Batch, means: Means) -> None:
    """Compiles what a batch takes, but for the scoring."""
    cases = batch._replace(count=1).cases()
    build(filled(cases, batch.width), means.images[cases[0].dataset], means.cache, means.budget)


def filled(cases: Sequence[Case], width: int) -> list[Case]:
    """The cases, filled up to `width` by the first."""
    return [*cases, *[cases[0]] * (width - len(cases))]
