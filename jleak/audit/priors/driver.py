"""Trains a prior: its steps, the sheets of samples on the way, the weights that attacks use, their card."""

import functools
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jleak import priors, training
from jleak.audit.priors.plan import PriorTraining, generators, length, trainer
from jleak.audit.priors.seen import digest
from jleak.audit.programs import compiled
from jleak.audit.training import checkpoint, course
from jleak.audit.training.course import STEPS, Course, Duty, Stand
from jleak.check import whole
from jleak.data import Images
from jleak.tree import stream
from jleak.types import Generator, Key, Params

SAMPLED = 2048
"""Latents by which the statistics of BatchNorm are taken."""

ROWS, COLUMNS = 8, 10
"""Of a sheet of samples."""

Sheet = Float[np.ndarray, "rows columns h w c"]


class Result(NamedTuple):
    """A finished training.

    Attributes:
      steps: steps made, those before a stop included.
      prior: what was written.
      sheet: samples of it; with classes, each column is of one.
      seconds: that this run trained, without compiling.
      stages: the priors written on the way by this run.
    """

    steps: int
    prior: priors.Prior
    sheet: Sheet
    seconds: float
    stages: list[Path]


class Finish(NamedTuple):
    """What makes a prior of a state.

    Attributes:
      settled: `average -> params`, with BatchNorm's statistics, compiled.
      sample: `params -> sheet`, compiled.
      used: the generator as attacks use it.
      facts: the card, but for what depends on the state.
      half: whether files are of float16.
    """

    settled: Callable
    sample: Callable
    used: Generator
    facts: dict[str, str]
    half: bool


def run(
    plan: PriorTraining,
    images: Images,
    out: Path,
    *,
    save_every: int = 0,
    sheet_every: int = 0,
    resume: bool = False,
    tell: Callable[[Stand], None] = lambda stand: None,
    show: Callable[[int, Sheet], None] = lambda step, sheet: None,
) -> Result:
    """Trains a generator, and writes it to `out`.

    Args:
      plan: the settings.
      images: what to train on (`jleak.audit.priors.loaded`).
      out: the file of the prior, `*.safetensors`; beside it stages and state (`checkpoint`).
      save_every: steps between two stages that are kept; 0 for none.
      sheet_every: steps between two calls of `show`; 0 for a tenth of all steps.
      resume: whether to go on with a training that was stopped.
      tell: called after each piece.
      show: called with samples on the way and at the end.

    Raises:
      InputError: settings that do not go together, a file in the way, a loss or weights not finite.
      Stopped: Ctrl-C; a run with `resume` goes on, and gives what it would have given.
    """
    whole("save_every", save_every, least=0, hint="0 keeps no stages")
    whole("sheet_every", sheet_every, least=0, hint="0 is a tenth of all steps")
    checkpoint.check_place(out, resume=resume)
    now, state, finish = begun(plan, images, out)
    clock, stages = time.perf_counter(), []
    sheets = Duty(
        sheet_every or max(1, now.steps // 10), lambda at, state: show(at, drawn(finish, state.average))
    )
    prior = course.trained(now, state, [course.stages(now, save_every, stages), sheets], tell)
    checkpoint.state_path(out).unlink(missing_ok=True)
    seconds = time.perf_counter() - clock
    sheet = np.asarray(finish.sample(prior.params))
    show(now.steps, sheet)
    return Result(now.steps, prior, sheet, seconds, stages)


def begun(plan: PriorTraining, images: Images, out: Path) -> tuple[Course, training.PriorState, Finish]:
    """The course with its programs compiled, the state to start from, and what makes a prior of it."""
    trained, used = generators(plan, images)
    made, key = trainer(plan, trained), jax.random.key(plan.seed)
    steps, taken = length(plan, images.size, made.batches), made.batches * plan.batch
    state = checkpoint.load_state(out, plan, jax.eval_shape(made.init, key))
    if state is None:
        state = compiled(made.init, key)[0](stream(key, "model"))
    pool = training.Pool(jnp.asarray(images.x), jnp.asarray(images.labels, jnp.int32))
    own = stream(key, "steps")
    rows, stop = jnp.zeros((STEPS, taken), jnp.int32), jnp.zeros((), jnp.int32)
    piece = compiled(training.scanned(made.step), state, own, pool, rows, stop)[0]
    finish = Finish(
        compiled(functools.partial(settled, trained, stream(key, "statistics")), state.average)[0],
        compiled(functools.partial(sampled, used, stream(key, "sheet")), state.average)[0],
        used,
        facts(plan, images),
        plan.half,
    )
    numbers = {"objective": plan.objective, "lr": plan.objective_args.get("lr")}
    risk = ", ".join(f"{name}={value}" for name, value in numbers.items())
    places, keeping = np.arange(images.size), functools.partial(keep, finish)
    return Course(plan, out, steps, taken, places, own, pool, piece, keeping, risk), state, finish


def settled(trained: Generator, key: Key, average: Params) -> Params:
    """The averaged weights with the statistics that BatchNorm has at latents z ~ N(0, I).

    The average never saw a batch of its own, so its statistics are taken at the end, over one large batch
    ("standing statistics": Brock et al., ICLR 2019, section 3.1).
    """
    if trained.statistics is None:
        return average
    z, y = latents(trained, key, SAMPLED)
    return {**average, "batch_stats": trained.statistics(average, z, y)}


def sampled(used: Generator, key: Key, params: Params) -> Float[jax.Array, "rows columns h w c"]:
    """A sheet of samples, always of the same latents."""
    return used.apply(params, *latents(used, key, ROWS * COLUMNS)).reshape(ROWS, COLUMNS, *used.shape)


def latents(generator: Generator, key: Key, count: int):
    """(latents, classes in turn, or None where the generator ignores them)"""
    z = jax.random.normal(key, (count, generator.latent))
    return z, jnp.arange(count) % min(generator.classes, COLUMNS) if generator.classes else None


def drawn(finish: Finish, average: Params) -> Sheet:
    """The sheet of a state on the way."""
    return np.asarray(finish.sample(finish.settled(average)))


def keep(finish: Finish, path: Path, state: training.PriorState) -> priors.Prior:
    """Writes the prior of a state."""
    card = finish.facts | {"steps": str(int(state.step))}
    prior = priors.Prior(finish.used, finish.settled(state.average), card)
    priors.save(path, prior, half=finish.half)
    return prior


def facts(plan: PriorTraining, images: Images) -> dict[str, str]:
    """The card: the generator, the images by name, number and digest, the licence, all settings."""
    classes = images.classes if plan.conditional else 0
    return priors.card(
        plan.generator,
        images.shape,
        classes,
        plan.generator_args,
        dataset=plan.source,
        images=images.size,
        images_sha256=digest(images),
        class_names=json.dumps(images.class_names),
        objective=plan.objective,
        licence=plan.licence or "not stated",
        note=plan.note,
        settings=checkpoint.settings(plan),
        jleak=importlib.metadata.version("jleak"),
    )
