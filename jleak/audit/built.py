"""Compiled programs: kept by what shapes them, built ahead of the cases that need them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

Build = Callable[[], tuple[Any, float]]
"""Gives a program, and the seconds that it took."""


class Programs:
    """Compiled programs by the settings that shape them; one that a thread builds, others wait for.

    Attributes:
      known: by key, the programs built and under way.
      seconds: spent on building, in all.
      unbilled: by key, the seconds of those that no case has been charged with (`Bill`).
    """

    def __init__(self):
        self.seconds = 0.0
        self.known: dict[Any, Future] = {}
        self.unbilled: dict[Any, float] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: Any) -> bool:
        return key in self.known

    def take(self, key: Any, build: Build) -> Any:
        """The program of this key, built where it is new; what `build` raises goes to all who wait for it."""
        with self._lock:
            new = key not in self.known
            future = self.known.setdefault(key, Future())
        if new:
            try:
                program, seconds = build()
            except BaseException as error:
                with self._lock:
                    del self.known[key]
                future.set_exception(error)
                raise
            with self._lock:
                self.seconds += seconds
                self.unbilled[key] = seconds
            future.set_result(program)
        return future.result()


class Bill:
    """Programs as one case takes them.

    Attributes:
      seconds: that those took which no case before had taken.

    >>> programs = Programs()
    >>> one, other = Bill(programs), Bill(programs)
    >>> [bill.take("square", lambda: (lambda x: x * x, 0.5))(3) for bill in (one, other)]
    [9, 9]
    >>> one.seconds, other.seconds, programs.seconds
    (0.5, 0.0, 0.5)
    """

    def __init__(self, programs: Programs):
        self.seconds = 0.0
        self._programs = programs

    def take(self, key: Any, build: Build) -> Any:
        """As that of `Programs`."""
        program = self._programs.take(key, build)
        self.seconds += self._programs.unbilled.pop(key, 0.0)
        return program


@contextmanager
def ahead(jobs: Sequence[Callable[[], Any]]) -> Iterator[None]:
    """Meanwhile does these jobs in their order, two at a time; at the end, leaves those not begun.

    A job that fails ends itself alone: whoever needs what it was to build meets the fault there.

    >>> done = []
    >>> with ahead([lambda: done.append(1), lambda: 1 / 0, lambda: done.append(2)]):
    ...     while len(done) < 2:
    ...         pass
    >>> sorted(done)
    [1, 2]
    """
    pool = ThreadPoolExecutor(2, "ahead")
    for job in jobs:
        pool.submit(job)
    try:
        yield
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
