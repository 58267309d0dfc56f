"""One case from its seed to its record: models, clients, attacker, score."""

import json
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jleak import data
from jleak.audit.cohort.pools import Sets, pools
from jleak.audit.cohort.setting import DRAWN
from jleak.audit.cohort.stages import Memory, Sides, judged, keys_each, of, placed, shaping, trained
from jleak.audit.labels import programs
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.pools import auxiliary
from jleak.audit.labels.programs import Seen, Shared
from jleak.audit.parts import floats_of, model_of
from jleak.audit.pieces import Tell
from jleak.audit.results import device, significant, versions
from jleak.audit.store import Record
from jleak.labels import batch_size
from jleak.tree import stream
from jleak.types import Model, Params

ATTACKED = ("attack", "attack_args", "assumed_batch", "auxiliary")


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


def clients(
    case: LabelCase, model: Model, sides: Sides, params: Params, memory: Memory
) -> tuple[Shared, Int[np.ndarray, "models victims classes"]]:
    """The clients' side: what they send, and how often each class is in their batches."""
    private, key = sides.pools.private, stream(jax.random.key(case.seed), "data")
    picks = data.picks(key, private, case.models * case.victims, case.batch, case.draw)
    picks = picks.reshape(case.models, case.victims, case.batch)
    floats = {kind: floats_of(case)[kind] for kind in ("client", "defense")}
    args = (params, keys_each(case, "client", case.victims), sides.private, jnp.asarray(picks), floats)
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
    seen = Seen(keys_each(case, "attack", case.victims), params, updates, sides.public, aside, floats)
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
