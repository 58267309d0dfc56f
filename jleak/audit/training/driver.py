"""Runs a training piece by piece: progress, stages, stopping and going on to the same bits."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jleak import catalog, training
from jleak.audit.programs import compiled
from jleak.audit.training import checkpoint
from jleak.audit.training.plan import Split, Training, length, models, parted
from jleak.check import InputError
from jleak.data import Images
from jleak.training import Pool, State
from jleak.tree import stream
from jleak.types import Key, Params

STEPS = 20
"""Steps in one call of the program: after each the training can be stopped."""

SECONDS = 30.0
"""Between two writings of the state."""

JUDGED = 10_000
"""Images at most of each side on which the accuracy is measured."""

BLOCK = 250
"""Images judged at once."""


class Stand(NamedTuple):
    """Where a training stands."""

    step: int
    steps: int
    loss: float


class Accuracy(NamedTuple):
    """How many of the images judged are classified rightly, and the mean loss."""

    right: int
    count: int
    loss: float

    @property
    def share(self) -> float:
        """The accuracy; NaN where nothing was judged."""
        return self.right / self.count if self.count else math.nan


class Result(NamedTuple):
    """A finished training.

    Attributes:
      steps: steps made, those before a stop included.
      train, held_out: what the weights reach.
      seconds: that this run trained and measured, without compiling.
      stages: the weights written on the way by this run.
    """

    steps: int
    train: Accuracy
    held_out: Accuracy
    seconds: float
    stages: list[Path]


class Stopped(KeyboardInterrupt):
    """Ctrl-C; the state after `step` steps is kept at `path`."""

    def __init__(self, step: int, path: Path):
        super().__init__(f"stopped after {step} steps, kept in {path}")
        self.step, self.path = step, path


class Programs(NamedTuple):
    """The compiled programs of a training."""

    piece: Callable
    judge: Callable


class Course(NamedTuple):
    """What stays the same from the first step to the last."""

    plan: Training
    out: Path
    split: Split
    steps: int
    key: Key
    pool: Pool
    programs: Programs


def run(
    plan: Training,
    images: Images,
    out: Path,
    *,
    save_every: int = 0,
    resume: bool = False,
    tell: Callable[[Stand], None] = lambda stand: None,
) -> Result:
    """Trains, and writes the weights to `out`.

    Args:
      plan: the settings.
      images: its data set.
      out: the file of the weights, `*.safetensors`; beside it stages and state (`checkpoint`).
      save_every: steps between two stages that are kept; 0 for none.
      resume: whether to go on with a training that was stopped.
      tell: called after each piece.

    Raises:
      InputError: settings that do not go together, a file in the way, a loss or weights not finite.
      Stopped: Ctrl-C; a run with `resume` goes on, and gives what it would have given.
    """
    if save_every < 0:
        raise InputError(f"save_every must be >= 0, got save_every={save_every}; 0 keeps no stages")
    checkpoint.check_place(out, resume=resume)
    course, state = begun(plan, images, out)
    clock, stages = time.perf_counter(), []
    found = trained(course, state, save_every, stages, tell)
    checkpoint.state_path(out).unlink(missing_ok=True)
    return Result(course.steps, *found, time.perf_counter() - clock, stages)


def begun(plan: Training, images: Images, out: Path) -> tuple[Course, State]:
    """The programs, compiled, and the state to start from."""
    split, key = parted(plan, images), jax.random.key(plan.seed)
    steps = length(plan, len(split.train))
    loss = catalog.find("loss_fn", plan.loss_fn, catalog.LOSSES)
    tx = training.transformation(
        plan.optimizer, lr=plan.lr, schedule=plan.schedule, steps=steps, weight_decay=plan.weight_decay
    )
    model, judged = models(plan, images)

    def start(key):
        return training.begun(tx, model.init(key))

    state = checkpoint.load_state(out, plan, jax.eval_shape(start, key))
    pool = Pool(jnp.asarray(images.x), jnp.asarray(images.labels, jnp.int32))
    if state is None:
        state = compiled(start, key)[0](stream(key, "model"))
    own = stream(key, "augment")
    rows, stop = jnp.zeros((STEPS, plan.batch), jnp.int32), jnp.zeros((), jnp.int32)
    program = training.piece(model, loss, tx, augment=plan.augment)
    programs = Programs(
        compiled(program, state, own, pool, rows, stop)[0],
        compiled(training.judging(judged, loss), state.params, pool, jnp.zeros(BLOCK, jnp.int32))[0],
    )
    return Course(plan, out, split, steps, own, pool, programs), state


def trained(
    course: Course, state: State, save_every: int, stages: list[Path], tell: Callable[[Stand], None]
) -> tuple[Accuracy, Accuracy]:
    """Trains to the end; keeps the weights, and on the way what `run` promises."""
    plan, out, steps = course.plan, course.out, course.steps
    at, saved = int(state.step), time.monotonic()
    try:
        while at < steps:
            stop = min(at + STEPS, steps, (at // save_every + 1) * save_every if save_every else steps)
            state, losses = advanced(course, state, at, stop)
            at = stop
            tell(Stand(at, steps, float(losses.mean())))
            stage = save_every and at % save_every == 0 and at < steps
            if stage:
                stages.append(checkpoint.stage_path(out, at))
                keep(course, stages[-1], state)
            if stage or time.monotonic() - saved > SECONDS:
                checkpoint.save_state(out, plan, state)
                saved = time.monotonic()
        return keep(course, out, state)
    except KeyboardInterrupt:
        checkpoint.save_state(out, plan, state)
        raise Stopped(int(state.step), checkpoint.state_path(out)) from None


def advanced(course: Course, state: State, at: int, stop: int) -> tuple[State, np.ndarray]:
    """The state after step `stop`, and the losses on the way.

    Raises:
      InputError: a loss or a weight is not finite; the weights before it are kept.
    """
    plan, train = course.plan, course.split.train
    order_key = stream(jax.random.key(plan.seed), "order")
    picks = train[training.order(order_key, len(train), plan.batch, at, STEPS)]
    after, losses, finite = course.programs.piece(
        state, course.key, course.pool, picks, jnp.asarray(stop, jnp.int32)
    )
    if bool(finite):
        return after, np.asarray(losses, float)[: stop - at]
    bad = np.flatnonzero(~np.isfinite(np.asarray(losses)))
    when = at + int(bad[0]) + 1 if len(bad) else stop
    kept = "nothing is kept"
    if at:
        path = checkpoint.stage_path(course.out, at)
        keep(course, path, state)
        kept = f"the weights after {at} steps are kept in {path}"
    raise InputError(
        f"the training diverged: loss or weights are not finite by step {when} of {course.steps} with "
        f"optimizer={plan.optimizer}, lr={plan.lr:g}; {kept}. Use a smaller --lr"
    )


def keep(course: Course, path: Path, state: State) -> tuple[Accuracy, Accuracy]:
    """Writes weights with what they reach on training and on held-out images, and returns that."""
    found = [judged(course, state.params, side) for side in course.split]
    told = {
        "train_accuracy": f"{found[0].share:.4f}",
        "held_out_accuracy": f"{found[1].share:.4f}",
        "held_out_images": found[1].count,
    }
    checkpoint.save_weights(path, course.plan, state, told)
    return found[0], found[1]


def judged(course: Course, params: Params, places: Int[np.ndarray, " images"]) -> Accuracy:
    """The accuracy on the images at these places, on `JUDGED` of them if there are more."""
    places = places[np.linspace(0, len(places) - 1, min(len(places), JUDGED)).astype(int)]
    right, loss = [], []
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        padded = np.resize(block, BLOCK).astype(np.int32)
        found = course.programs.judge(params, course.pool, padded)
        for kept, values in zip((right, loss), found, strict=True):
            kept.append(np.asarray(values)[: len(block)])
    if not right:
        return Accuracy(0, 0, math.nan)
    return Accuracy(
        int(np.concatenate(right).sum()), len(places), float(np.concatenate(loss).mean(dtype=float))
    )
