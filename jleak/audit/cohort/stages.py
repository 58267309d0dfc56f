"""Many models at stages of their training, each stage from the one before; what a run keeps of them."""

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jleak.audit.built import Programs
from jleak.audit.cohort import programs
from jleak.audit.cohort.pools import Pools
from jleak.audit.cohort.programs import Pool
from jleak.audit.cohort.setting import BUILT, TRAINED, Cohort
from jleak.audit.pieces import Tell
from jleak.audit.programs import compiled
from jleak.audit.results import significant
from jleak.audit.shapes import as_text
from jleak.tree import stream
from jleak.types import Key, Model, Params

JUDGED = 250
"""Private images, each model's own, on which the accuracy of trained models is measured."""


class Sides(NamedTuple):
    """Both sides' images, on the host and on the device."""

    pools: Pools
    private: Pool
    public: Pool


class Stage(NamedTuple):
    """Models after so many steps of training; `key` says which."""

    key: str
    steps: int
    params: Params


class Memory:
    """What one run keeps between its cases: all compiled programs, the latest of each intermediate result.

    Only the latest, so that memory does not grow with the number of cases: those of one setting come in a
    row.
    """

    def __init__(self):
        self.programs = Programs()
        self.latest: dict[str, tuple[Any, Any]] = {}
        self.stage: Stage | None = None

    def last(self, name: str, key: Any, build: Callable[[], Any]) -> Any:
        """The latest result of that name if it is of this key; else `build` gives it."""
        if name not in self.latest or self.latest[name][0] != key:
            self.latest.pop(name, None)  # before the next one takes its memory
            self.latest[name] = key, build()
        return self.latest[name][1]

    def compiled(self, name: str, shaping: dict[str, Any], fn: Callable, *args: Any) -> Callable:
        """`fn` compiled for these arguments; `shaping` are the settings that it was made of."""
        shapes = jax.tree.map(lambda leaf: (jnp.shape(leaf), str(jnp.result_type(leaf))), args)
        key = (name, as_text(shaping), str(shapes))
        return self.programs.take(key, lambda: compiled(fn, *args))


def of(case: Cohort, *names: str) -> str:
    """These settings of a case as text."""
    return json.dumps({name: getattr(case, name) for name in names}, sort_keys=True)


def shaping(case: Cohort, *names: str) -> dict[str, Any]:
    """Settings that shape a program: the model and these."""
    return {name: getattr(case, name) for name in (*BUILT, *names)}


def placed(found: Pools) -> Sides:
    """Both sides, the images on the device as well."""
    private, public = (Pool(jnp.asarray(p.x), jnp.asarray(p.labels, jnp.int32)) for p in found)
    return Sides(found, private, public)


def keys(case: Cohort, name: str) -> Key:
    """One key a model, of a stream of that name; more models leave the first ones as they were."""
    key = stream(jax.random.key(case.seed), name)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(case.models))


def keys_each(case: Cohort, name: str, count: int) -> Key:
    """`count` keys a model; more leave the first ones as they were."""
    numbers = jnp.arange(count)
    return jax.vmap(lambda key: jax.vmap(lambda v: jax.random.fold_in(key, v))(numbers))(keys(case, name))


def trained(case: Cohort, model: Model, sides: Sides, memory: Memory, tell: Tell) -> Stage:
    """The case's models after their training, from the latest stage of the same training if it is earlier."""
    key, stage = of(case, *TRAINED), memory.stage
    if stage is None or stage.key != key or stage.steps > case.train_steps:
        memory.stage = None
        fn, own = jax.vmap(model.init), keys(case, "model")
        made = shaping(case) | {"shape": model.shape, "classes": model.classes}  # no argument tells them
        stage = Stage(key, 0, memory.compiled("init", made, fn, own)(own))
    if stage.steps < case.train_steps:
        stage = further(case, model, sides, stage, memory, tell)
    memory.stage = stage
    return stage


def further(case: Cohort, model: Model, sides: Sides, stage: Stage, memory: Memory, tell: Tell) -> Stage:
    """Models of an earlier stage, trained on to the case's."""
    before, end, params = stage.steps, case.train_steps, stage.params
    fixed = keys(case, "training"), sides.public, jnp.asarray(case.train_lr)
    args = (*fixed, jnp.asarray(before), jnp.asarray(end))
    settings = shaping(case, "loss_fn", "train_batch")
    program = memory.compiled("training", settings, programs.training(case, model), params, *args)
    for start in range(before, end, programs.STEPS):
        params = jax.block_until_ready(program(params, *fixed, jnp.asarray(start), jnp.asarray(end)))
        tell((min(start + programs.STEPS, end) - before) / (end - before), math.nan)
    return Stage(stage.key, end, params)


def judged(case: Cohort, model: Model, sides: Sides, stage: Stage, memory: Memory) -> float | None:
    """The mean accuracy of trained models on private images; None for untrained ones."""
    if not case.train_steps:
        return None

    def measure() -> float:
        size = sides.pools.private.size
        picks = jax.vmap(lambda key: jax.random.randint(key, (JUDGED,), 0, size))(keys(case, "judged"))
        args = (stage.params, sides.private, picks)
        program = memory.compiled("accuracy", shaping(case), programs.accuracy(case, model), *args)
        return significant(program(*args).mean()[None])[0]

    return memory.last("judged", (stage.key, stage.steps), measure)
