"""The compiled programs of a case. The only place in the library that calls `jax.jit`.

Victims, attacker and scoring are separate programs: the first sees the truth and returns updates, the second
gets views alone, the third compares. Settings that are floats (strengths, learning rates) are
arguments of the programs, so cases that differ in them alone share a compilation; so do cases that
differ only in a defense of which the attacker knows nothing.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jleak.audit.case import Case
from jleak.audit.parts import Floats, attack_of, client_of, defense_of, imitates, known_floats
from jleak.metrics import METRICS, best_constant, label_success, pair, psnr, snr
from jleak.search import Search, advance, begin, best, conditioned
from jleak.types import Batch, Key, Model, Params, Reconstruction, View

PIECES = 10
"""Into how many pieces a search is cut: each shows progress and is a snapshot."""


class Given(NamedTuple):
    """What the attacker's programs are given.

    Attributes:
      keys: one a lane; a lane is one restart on one victim.
      victim: each lane's victim.
      params: what the server sent.
      updates: one a victim, after the defense.
      labels: one row a victim, only where the threat grants them.
      floats: the traced settings that the attacker knows.
    """

    keys: Key
    victim: Int[Array, " lanes"]
    params: Params
    updates: Params
    labels: Int[Array, "victims n"] | None
    floats: Floats


class Attacker(NamedTuple):
    """The attacker's compiled programs.

    Attributes:
      begin: `given -> states` of the lanes.
      advance: `(given, states, start) -> (states, losses)`, the next piece of the search.
      finish: `(given, states) -> (Reconstruction of each victim, finite)`; finite tells of each lane
        whether it ever had a finite loss.
      pieces: how often to call `advance`.
      steps: steps in a piece.
    """

    begin: Callable
    advance: Callable
    finish: Callable
    pieces: int
    steps: int


def attacker_settings(case: Case) -> str:
    """The settings that shape the attacker's programs: equal text, equal programs, for equal image shapes.

    >>> strong, weak = (Case(attack="dlg", defense="gaussian", defense_args={"sigma": s}) for s in (1.0, 0.1))
    >>> attacker_settings(strong) == attacker_settings(weak) == attacker_settings(Case(attack="dlg"))
    True
    """
    fields = {k: v for k, v in case.to_json().items() if k not in ("seed", "dataset", "draw")}
    if not imitates(case):
        fields |= {"knows": "nothing", "defense": "none", "defense_args": {}}
    return as_text(fields)


def client_settings(case: Case) -> str:
    """The settings that shape the clients' program, as text.

    >>> client_settings(Case(attack="dlg")) == client_settings(Case(attack="inverting"))
    True
    """
    names = (
        "model",
        "model_args",
        "loss_fn",
        "client",
        "client_args",
        "batch",
        "victims",
        "lanes",
        "defense",
        "defense_args",
    )
    return as_text({name: getattr(case, name) for name in names})


def model_settings(case: Case) -> str:
    """The settings that shape the model, as text."""
    return as_text({name: getattr(case, name) for name in ("model", "model_args")})


def as_text(fields: dict[str, Any]) -> str:
    """Settings as text, the numbers that may be traced left out."""
    for name in {"attack_args", "client_args", "defense_args"} & set(fields):
        fields |= {name: {k: "float" if isinstance(v, float) else v for k, v in fields[name].items()}}
    return json.dumps(fields, sort_keys=True)


def compiled(fn: Callable, *args: Any, donate: tuple[int, ...] = ()) -> tuple[Callable, float]:
    """`fn` compiled for arguments shaped like `args`, and the seconds that it took."""
    clock = time.perf_counter()
    program = jax.jit(fn, donate_argnums=donate).lower(*args).compile()
    return program, time.perf_counter() - clock


def share(case: Case, model: Model) -> Callable:
    """The victims' program: `(params, k_client, batches, floats) -> (updates, snr)`."""

    def program(params, k_client, batches, floats):
        plain = client_of(case, model, floats)
        defended = defense_of(case, floats)(plain)

        def one(args):
            key, batch = args
            update = defended(key, params, batch)
            return update, snr(plain(key, params, batch), update)

        keys = jax.random.split(k_client, case.victims)
        updates, ratios = lax.map(one, (keys, batches), batch_size=chunk(case.victims, case.lanes))
        return updates, ratios

    return program


def attacker(case: Case, model: Model, given: Given) -> tuple[Attacker, float]:
    """The attacker's programs for this case, compiled, and the seconds that it took."""
    size = chunk(case.victims * case.restarts, case.lanes)
    attack = attack_of(case, model, View(given.params, given.updates), known_floats(case))
    steps = attack.steps if isinstance(attack, Search) else 1
    piece = -(-steps // PIECES)

    def over_lanes(fn: Callable, given: Given, *rest: Any) -> Any:
        """`fn(search, key, view, *rest_i)` over the lanes, a few at a time."""

        def one(args):
            key, victim, rest = args
            update = jax.tree.map(lambda u: u[victim], given.updates)
            labels = None if given.labels is None else given.labels[victim]
            view = View(given.params, update, labels)
            return fn(as_search(case, model, given.floats, steps), key, view, *rest)

        return lax.map(one, (given.keys, given.victim, rest), batch_size=size)

    def first(given):
        return over_lanes(begin, given)

    def further(given, states, start):
        def one(search, key, view, state):
            return advance(search, key, state, view, start, piece, stop=steps)

        return over_lanes(one, given, states)

    def finish(given, states):
        runs = over_lanes(lambda search, key, view, state: search.read(state, view), given, states)
        lanes = (case.victims, case.restarts)
        by_victim = jax.tree.map(lambda leaf: leaf.reshape(*lanes, *leaf.shape[1:]), runs)
        return jax.vmap(best)(by_victim), jnp.isfinite(runs.loss)

    states = jax.eval_shape(first, given)
    programs = [
        compiled(first, given),
        compiled(further, given, states, jnp.asarray(0), donate=(1,)),
        compiled(finish, given, states),
    ]
    return Attacker(*(p for p, _ in programs), -(-steps // piece), piece), sum(s for _, s in programs)


def as_search(case: Case, model: Model, floats: Floats, steps: int) -> Search:
    """The case's attack as a search: an iterative one is one, a closed form is a search of one step."""

    def make(view):
        attack = attack_of(case, model, view, floats)
        if isinstance(attack, Search):
            return attack

        def init(key, view):
            return attack(key, view)

        return Search(init, lambda key, state, view: (state, state.loss), lambda state, view: state, 1)

    return conditioned(make, steps)


def score(rec: Reconstruction, batch: Batch) -> tuple[dict[str, Float[Array, ""]], Float[Array, "n h w c"]]:
    """One victim's numbers and the images as compared: clipped to [0, 1], paired one to one with the truth.

    Numbers are means over the victim's images. `constant_psnr` is what the best constant image reaches, an
    oracle's floor to compare with.
    """
    x = jnp.clip(rec.x, 0.0, 1.0)
    x = x[pair(x, batch.x)]
    numbers = {name: entry.fn(x, batch.x).mean() for name, entry in METRICS.items()}
    numbers["label_success"] = label_success(rec.y, batch.y)
    numbers["constant_psnr"] = psnr(best_constant(batch.x), batch.x).mean()
    return numbers | {"loss": rec.loss}, x


def chunk(count: int, most: int) -> int:
    """The largest divisor of `count` up to `most`: all chunks of one shape, so one program.

    >>> chunk(8, 8), chunk(12, 8), chunk(7, 4)
    (8, 6, 1)
    """
    return max(d for d in range(1, min(count, most) + 1) if count % d == 0)
