"""One case, or a stack of cases at once, from seeds to records: clients, attacker, score.

A stack is a sequence of cases with the same programs (`jleak.audit.shapes`): they differ in seeds and traced
settings alone, and share the weights' file if they name one. Their victims lie one after the other.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jleak import data, priors
from jleak.audit import pieces, programs, results, scoring
from jleak.audit.built import Bill, Programs
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.parts import Floats, floats_of, known_floats, model_of, prior_of, weights_of
from jleak.audit.pieces import Tell
from jleak.audit.priors.seen import seen
from jleak.audit.programs import Attacker, Given
from jleak.audit.results import Told, pictures, recorded
from jleak.audit.scoring import Score
from jleak.audit.shapes import attacker_settings, client_settings, model_settings
from jleak.audit.store import Record
from jleak.data import Images
from jleak.tree import stream
from jleak.types import Batch, Key, Model, Params, Reconstruction

Stack = Sequence[Case]
"""Cases that differ in seeds and traced settings alone."""

Picks = dict[tuple, np.ndarray]
"""Where in their data sets the images of cases are, by what says so (`drawing`): cases that differ in attack
or defense hold the same."""

SCORED = 16
"""Victims that are scored at once, where a case has no more."""


class Truth(NamedTuple):
    """What the clients hold and what they share.

    Attributes:
      batches: leading axis: the victims of all cases.
      params: what the server sent; by case, where there are several and their weights are new.
      updates: leading axis: victims; so have the others.
      snr, statistics, mixing, noise: see `jleak.audit.programs.share`.
    """

    batches: Batch
    params: Params
    updates: Params
    snr: jax.Array
    statistics: PyTree | None
    mixing: dict[str, jax.Array]
    noise: dict[str, jax.Array]


def trial(
    case: Case, images: Images, cache: Programs, tell: Tell, budget: Budget | None = None
) -> tuple[Record, dict[str, np.ndarray]]:
    """Runs one case; its record, and its images.

    Args:
      case: the settings.
      images: its data set.
      cache: compiled programs, used and filled.
      tell: called after each piece of the search.
      budget: the memory within which the lanes are laid out; None for any amount.

    Raises:
      InputError: not even one lane fits into the budget.
    """
    ((record, arrays),) = trials([case], images, cache, tell, budget)
    return record, arrays


def trials(
    stack: Stack,
    images: Images,
    cache: Programs,
    tell: Tell,
    budget: Budget | None = None,
    *,
    count: int | None = None,
    picked: Picks | None = None,
    **driving: Any,
) -> list[tuple[Record, dict[str, np.ndarray]]]:
    """Runs a stack of cases at once; the record and the images of each.

    Args:
      stack: the cases.
      images, cache, tell, budget: as `trial` has them.
      count: how many of the cases count: those after them only fill up, and are not attacked. None for all.
      picked: which images cases hold, used and filled; None where nobody asks again.
      driving: further arguments of `jleak.audit.pieces.attack`.

    Raises:
      InputError: not even one lane fits into the budget.
    """
    first, count = stack[0], len(stack) if count is None else count
    bill = Bill(cache)
    model = model_of(first, images.shape, images.classes)
    truth = clients(stack, images, model, bill, picked)
    given = view_of(stack, truth)
    attacker = attacker_of(first, model, given, bill, budget)
    clock = time.perf_counter()
    alive = np.arange(len(stack) * first.victims) < count * first.victims
    alive = np.repeat(alive[:, None], first.restarts, axis=1)
    rec, finite, course = pieces.attack(first, attacker, given, tell, alive=alive, **driving)
    seconds = time.perf_counter() - clock
    found = score(first, model, truth, rec, bill)
    shared = {
        "seconds": round(seconds / count, 4),
        "compile_seconds": round(bill.seconds / count, 4),
        "device": results.device(),
        "devices": attacker.layout.devices,
        "width": attacker.layout.width,
        "versions": results.versions(),
    }
    told = jax.device_get(Told(truth._replace(params=None), rec, finite, found))
    note, made = learnt(first, images), []
    for i, case in enumerate(stack[:count]):
        own, search = part(told, course, i, first)
        record = {"case_id": case.case_id, **case.to_json(), **recorded(own, note), **shared}
        made.append((record, pictures(own, search)))
    return made


def part(told: Told, course: dict[str, Any], i: int, case: Case) -> tuple[Told, dict[str, Any]]:
    """What of a stack's results and of its course belongs to the case with number `i`."""
    mine, lanes = (slice(i * n, (i + 1) * n) for n in (case.victims, case.victims * case.restarts))
    own = {name: course[name][:, mine] for name in ("snapshots", "losses", "spent")}
    finite = told.finite[lanes]
    told = jax.tree.map(lambda leaf: leaf[mine], told._replace(finite=None))
    return told._replace(finite=finite), course | own


def build(stack: Stack, images: Images, cache: Programs, budget: Budget | None = None) -> None:
    """Builds what `trials` of this stack takes, but for the scoring; nothing where it is all there."""
    model = model_of(stack[0], images.shape, images.classes)
    keys = attacker_key(stack[0], model, len(stack)), clients_key(stack[0], model, len(stack))
    if any(key not in cache for key in keys):
        truth = clients(stack, images, model, cache)
        attacker_of(stack[0], model, view_of(stack, truth), cache, budget)


def attacker_key(case: Case, model: Model, cases: int = 1) -> tuple:
    """What shapes the attacker's programs for so many cases."""
    return "attacker", attacker_settings(case), model.shape, model.classes, cases, bool(case.weights)


def clients_key(case: Case, model: Model, cases: int = 1) -> tuple:
    """What shapes the clients' program for so many cases."""
    return "clients", client_settings(case), model.shape, model.classes, cases, bool(case.weights)


def attacker_of(
    case: Case, model: Model, given: Given, cache: Programs | Bill, budget: Budget | None
) -> Attacker:
    """The attacker's programs, laid out within the budget."""

    cases = len(given.keys) // (case.victims * case.restarts)

    def made():
        where = budget.layout(case, model, cases) if budget else None
        return programs.attacker(case, model, given, where)

    return cache.take(attacker_key(case, model, cases), made)


def clients(
    stack: Stack, images: Images, model: Model, cache: Programs | Bill, picked: Picks | None = None
) -> Truth:
    """The clients' side: draws the victims' batches and computes what they share."""
    case = stack[0]
    batches = drawn(stack, images, {} if picked is None else picked)
    strengths = piled([{kind: floats_of(one)[kind] for kind in ("client", "defense")} for one in stack])
    params = weights_of(case, model) if case.weights else initial(stack, model, cache)
    args = (params, keys(stack, "client"), batches, strengths)
    share = cache.take(
        clients_key(case, model, len(stack)), lambda: programs.compiled(programs.share(case, model), *args)
    )
    return Truth(batches, params, *share(*args))


def keys(stack: Stack, name: str) -> Key:
    """The cases' keys for the stream of that name; a single one without an axis of cases."""
    seeds = np.array([case.seed for case in stack], np.uint32)
    found = jax.vmap(lambda seed: stream(jax.random.key(seed), name))(seeds)
    return found[0] if len(stack) == 1 else found


def drawn(stack: Stack, images: Images, picked: Picks) -> Batch:
    """The batches of all victims of all cases, those of one case after those of another."""
    for case in stack:
        asked = drawing(case)
        if asked not in picked:
            key = stream(jax.random.key(case.seed), "data")
            picked[asked] = data.picks(key, images, case.victims, case.batch, case.draw)
    return data.batch(images, np.concatenate([picked[drawing(case)] for case in stack]))


def drawing(case: Case) -> tuple:
    """What says which images a case's victims hold."""
    return case.dataset, case.draw, case.victims, case.batch, case.seed


def initial(stack: Stack, model: Model, cache: Programs | Bill) -> Params:
    """New weights, from the cases' seeds."""
    key = keys(stack, "model")
    init = model.init if len(stack) == 1 else jax.vmap(model.init)
    settings = ("init", model_settings(stack[0]), model.shape, model.classes, len(stack))
    return cache.take(settings, lambda: programs.compiled(init, key))(key)


def view_of(stack: Stack, truth: Truth) -> Given:
    """What of all this reaches the attacker, restarts x victims of all cases as lanes."""
    case, several = stack[0], len(stack) > 1
    split = functools.partial(jax.random.split, num=case.victims * case.restarts)
    key = keys(stack, "attack")
    lanes = len(stack) * case.victims * case.restarts
    return Given(
        keys=jax.vmap(split)(key).reshape(-1) if several else split(key),
        victim=jnp.arange(lanes) // case.restarts,
        params=truth.params,
        updates=truth.updates,
        labels=truth.batches.y if case.known_labels else None,
        statistics=truth.statistics,
        floats=piled([known_floats(one) for one in stack]),
        prior=prior_of(case),
    )


def piled(settings: Sequence[Floats]) -> Floats:
    """The cases' traced settings along an axis of cases; those of a single one as they are.

    >>> piled([{"attack": {"lr": 0.1}}])
    {'attack': {'lr': 0.1}}
    >>> piled([{"attack": {"lr": 0.5}}, {"attack": {"lr": 0.25}}])["attack"]["lr"].tolist()
    [0.5, 0.25]
    """
    if len(settings) == 1:
        return settings[0]
    return jax.tree.map(lambda *numbers: np.array(numbers, np.float32), *settings)


def score(case: Case, model: Model, truth: Truth, rec: Reconstruction, cache: Programs | Bill) -> Score:
    """The reconstructions against the truth, each victim's."""
    total = len(truth.batches.y)

    def all_(params, rec, batches):
        def one(args):
            owner, rec, batch = args
            return scoring.score(model, programs.mine(case, total, owner, params, {})[0], rec, batch)

        at_once = programs.chunk(total, max(SCORED, case.victims))
        return jax.lax.map(one, (jnp.arange(total) // case.victims, rec, batches), batch_size=at_once)

    args = (truth.params, rec, truth.batches)
    key = (
        "score",
        model_settings(case),
        model.classes,
        case.victims,
        bool(case.weights),
        str(jax.tree.map(jnp.shape, args)),
    )
    return cache.take(key, lambda: programs.compiled(all_, *args))(*args)


def learnt(case: Case, images: Images) -> str:
    """What to say where the attacker's generator has learnt from what the victims hold; nothing where not."""
    named = case.attack_args.get("prior")
    if not named or not seen(priors.load(named).card, images):
        return ""
    return f"the prior has learnt from these images: draw victims from private:{case.dataset}"
