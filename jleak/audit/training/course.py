"""Any training piece by piece: progress, duties on the way, stopping and going on to the same bits."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jleak import training
from jleak.audit.training import checkpoint
from jleak.check import InputError
from jleak.training import Pool
from jleak.tree import stream
from jleak.types import Key

STEPS = 20
"""Steps in one call of the program: after each the training can be stopped."""

SECONDS = 30.0
"""Between two writings of the state."""


class Stand(NamedTuple):
    """Where a training stands."""

    step: int
    steps: int
    loss: float


class Stopped(KeyboardInterrupt):
    """Ctrl-C; the state after `step` steps is kept at `path`."""

    def __init__(self, step: int, path: Path):
        super().__init__(f"stopped after {step} steps, kept in {path}")
        self.step, self.path = step, path


class Course(NamedTuple):
    """What stays the same from the first step of a training to the last.

    Attributes:
      plan: its settings.
      out: the file of the weights.
      steps: its length.
      images: images that a step takes.
      places: where in the pool the training images are.
      key: of what is random in a step.
      pool: the images.
      piece: the compiled program of `jleak.training.scanned`.
      keep: `(path, state) -> what was found`: writes the weights.
      risk: the settings that make a training diverge, for the message.
    """

    plan: checkpoint.Plan
    out: Path
    steps: int
    images: int
    places: Int[np.ndarray, " train"]
    key: Key
    pool: Pool
    piece: Callable
    keep: Callable[[Path, Any], Any]
    risk: str


class Duty(NamedTuple):
    """What is done to the state after every so many steps, but not after the last; 0 is never."""

    every: int
    do: Callable[[int, Any], None]

    def due(self, at: int) -> bool:
        """Whether it is to be done after step `at`."""
        return self.every > 0 and at % self.every == 0

    def next(self, at: int, steps: int) -> int:
        """The next step after `at` at which it is due, `steps` at most.

        >>> duty = Duty(10, print)
        >>> duty.next(0, 35), duty.next(10, 35), duty.next(30, 35), Duty(0, print).next(30, 35)
        (10, 20, 35, 35)
        """
        return min((at // self.every + 1) * self.every, steps) if self.every > 0 else steps


def stages(course: Course, every: int, made: list[Path]) -> Duty:
    """Keeps the weights beside the final ones, and notes their files in `made`."""

    def keep(at, state):
        made.append(checkpoint.stage_path(course.out, at))
        course.keep(made[-1], state)
        checkpoint.save_state(course.out, course.plan, state)

    return Duty(every, keep)


def trained(course: Course, state: Any, duties: Sequence[Duty], tell: Callable[[Stand], None]) -> Any:
    """Trains to the end, keeps the weights, and returns what was found then.

    Raises:
      InputError: a loss or a state that is not finite.
      Stopped: Ctrl-C; the state is kept.
    """
    plan, out, steps = course.plan, course.out, course.steps
    at, saved = int(state.step), time.monotonic()
    try:
        while at < steps:
            stop = min(at + STEPS, *(duty.next(at, steps) for duty in duties), steps)
            state, losses = advanced(course, state, at, stop)
            at = stop
            tell(Stand(at, steps, float(losses.mean())))
            for duty in duties:
                if duty.due(at) and at < steps:
                    duty.do(at, state)
            if time.monotonic() - saved > SECONDS:
                checkpoint.save_state(out, plan, state)
                saved = time.monotonic()
        return course.keep(out, state)
    except KeyboardInterrupt:
        checkpoint.save_state(out, plan, state)
        raise Stopped(int(state.step), checkpoint.state_path(out)) from None


def advanced(course: Course, state: Any, at: int, stop: int) -> tuple[Any, np.ndarray]:
    """The state after step `stop`, and the losses on the way.

    Raises:
      InputError: a loss or a number of the state is not finite; the weights before it are kept.
    """
    picks = picked(course, at)
    after, losses, finite = course.piece(state, course.key, course.pool, picks, jnp.asarray(stop, jnp.int32))
    if bool(finite):
        return after, np.asarray(losses, float)[: stop - at]
    bad = np.flatnonzero(~np.isfinite(np.asarray(losses)))
    when = at + int(bad[0]) + 1 if len(bad) else stop
    kept = "nothing is kept"
    if at:
        path = checkpoint.stage_path(course.out, at)
        course.keep(path, state)
        kept = f"the weights after {at} steps are kept in {path}"
    raise InputError(
        f"the training diverged: loss or weights are not finite by step {when} of {course.steps} with "
        f"{course.risk}; {kept}. Use a smaller --lr"
    )


def picked(course: Course, at: int) -> Int[np.ndarray, "steps images"]:
    """The images of the steps from `at` on."""
    key = stream(jax.random.key(course.plan.seed), "order")
    return course.places[training.order(key, len(course.places), course.images, at, STEPS)]
