"""`jleak sweep run`, saying at its end for how long devices had work, and how long programs were waited for.

With `--alone` as its first word: one batch at a time, each program waited for, nothing written, so that the
devices work for nothing but the programs.
"""

import queue
import sys
import threading
import time

import jax

from jleak.audit import built, programs
from jleak.audit.sweep import run, worker

WORK, WAITS, RUNS = [], [], []
"""Intervals in which a program was computed, one was waited for, and the sweep ran."""

QUEUE = queue.SimpleQueue()
compiled, take, drive = programs.compiled, built.Programs.take, run.drive
alone = sys.argv[1] == "--alone"


def watched(fn, *args, **how):
    """A program whose results are waited for: here if it is alone, else by a thread."""
    program, seconds = compiled(fn, *args, **how)

    def called(*args):
        clock = time.perf_counter()
        found = program(*args)
        if alone:
            jax.block_until_ready(found)
            WORK.append((clock, time.perf_counter()))
        else:
            QUEUE.put((clock, found))
        return found

    return called, seconds


def watch():
    """Notes when results are there; those that the next program has overwritten were."""
    while True:
        clock, found = QUEUE.get()
        for leaf in jax.tree.leaves(found):
            try:
                leaf.block_until_ready()
            except RuntimeError:
                break
        WORK.append((clock, time.perf_counter()))
        del found, leaf


def taken(self, key, build):
    """A program as it is taken, with when the driver waited for it."""
    clock = time.perf_counter()
    found = take(self, key, build)
    if threading.current_thread() is threading.main_thread():
        WAITS.append((clock, time.perf_counter()))
    return found


def unwritten(where, job, outcome, images, release):
    """What stands for writing a part."""
    release(job.name)
    return job, 0


def union(intervals):
    """Seconds that lie in one of the intervals at least."""
    total, until = 0.0, 0.0
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def driven(*args, **how):
    """The sweep, with when it ran."""
    clock = time.perf_counter()
    try:
        return drive(*args, **how)
    finally:
        RUNS.append((clock, time.perf_counter()))


programs.compiled, built.Programs.take, run.drive = watched, taken, driven
if alone:
    sys.argv.pop(1)
    worker.write, worker.at_once = unwritten, lambda *_: 1
else:
    sys.setswitchinterval(2e-4)  # so that the thread notes the time at once
    threading.Thread(target=watch, daemon=True).start()

from jleak.cli import main  # noqa: E402

if __name__ == "__main__":
    try:
        main()
    finally:
        told = [union(one) for one in (RUNS, WORK, WAITS, WORK + WAITS)]
        names = "ran", "devices had work", "programs were waited for", "either"
        print("; ".join(f"{name}: {one:.2f} s" for name, one in zip(names, told, strict=True)), flush=True)
