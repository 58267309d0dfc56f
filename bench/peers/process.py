"""A peer in a process of its own, asked over pipes."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent


def breaching(python: str, precision: str) -> contextlib.AbstractContextManager:
    """`asked` of breaching's attacker; `precision` of float32 products, as JAX names it."""
    return asked(python, "breaching_worker.py", "--precision", precision)


def ggl(python: str) -> contextlib.AbstractContextManager:
    """`asked` of the loop of GGL's reference code."""
    return asked(python, "ggl_worker.py")


@contextlib.contextmanager
def asked(python: str, worker: str, *options: str) -> Iterator[tuple[dict, Callable | None]]:
    """(what runs there, `(model, count, threads, **more) -> answer`); no function where it is missing.

    Args:
      python: a Python that has what the worker imports.
      worker: its file, in this folder.
      options: of its command line.
    """
    command = [python, "-W", "ignore", str(HERE / worker), *options]
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=free, **pipes) as process:

        def answer():
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{worker} in {python} ended; its error stands above")
            return json.loads(line)

        def ask(model, iterations, threads, **more):
            question = {"model": model, "iterations": iterations, "threads": threads, **more}
            print(json.dumps(question), file=process.stdin, flush=True)
            return answer()

        about = answer()
        yield about, None if "missing" in about else ask
