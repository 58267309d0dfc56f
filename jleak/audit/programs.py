"""The compiled programs of a case. The only place in the library that calls `jax.jit`.

Victims, attacker and scoring are separate programs: the first sees the truth and returns updates, the second
gets views alone, the third compares. Each serves one case or a stack of cases that differ in seeds and
traced settings alone (`jleak.audit.shapes`): their victims lie one after the other, and what a case has one
of has a leading axis of cases where there are several.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree, UInt32

from jleak.audit import lanes
from jleak.audit.case import Case
from jleak.audit.lanes import Layout
from jleak.audit.parts import Floats, attack_of, client_of, defense_of, known_floats, loss_of
from jleak.labels import noise_level
from jleak.leakage import mixing
from jleak.metrics import snr
from jleak.search import Search, advance, begin, best, conditioned
from jleak.tree import finite, stream
from jleak.types import Key, Model, Params, Reconstruction, View

PIECES = 16
"""Into how many pieces a search is cut: after each it shows progress and restarts may end."""


class Given(NamedTuple):
    """What the attacker's programs are given.

    Attributes:
      keys: one a lane; a lane is one restart on one victim. The programs want one a slot.
      victim: each lane's victim.
      params: what the server sent; by case, where there are several and they begin with weights of their own.
      updates: one a victim, after the defense.
      labels: one row a victim, only where the threat grants them.
      statistics: the victims' BatchNorm statistics, only where the model says that clients send them.
      floats: the traced settings that the attacker knows; by case, where there are several.
      prior: the weights of the attacker's generator, where its attack names one.
    """

    keys: Key
    victim: Int[Array, " lanes"]
    params: Params
    updates: Params
    labels: Int[Array, "victims n"] | None
    statistics: PyTree | None
    floats: Floats
    prior: PyTree | None = None


class Standing(NamedTuple):
    """How far a lane has come.

    Attributes:
      loss: its lowest so far.
      evaluations: gradient evaluations of the victim model so far.
    """

    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


class Attacker(NamedTuple):
    """The attacker's compiled programs. Lanes are given slot by slot (`jleak.audit.lanes`).

    Attributes:
      begin: `given -> states`.
      advance: `(given, (states, standings), start, going) -> (states, standings)`: the next piece of the
        search.
      finish: `(given, states, slots) -> (Reconstruction of each victim, finite)`; finite tells of each lane
        whether it ever had a finite loss.
      layout: where the lanes lie.
      pieces: how often to call `advance`.
      steps: steps in a piece.
    """

    begin: Callable
    advance: Callable
    finish: Callable
    layout: Layout
    pieces: int
    steps: int


def compiled(
    fn: Callable, *args: Any, donate: tuple[int, ...] = (), precision: str = "float32"
) -> tuple[Callable, float]:
    """`fn` compiled for arguments shaped like `args`, and the seconds that it took.

    GPUs and TPUs would multiply float32 at less than `precision` unless told (JAX's default).
    """
    clock = time.perf_counter()
    with jax.default_matmul_precision(precision):
        program = jax.jit(fn, donate_argnums=donate).lower(*args).compile()
    return program, time.perf_counter() - clock


def lowered(fn: Callable, *args: Any) -> jax.stages.Lowered:
    """`fn` as XLA is given it, for arguments shaped like `args`: to count what it takes, not to run it."""
    return jax.jit(fn).lower(*args)


@functools.partial(jax.jit, static_argnames=("name", "each"))
def keyed(seeds: UInt32[Array, " cases"], name: str, each: int | None = None) -> Key:
    """The keys of a stream, of cases with these seeds; or `each` keys of every case, one after the other."""

    def one(seed):
        key = stream(jax.random.key(seed), name)
        return key if each is None else jax.random.split(key, each)

    found = jax.vmap(one)(seeds)
    return found if each is None else found.reshape(-1)


def share(case: Case, model: Model) -> Callable:
    """The victims' program: `(params, k_client, batches, floats)` to what each shares, and is told of it.

    In the order of `jleak.audit.sides.Truth`. Sound is whether the update is finite. Statistics are those of
    BatchNorm on the client's own images, None unless clients send them. Scores are of mixing in the
    classifier, without the defense: what the client can know before it shares. Noise is the level that the
    update shows to whoever sees it. Weights, keys and floats have an axis of cases where there are several.
    """

    def program(params, k_client, batches, floats):
        total = len(batches.y)

        def one(args):
            key, batch, owner = args
            own, strengths = mine(case, total, owner, params, floats)
            plain, loss = client_of(case, model, strengths), loss_of(case)
            update = defense_of(case, strengths)(plain)(key, own, batch)
            sent = model.statistics(own, batch.x) if model.sends_statistics else None
            mixed = mixing(model, loss, own, batch)
            told = {"mu": mixed.mu.mean(), "condition": mixed.condition, "rank": mixed.rank}
            noise = noise_level(model, update)._asdict()
            return update, finite(update), snr(plain(key, own, batch), update), sent, told, noise

        split = functools.partial(jax.random.split, num=case.victims)
        keys = split(k_client) if total == case.victims else jax.vmap(split)(k_client).reshape(-1)
        owners = jnp.arange(total) // case.victims
        return lax.map(one, (keys, batches, owners), batch_size=chunk(total, case.lanes))

    return program


def mine(case: Case, total: int, owner: Any, params: Params, floats: Floats) -> tuple[Params, Floats]:
    """(weights, traced settings) of the case with number `owner`, among as many as have `total` victims."""
    several = total > case.victims

    def own(tree):
        return jax.tree.map(lambda leaf: leaf[owner], tree)

    return own(params) if several and not case.weights else params, own(floats) if several else floats


def attacker(case: Case, model: Model, given: Given, where: Layout | None = None) -> tuple[Attacker, float]:
    """The attacker's programs for this case, compiled, and the seconds that it took.

    The lanes lie as `where` says, else in groups of `case.lanes` at most.
    """
    where = where or lanes.layout(len(given.keys), case.lanes)
    attack = attack_of(case, model, View(given.params, given.updates, prior=given.prior), known_floats(case))
    steps = attack.steps if isinstance(attack, Search) else 1
    piece = -(-steps // PIECES)
    run = functools.partial(run_of, case, model, steps)

    def first(given):
        return lanes.over(where, lambda *lane: begin(*run(*lane)), *apart(given))

    def further(given, before, start, going):
        def one(shared, lane, before):
            given, start = shared
            search, key, view = run(given, lane)
            state, _ = advance(search, key, before[0], view, start, piece, stop=steps)
            return state, standing(search.read(state, view))

        shared, own = apart(given)
        return lanes.update(where, one, (shared, start), own, before, going)

    def finish(given, states, slots):
        def one(shared, lane):
            search, _, view = run(shared, lane[0])
            return search.read(lane[1], view)

        shared, own = apart(given)
        runs = lanes.over(where, one, shared, (own, states))
        return by_victim(runs, slots, case.restarts), jnp.isfinite(runs.loss[slots])

    given = arranged(where, given, lanes.placing(where, np.ones(where.count, bool)).lane)
    states = lanes.shapes(where, jax.eval_shape(first, given))
    stand = lanes.shapes(where, jax.eval_shape(lambda: begun(where)))
    going = lanes.shapes(where, jax.ShapeDtypeStruct((where.slots,), bool))
    precise = {"precision": case.precision}
    programs = [
        compiled(first, given, **precise),
        compiled(further, given, (states, stand), jnp.asarray(0), going, donate=(1,), **precise),
        compiled(finish, given, states, jnp.arange(where.count), **precise),
    ]
    return Attacker(*(p for p, _ in programs), where, -(-steps // piece), piece), sum(s for _, s in programs)


def begun(where: Layout) -> Standing:
    """Of all slots before the first piece."""
    return Standing(np.full(where.slots, np.inf, np.float32), np.zeros(where.slots, np.int32))


def standing(rec: Reconstruction) -> Standing:
    """That of a lane, from what it would return now."""
    return Standing(rec.loss.astype(jnp.float32), jnp.asarray(rec.evaluations, jnp.int32))


def by_victim(runs: Reconstruction, slots: Array, restarts: int) -> Reconstruction:
    """Of every victim's runs the one that the attacker likes best."""
    runs = jax.tree.map(lambda leaf: leaf[slots].reshape(-1, restarts, *leaf.shape[1:]), runs)
    return jax.vmap(best)(runs)


def arranged(where: Layout, given: Given, lane: np.ndarray) -> Given:
    """What the attacker's programs are given, with this lane in each slot; sent to where they compute."""
    shared, own = apart(given)
    keys, victim = in_slots(where, own, lane)
    return lanes.everywhere(where, shared)._replace(keys=keys, victim=victim)


def in_slots(where: Layout, tree: PyTree, order: np.ndarray) -> PyTree:
    """The leaves' rows in that order, on their devices."""
    return lanes.put(where, rows(tree, order))


@jax.jit
def rows(tree: PyTree, order: Int[Array, " slots"]) -> PyTree:
    """The leaves' rows in that order."""
    return jax.tree.map(lambda leaf: leaf[order], tree)


def apart(given: Given) -> tuple[Given, tuple[Key, Int[Array, " lanes"]]]:
    """(what all lanes share, what each has of its own)"""
    return given._replace(keys=None, victim=None), (given.keys, given.victim)


def run_of(case: Case, model: Model, steps: int, given: Given, lane: tuple) -> tuple[Search, Key, View]:
    """One lane's search, key and view."""
    key, victim = lane
    total = len(jax.tree.leaves(given.updates)[0])
    params, floats = mine(case, total, victim // case.victims, given.params, given.floats)
    victim = 0 if total == 1 else victim  # static: one matrix for all candidates
    sent = jax.tree.map(lambda leaf: leaf[victim], (given.updates, given.labels, given.statistics))
    update, labels, statistics = sent  # None stays None
    view = View(params, update, labels, given.prior, statistics)
    return as_search(case, model, floats, steps), key, view


def as_search(case: Case, model: Model, floats: Floats, steps: int) -> Search:
    """The case's attack as a search: an iterative one is one, a closed form is a search of one step."""

    def make(view):
        attack = attack_of(case, model, view, floats)
        if isinstance(attack, Search):
            return attack

        def init(key, view):
            return attack(key, view)

        return Search(init, lambda key, t, state, view: (state, state.loss), lambda state, view: state, 1)

    return conditioned(make, steps)


def chunk(count: int, most: int) -> int:
    """The largest divisor of `count` up to `most`: all chunks of one shape, so one program.

    >>> chunk(8, 8), chunk(12, 8), chunk(7, 4)
    (8, 6, 1)
    """
    return max(d for d in range(1, min(count, most) + 1) if count % d == 0)
