"""Who works on a batch, so that workers of one sweep do not do the same work twice.

Claims are advice: two workers that miss each other's claim write the same part, which costs time alone.
A claim is alive while its worker renews it; that of a process of this machine ends with the process.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jleak.audit.sweep import place as files
from jleak.audit.sweep.place import Place
from jleak.check import InputError

LEASE = 90.0
"""Seconds after which a claim that nobody renewed is void."""

RENEW = 15.0
"""Seconds after which a worker renews its claim."""


class Claim(NamedTuple):
    """Who claims a batch, and when he last said so."""

    host: str
    process: int
    time: float


def mine() -> Claim:
    """A claim of this process, now."""
    return Claim(socket.gethostname(), os.getpid(), time.time())


def claim(where: Place, name: str) -> None:
    """Claims the batch, or renews its claim."""
    files.note(where, f"claims/{name}.json", json.dumps(mine()._asdict()).encode())


def taken(where: Place, name: str) -> bool:
    """Whether another worker is at the batch."""
    content = files.read(where, f"claims/{name}.json")
    if content is None:
        return False
    try:
        found = Claim(**json.loads(content))
    except (ValueError, TypeError):  # half written
        return False
    return (found.host, found.process) != mine()[:2] and alive(found, mine())


def alive(found: Claim, now: Claim) -> bool:
    """Whether a claim holds.

    >>> now = Claim("here", 1, 1000.0)
    >>> alive(Claim("there", 7, 950.0), now), alive(Claim("there", 7, 900.0), now)
    (True, False)
    """
    return abs(now.time - found.time) < LEASE and (found.host != now.host or running(found.process))


def running(process: int) -> bool:
    """Whether such a process of this machine runs.

    >>> running(os.getpid())
    True
    """
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Holding(NamedTuple):
    """Claims of a worker.

    Attributes:
      hold: `hold(name)` claims a batch.
      release: `release(name)` gives it up.
    """

    hold: Callable[[str], None]
    release: Callable[[str], None]


@contextlib.contextmanager
def holding(where: Place) -> Iterator[Holding]:
    """Claims, which a thread renews until they are released, at the end all of them."""
    held: set[str] = set()
    changing, over = threading.Lock(), threading.Event()

    def hold(name: str) -> None:
        claim(where, name)
        with changing:
            held.add(name)

    def release(name: str) -> None:
        with changing:
            held.discard(name)
            files.remove(where, f"claims/{name}.json")

    def renew() -> None:
        while not over.wait(RENEW):
            with changing, contextlib.suppress(InputError):  # a full disk: whoever needs it says so
                for name in held:
                    claim(where, name)

    renewing = threading.Thread(target=renew, name="claims", daemon=True)
    renewing.start()
    try:
        yield Holding(hold, release)
    finally:
        over.set()
        renewing.join()
        for name in list(held):
            with contextlib.suppress(OSError):  # of a disk that is gone: told already
                release(name)
