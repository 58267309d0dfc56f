"""What a sweep shows while it works: a bar where there is a terminal, else lines of a log."""

import datetime
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from jleak.report.screen import peak, say

EVERY = 10.0
"""Seconds between two lines of a log, at least."""

GIB = 2**30


class Course(NamedTuple):
    """How far a sweep has come.

    Attributes:
      cases: finished.
      total: in all.
      evaluations: gradient evaluations of the victim models by this process: candidates x steps.
      text: the case under way.
      loss: the median of its attackers' lowest losses so far; NaN where nothing is under way.
    """

    cases: float
    total: int
    evaluations: int
    text: str
    loss: float


def line(course: Course, seconds: float, begun: float) -> str:
    """The course in a line.

    Args:
      course: how far.
      seconds: since this process began.
      begun: the cases that were finished when it began.

    >>> line(Course(50, 100, 12_000, "mlp dlg", float("nan")), 5.0, 0).partition(";")[0]
    '50/100 cases (50 %), 10.0 a second, 0:00:05 to go'
    """
    rate = (course.cases - begun) / seconds if seconds else 0.0
    known = rate and course.evaluations  # after a batch: before, programs were compiled
    left = datetime.timedelta(seconds=round((course.total - course.cases) / rate)) if known else None
    parts = [
        f"{course.cases:.0f}/{course.total} cases ({100 * course.cases / course.total:.0f} %), "
        f"{rate:.1f} a second, {left if left is not None else '?'} to go",
        f"{course.evaluations / seconds if seconds else 0:.2g} candidates x steps a second",
        "" if not math.isfinite(course.loss) else f"best loss {course.loss:.2g} (median)",
        memory(),
        course.text,
    ]
    return "; ".join(filter(None, parts))


def memory() -> str:
    """What is in use, on the fullest accelerator, or at the most by this process.

    >>> memory().endswith("GiB")
    True
    """
    stats = [device.memory_stats() for device in jax.local_devices()]
    used = [one["bytes_in_use"] for one in stats if one and "bytes_in_use" in one]
    return f"device memory {max(used) / GIB:.1f} GiB" if used else f"memory {peak():.1f} GiB"


@contextmanager
def showing(screen: Console, begun: int) -> Iterator[Callable[[Course], None]]:
    """A listener that shows the course: a bar in a terminal, elsewhere a line every `EVERY` seconds."""
    clock = time.perf_counter()
    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bars:
        task, last = bars.add_task("preparing", total=None), [-EVERY, -1.0]

        def show(course: Course) -> None:
            seconds = time.perf_counter() - clock
            told = line(course, seconds, begun)
            if screen.is_terminal:
                bars.update(task, description=told, completed=course.cases, total=course.total)
            elif course.cases > last[1] and (seconds - last[0] > EVERY or course.cases == course.total):
                last[:] = seconds, course.cases
                say(screen, f"{time.strftime('%H:%M:%S')} {told}")

        yield show
