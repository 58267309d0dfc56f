"""A peer in a process of its own, asked over pipes."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

WORKER = Path(__file__).parent / "breaching_worker.py"


@contextlib.contextmanager
def breaching(python: str, precision: str) -> Iterator[tuple[dict, Callable | None]]:
    """(what runs there, `(model, iterations, threads, **more) -> answer`); no function where it is missing.

    Args:
      python: a Python that has breaching and torch.
      precision: of float32 products, as JAX names it.
    """
    command = [python, "-W", "ignore", str(WORKER), "--precision", precision]
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=free, **pipes) as worker:

        def answer():
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"{WORKER.name} in {python} ended; its error stands above")
            return json.loads(line)

        def ask(model, iterations, threads, **more):
            asked = {"model": model, "iterations": iterations, "threads": threads, **more}
            print(json.dumps(asked), file=worker.stdin, flush=True)
            return answer()

        about = answer()
        yield about, None if "missing" in about else ask
