"""One case, or a stack of cases at once, from seeds to records: clients, attacker, score.

A stack is a sequence of cases with the same programs (`jleak.audit.shapes`): they differ in seeds and traced
settings alone, and share the weights' file if they name one. Their victims lie one after the other.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jleak import priors
from jleak.audit import pieces, programs, results, scoring
from jleak.audit.built import Bill, Programs
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.parts import model_of
from jleak.audit.pieces import Tell
from jleak.audit.priors.seen import seen
from jleak.audit.programs import Attacker, Given
from jleak.audit.results import Told
from jleak.audit.scoring import Score
from jleak.audit.shapes import attacker_settings, model_settings
from jleak.audit.sides import Picks, Stack, Truth, clients, clients_key, view_of
from jleak.audit.store import Record
from jleak.audit.turns import Turns, alone, clocked
from jleak.data import Images
from jleak.types import Model, Reconstruction

SCORED = 16
"""Victims that are scored at once, where a case has no more."""


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
    ((record, arrays),) = recorded(alone(trials([case], images, cache, tell, budget)))
    return record, arrays


class Outcome(NamedTuple):
    """What a stack of cases has come to, on the host: records and images are made of it by `recorded`.

    Attributes:
      cases: those that count.
      told: what the programs have told of all.
      course: of the search (`jleak.audit.pieces.turns`).
      shared: what all records say alike.
      note: what follows their statuses.
    """

    cases: Stack
    told: Told
    course: dict[str, Any]
    shared: Record
    note: str


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
) -> Turns[Outcome]:
    """Runs a stack of cases at once, in turns with others.

    Args:
      stack: the cases.
      images, cache, tell, budget: as `trial` has them.
      count: how many of the cases count: those after them only fill up, and are not attacked. None for all.
      picked: which images cases hold, used and filled; None where nobody asks again.
      driving: further arguments of `jleak.audit.pieces.turns`.

    Raises:
      InputError: not even one lane fits into the budget.
    """
    first, count = stack[0], len(stack) if count is None else count
    bill = Bill(cache)
    model = model_of(first, images.shape, images.classes)
    truth = clients(stack, images, model, bill, picked)
    yield
    given = view_of(stack, truth)
    attacker = attacker_of(first, model, given, bill, budget)
    yield
    alive = np.arange(len(stack) * first.victims) < count * first.victims
    alive = np.repeat(alive[:, None], first.restarts, axis=1)
    turns = pieces.turns(first, attacker, given, tell, alive=alive, **driving)
    (rec, finite, course), seconds = yield from clocked(turns)
    found = score(first, model, truth, rec, bill)
    shared = {
        "seconds": round(seconds / count, 4),
        "compile_seconds": round(bill.seconds / count, 4),
        "device": results.device(),
        "devices": attacker.layout.devices,
        "width": attacker.layout.width,
        "versions": results.versions(),
    }
    sent = truth._replace(params=None, updates=None)  # large, and nothing of them is recorded
    finite = finite.reshape(len(stack), -1)
    told = Told(sent, rec, finite, found)
    yield
    told = jax.device_get(told)
    return Outcome(stack[:count], told, course, shared, learnt(first, images))


def recorded(outcome: Outcome) -> list[tuple[Record, dict[str, np.ndarray]]]:
    """The record and the images of each case."""
    told, count = outcome.told, len(outcome.cases)
    numbers = results.recorded(told, count, outcome.note)
    records = [
        {"case_id": case.case_id, **case.to_json(), **own, **outcome.shared}
        for case, own in zip(outcome.cases, numbers, strict=True)
    ]
    return list(zip(records, results.pictures(told, count, outcome.course), strict=True))


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


def attacker_of(
    case: Case, model: Model, given: Given, cache: Programs | Bill, budget: Budget | None
) -> Attacker:
    """The attacker's programs, laid out within the budget."""

    cases = len(given.keys) // (case.victims * case.restarts)

    def made():
        where = budget.layout(case, model, cases) if budget else None
        return programs.attacker(case, model, given, where)

    return cache.take(attacker_key(case, model, cases), made)


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
