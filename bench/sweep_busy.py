"""`jleak`, saying at its end how long its devices worked and how long it waited for programs to be compiled.

Programs are waited for as they are called, which costs what calls would have overlapped.
"""

import threading
import time

import jax

from jleak.audit import built, programs

WORKED, WAITED = [0.0], [0.0]
compiled, take = programs.compiled, built.Programs.take


def watched(fn, *args, **how):
    """A program that is waited for, and its seconds counted."""
    program, seconds = compiled(fn, *args, **how)

    def run(*args):
        clock = time.perf_counter()
        found = jax.block_until_ready(program(*args))
        WORKED[0] += time.perf_counter() - clock
        return found

    return run, seconds


def taken(self, key, build):
    """A program as it is taken, the seconds counted if nobody else builds it meanwhile."""
    clock = time.perf_counter()
    found = take(self, key, build)
    if threading.current_thread() is threading.main_thread():
        WAITED[0] += time.perf_counter() - clock
    return found


programs.compiled, built.Programs.take = watched, taken

from jleak.cli import main  # noqa: E402

if __name__ == "__main__":
    try:
        main()
    finally:
        print(f"devices worked for {WORKED[0]:.2f} s; waited {WAITED[0]:.2f} s for programs", flush=True)
