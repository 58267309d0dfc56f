"""Trains a model, and tells what its weights reach."""

import functools
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
from jleak.audit.training import checkpoint, course
from jleak.audit.training.course import STEPS, Course, Stand
from jleak.audit.training.plan import Split, Training, length, models, parted
from jleak.check import InputError
from jleak.data import Images
from jleak.training import Pool, State
from jleak.tree import stream
from jleak.types import Params

JUDGED = 10_000
"""Images at most of each side on which the accuracy is measured."""

BLOCK = 250
"""Images judged at once."""


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


class Judge(NamedTuple):
    """What the weights are judged by: the split, the images, the compiled program."""

    split: Split
    pool: Pool
    program: Callable


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
    now, state = begun(plan, images, out)
    clock, stages = time.perf_counter(), []
    found = course.trained(now, state, [course.stages(now, save_every, stages)], tell)
    checkpoint.state_path(out).unlink(missing_ok=True)
    return Result(now.steps, *found, time.perf_counter() - clock, stages)


def begun(plan: Training, images: Images, out: Path) -> tuple[Course, State]:
    """The course with its programs compiled, and the state to start from."""
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
    piece = compiled(training.piece(model, loss, tx, augment=plan.augment), state, own, pool, rows, stop)[0]
    judge = compiled(training.judging(judged, loss), state.params, pool, jnp.zeros(BLOCK, jnp.int32))[0]
    keeping = functools.partial(keep, plan, Judge(split, pool, judge))
    risk = f"optimizer={plan.optimizer}, lr={plan.lr:g}"
    return Course(plan, out, steps, plan.batch, split.train, own, pool, piece, keeping, risk), state


def keep(plan: Training, judge: Judge, path: Path, state: State) -> tuple[Accuracy, Accuracy]:
    """Writes weights with what they reach on training and on held-out images, and returns that."""
    found = [judged(judge, state.params, side) for side in judge.split]
    told = {
        "train_accuracy": f"{found[0].share:.4f}",
        "held_out_accuracy": f"{found[1].share:.4f}",
        "held_out_images": found[1].count,
    }
    checkpoint.save_weights(path, plan, state, told)
    return found[0], found[1]


def judged(judge: Judge, params: Params, places: Int[np.ndarray, " images"]) -> Accuracy:
    """The accuracy on the images at these places, on `JUDGED` of them if there are more."""
    places = places[np.linspace(0, len(places) - 1, min(len(places), JUDGED)).astype(int)]
    right, loss = [], []
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        padded = np.resize(block, BLOCK).astype(np.int32)
        found = judge.program(params, judge.pool, padded)
        for kept, values in zip((right, loss), found, strict=True):
            kept.append(np.asarray(values)[: len(block)])
    if not right:
        return Accuracy(0, 0, math.nan)
    return Accuracy(
        int(np.concatenate(right).sum()), len(places), float(np.concatenate(loss).mean(dtype=float))
    )
