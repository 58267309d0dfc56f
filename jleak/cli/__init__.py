"""The command line: `jleak audit | labels | measure | sweep | bench-optimizers | train-model | ...`.

Imports of anything heavy are inside the commands, so that `jleak --help` is quick.
"""

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads only hurt small eigenproblems

import typer

from jleak.check import InputError
from jleak.cli import runs, sweeps, training, viewing
from jleak.cli.app import app

__all__ = ["app", "main", "runs", "sweeps", "training", "viewing"]


def main() -> None:
    """Runs the command; a wrong input is one message and exit code 2."""
    sys.path.append(os.getcwd())  # where the user's own package.module:factory may be
    try:
        app()
    except InputError as error:
        typer.secho(f"jleak: {error}", fg="red", err=True)
        sys.exit(2)
