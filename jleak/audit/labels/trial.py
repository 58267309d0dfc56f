"""One case from its seed to its record: models, clients, attacker, score."""

import json
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jleak import data
from jleak.audit.labels import programs
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.pools import Pools, Sets, auxiliary, pools
from jleak.audit.labels.programs import Pool, Seen, Shared
from jleak.audit.parts import floats_of, model_of
from jleak.audit.programs import as_text, compiled
from jleak.audit.store import Record
from jleak.audit.trial import Programs, Tell, device, significant, versions
from jleak.labels import batch_size
from jleak.tree import stream
from jleak.types import Key, Model, Params

JUDGED = 250
"""Private images, each model's own, on which the accuracy of trained models is measured."""

DRAWN = ("dataset", "public", "seed")
BUILT = ("model", "model_args", "models", "lanes")
TRAINED = (*DRAWN, *BUILT, "loss_fn", "train_lr", "train_batch")
ATTACKED = ("attack", "attack_args", "assumed_batch", "auxiliary")


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


def trial(case: LabelCase, sets: Sets, memory: Memory, tell: Tell) -> tuple[Record, dict]:
    """Runs one case; its record, and its images, which are none.

    The record: `kind`, the case's fields, `status` and

    - `success`: one number a model x victim, see `success`; null where the update is not finite;
    - `imbalance`: of the update's classifier layer (`jleak.labels.imbalance`), one a model x victim;
    - `found`: how many labels the attack predicted, one a model x victim;
    - `batch_estimate`, `batch_error`, `batch_chance`: see `sized`; null where the attacker has a batch size;
    - `accuracy`: of the trained models on private images, the mean; an oracle's number, null for untrained;
    - `seconds` of the attack, `compile_seconds`, `device`, `versions`.

    Args:
      case: the settings.
      sets: the data sets that it names.
      memory: of this run; used and filled.
      tell: called after each piece of the training.
    """
    before = memory.programs.seconds
    sides = memory.last("sides", of(case, *DRAWN), lambda: placed(pools(case, sets)))
    model = model_of(case, sides.pools.private.shape, sides.pools.private.classes)
    stage = trained(case, model, sides, memory, tell)
    apart = {name: value for name, value in case.to_json().items() if name not in ATTACKED}
    shared, truth = memory.last(
        "shared", json.dumps(apart, sort_keys=True), lambda: clients(case, model, sides, stage.params, memory)
    )
    counts, seconds = attacked(case, model, sides, stage.params, shared.updates, memory)
    scores = success(counts, truth, shares=case.believed != case.batch)
    return {
        "case_id": case.case_id,
        "kind": "labels",
        **case.to_json(),
        "status": status(shared),
        "success": significant(np.where(shared.finite, scores, math.nan).ravel()),
        "imbalance": significant(np.ravel(shared.imbalance)),
        "found": counts.sum(-1).ravel().tolist(),
        **sized(case, counts, np.ravel(shared.finite), memory),
        "accuracy": judged(case, model, sides, stage, memory),
        "seconds": round(seconds, 4),
        "compile_seconds": round(memory.programs.seconds - before, 4),
        "device": device(),
        "versions": versions(),
    }, {}


def of(case: LabelCase, *names: str) -> str:
    """These settings of a case as text."""
    return json.dumps({name: getattr(case, name) for name in names}, sort_keys=True)


def shaping(case: LabelCase, *names: str) -> dict[str, Any]:
    """Settings that shape a program: the model and these."""
    return {name: getattr(case, name) for name in (*BUILT, *names)}


def placed(found: Pools) -> Sides:
    """Both sides, the images on the device as well."""
    private, public = (Pool(jnp.asarray(p.x), jnp.asarray(p.labels, jnp.int32)) for p in found)
    return Sides(found, private, public)


def keys(case: LabelCase, name: str) -> Key:
    """One key a model, of a stream of that name; more models leave the first ones as they were."""
    key = stream(jax.random.key(case.seed), name)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(case.models))


def victim_keys(case: LabelCase, name: str) -> Key:
    """One key a model and victim."""
    numbers = jnp.arange(case.victims)
    return jax.vmap(lambda key: jax.vmap(lambda v: jax.random.fold_in(key, v))(numbers))(keys(case, name))


def trained(case: LabelCase, model: Model, sides: Sides, memory: Memory, tell: Tell) -> Stage:
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


def further(case: LabelCase, model: Model, sides: Sides, stage: Stage, memory: Memory, tell: Tell) -> Stage:
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


def judged(case: LabelCase, model: Model, sides: Sides, stage: Stage, memory: Memory) -> float | None:
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


def clients(
    case: LabelCase, model: Model, sides: Sides, params: Params, memory: Memory
) -> tuple[Shared, Int[np.ndarray, "models victims classes"]]:
    """The clients' side: what they send, and how often each class is in their batches."""
    private, key = sides.pools.private, stream(jax.random.key(case.seed), "data")
    picks = data.picks(key, private, case.models * case.victims, case.batch, case.draw)
    picks = picks.reshape(case.models, case.victims, case.batch)
    floats = {kind: floats_of(case)[kind] for kind in ("client", "defense")}
    args = (params, victim_keys(case, "client"), sides.private, jnp.asarray(picks), floats)
    names = ("loss_fn", "client", "client_args", "batch", "victims", "defense", "defense_args")
    program = memory.compiled("clients", shaping(case, *names), programs.clients(case, model), *args)
    truth = (private.labels[picks][..., None] == np.arange(private.classes)).sum(2)
    return program(*args), truth


def attacked(
    case: LabelCase, model: Model, sides: Sides, params: Params, updates: Params, memory: Memory
) -> tuple[Int[np.ndarray, "models victims classes"], float]:
    """The attacker's side: the counts that it infers, and the seconds that it took."""
    key = of(case, *DRAWN, "models", "auxiliary")
    aside = memory.last(
        "auxiliary", key, lambda: jnp.asarray(auxiliary(case, sides.pools.public, case.models))
    )
    floats = {kind: floats_of(case)[kind] for kind in ("attack", "client")}
    seen = Seen(victim_keys(case, "attack"), params, updates, sides.public, aside, floats)
    names = ("loss_fn", "client", "client_args", "believed", "victims", "attack", "attack_args")
    program = memory.compiled("attacker", shaping(case, *names), programs.attacker(case, model), seen)
    clock = time.perf_counter()
    counts = np.asarray(program(seen))
    return counts, time.perf_counter() - clock


def success(
    predicted: Int[np.ndarray, "... classes"], true: Int[np.ndarray, "... classes"], *, shares: bool = False
) -> Float[np.ndarray, "..."]:
    """How much of what was predicted is true: sum_c min(predicted_c, true_c) / sum_c predicted_c.

    Where the attacker reckons with another batch size, or with none, numbers of labels do not compare; then
    it is the overlap of shares, sum_c min(predicted_c / sum predicted, true_c / sum true). One is all, also
    there. Nothing predicted counts as 0.

    Args:
      predicted, true: how often each class occurs.
      shares: whether to compare shares in place of numbers.

    >>> float(success(np.array([2, 2, 0]), np.array([1, 0, 3])))
    0.25
    >>> float(success(np.array([4, 0]), np.array([1, 1]), shares=True))
    0.5
    """
    total = np.maximum(predicted.sum(-1), 1)
    if shares:
        predicted, true = predicted / total[..., None], true / true.sum(-1, keepdims=True)
        return np.minimum(predicted, true).sum(-1)
    return np.minimum(predicted, true).sum(-1) / total


def sized(
    case: LabelCase,
    counts: Int[np.ndarray, "models victims classes"],
    kept: Bool[np.ndarray, " updates"],
    memory: Memory,
) -> dict[str, list | None]:
    """The batch size as the attacker estimates it from the shares, where it is not told one.

    `batch_estimate` (0: the shares do not tell), `batch_error` in labels and `batch_chance`: the fields of
    `jleak.labels.Size`, one a model x victim; null of an update that is not `kept`, being not finite. Where
    the attacker has a batch size in mind, its counts have no other to tell.
    """
    names = ("batch_estimate", "batch_error", "batch_chance")
    if case.assumed_batch != "unknown":
        return dict.fromkeys(names)
    shares = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    shares = jnp.asarray(shares.reshape(-1, shares.shape[-1]), jnp.float32)
    program = memory.compiled("size", {}, jax.vmap(batch_size), shares)
    batch, error, chance = (np.where(kept, found, math.nan) for found in program(shares))
    estimate = [None if math.isnan(n) else int(n) for n in batch]
    return dict(zip(names, (estimate, significant(error), significant(chance)), strict=True))


def status(shared: Shared) -> str:
    """`ok`, or why the numbers cannot be trusted."""
    if not bool(jnp.all(shared.finite)):
        return "non-finite update"
    return "all-zero update" if bool(jnp.any(shared.masked)) else "ok"
