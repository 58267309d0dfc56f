"""What `jleak train-model` shows while it works and when it is done."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from jleak import data
from jleak.audit import training
from jleak.audit.config import Spec, parse_spec
from jleak.audit.training import Result, Stand, Stopped, Training
from jleak.audit.training.driver import Accuracy
from jleak.check import InputError, whole
from jleak.report.rows import wilson
from jleak.report.screen import INTERRUPTED, peak, say, terminal
from jleak.report.session import again, caching, progress

LINES = 10
"""Lines of progress where there is no terminal."""


def start(
    flags: dict[str, Any], *, out: Path | None, save_every: int, resume: bool, cache: Path | str | None
) -> None:
    """Trains a model in the terminal: progress, what it reaches, and how to audit it.

    Args:
      flags: what was said, by the names of `Training`, or None; `model` as one types it, arguments and all.
      out: the file of the weights; None for the model's name.
      save_every: steps between two stages that are kept; 0 for none.
      resume: whether to go on with a training that was stopped.
      cache: the compilation cache: a directory, "default", or None for none.

    Raises:
      InputError: bad input; nothing was lost.
    """
    screen, plan = terminal(), plan_of(flags)
    out = out or Path(f"{plan.model.rpartition(':')[2]}.safetensors")
    caching(cache)
    images = data.load(plan.dataset)

    def work(tell):
        return training.run(plan, images, out, save_every=save_every, resume=resume, tell=tell)

    found = followed(screen, f"{plan.model} on {plan.dataset}", out, work)
    say(screen, told(found))
    for path in (*found.stages, out):
        say(screen, f"weights   {path}")
    audit = ["jleak", "audit", "--model", flags["model"], "--dataset", plan.dataset]
    say(screen, f"audit     {shlex.join([*audit, '--weights', str(out)])}")


def followed(screen: Console, title: str, out: Path, work: Callable[[Callable], Any]) -> Any:
    """What `work(tell)`, a training to `out`, returns, its progress shown; Ctrl-C says how to go on."""
    try:
        with progress(screen) as bars:
            return work(shown(bars, title))
    except Stopped as stop:
        command = again(out, shlex.join(["jleak", *sys.argv[1:]]))
        say(screen, f"\nstopped after {stop.step} steps, kept in {stop.path}. Go on with:\n  {command}")
    except KeyboardInterrupt:
        say(screen, "\nstopped before the first step; nothing was written")
    raise SystemExit(INTERRUPTED)


def plan_of(flags: dict[str, Any]) -> Training:
    """The training that the flags describe.

    Raises:
      InputError: an unknown name, a number out of bounds, epochs and steps at once.

    >>> plan_of({"model": "mlp:hidden=8", "steps": 100, "lr": None}).model_args["hidden"]
    8
    """
    given = lengths(flags)
    spec = Spec.model_validate(parse_spec(given["model"]))
    return Training(**given | {"model": spec.name, "model_args": spec.args})


def lengths(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, of which one at most says how long the training is.

    Raises:
      InputError: epochs and steps at once, no step at all.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if given.keys() >= {"epochs", "steps"}:
        raise InputError(
            f"a training has epochs or steps, got --epochs {given['epochs']} --steps {given['steps']}; "
            "leave one out"
        )
    whole("steps", given.get("steps", 1))
    return given


def told(found: Result) -> str:
    """What a training reached, in three lines."""
    return (
        f"training  loss {found.train.loss:.4g}, accuracy {accuracy(found.train)}\n"
        f"held out  {'none' if not found.held_out.count else 'loss'}"
        + (f" {found.held_out.loss:.4g}, accuracy {accuracy(found.held_out)}" if found.held_out.count else "")
        + f"\n{found.steps} steps, {found.seconds:.1f} s without compiling; peak memory {peak():.1f} GiB"
    )


def accuracy(found: Accuracy) -> str:
    """An accuracy with its 95 % interval (Wilson).

    >>> accuracy(Accuracy(90, 100, 0.1))
    '90.0 % [82.6, 94.5] of 100 images'
    """
    low, high = wilson(found.right, found.count)
    return f"{100 * found.share:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {found.count} images"


def shown(bars: Progress, title: str):
    """A listener of a training that moves a bar; a line each tenth of it where there is no terminal."""
    task = bars.add_task(title, total=None)
    seen = set()

    def listen(stand: Stand) -> None:
        text = f"{title}, loss {stand.loss:.4g}"
        bars.update(task, completed=stand.step, total=stand.steps, description=text)
        part = stand.step * LINES // stand.steps
        if not bars.console.is_terminal and part not in seen:
            seen.add(part)
            say(bars.console, f"step {stand.step}/{stand.steps} loss {stand.loss:.4g}")

    return listen
