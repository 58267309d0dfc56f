"""The screen, and text as it is: nothing else is imported for it."""

import resource
import sys

from rich.console import Console

WIDE = 160
"""Columns of a screen that is none: a file or a pipe."""


INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def terminal() -> Console:
    """The screen; a file or a pipe counts as a wide one."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDE)


def say(screen: Console, text: str) -> None:
    """Prints text as it is: paths may hold brackets, and long lines stay whole, to be copied."""
    screen.print(text, soft_wrap=True, highlight=False, markup=False)


def peak() -> float:
    """Peak memory of this process in GiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
