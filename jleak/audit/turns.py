"""Work that takes turns, so that the devices have something to do while the host is busy elsewhere."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import TypeVar

Result = TypeVar("Result")

Turns = Generator[None, None, Result]
"""Work that gives others a turn (`yield`) before it waits for the devices, or when it has taken long."""

OVER = object()
"""In place of a work: there are no more."""


def alone(work: Turns[Result]) -> Result:
    """The result of a work that shares with nobody.

    >>> def twice(x):
    ...     yield
    ...     return 2 * x
    >>> alone(twice(3))
    6
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def clocked(work: Turns[Result]) -> Turns[tuple[Result, float]]:
    """The work, with the seconds of its own turns.

    >>> def soon():
    ...     yield
    ...     return "done"
    >>> done, seconds = alone(clocked(soon()))
    >>> done, 0 < seconds < 1
    ('done', True)
    """
    seconds = 0.0
    while True:
        clock = time.perf_counter()
        try:
            next(work)
        except StopIteration as end:
            return end.value, seconds + time.perf_counter() - clock
        seconds += time.perf_counter() - clock
        yield


def together(works: Iterator[Turns[Result] | None], most: int) -> Iterator[Result | None]:
    """The results of the works, `most` of them at a time taking turns, in the order in which they end.

    A work is asked for when there is a place for it. None in its place: nothing can begin now. None in place
    of a result: nothing is under way either, so wait before you ask again.

    >>> def work(name, turns):
    ...     for _ in range(turns):
    ...         yield
    ...     return name
    >>> list(together(iter([work("a", 3), None, work("b", 1), work("c", 1)]), 2))
    ['b', 'a', 'c']
    >>> list(together(iter([None, work("a", 1)]), 2))
    [None, 'a']
    """
    under_way: deque[Turns[Result]] = deque()
    while True:
        work = next(works, OVER) if len(under_way) < most else None
        if work not in (None, OVER):
            under_way.append(work)
        elif under_way:
            work = under_way.popleft()
            try:
                next(work)
            except StopIteration as end:
                yield end.value
            else:
                under_way.append(work)
        elif work is OVER:
            return
        else:
            yield None
