"""One case from its seed to its record: clients, attacker, score."""

import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jleak import data, priors
from jleak.audit import lanes, programs, race, scoring
from jleak.audit.built import Bill, Programs
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.audit.parts import floats_of, known_floats, model_of, prior_of, weights_of
from jleak.audit.priors.seen import seen
from jleak.audit.programs import Attacker, Given
from jleak.audit.scoring import Score
from jleak.audit.store import Record
from jleak.data import Images
from jleak.tree import stream
from jleak.types import Batch, Certificate, Model, Params, Reconstruction, Status

SNAPSHOTS = 6
"""Snapshots of a search that are kept, the last one being the result."""

MEANING = {
    Status.PROVEN: "the client's image, up to rounding",
    Status.NOISY: "the client's image up to the noise in the update",
    Status.APPROXIMATE: "does not explain the update: an approximation or a mixture",
    Status.CLASS_MEAN: "only the mean of the images that share a label",
    Status.COMMON_OFFSET: "no class is absent, so right up to an offset common to all images",
    Status.RANK_DEFICIENT: "a layer's gradient does not determine every image",
    Status.MASKED: "the update was pruned or masked, and what is left does not determine the image",
    Status.UNREADABLE: "the update is zero or not finite where it is needed",
    Status.AMBIGUOUS: "explains the update, but other images of the same label may as well",
}
"""What each status says of an image, in a few words."""

Tell = Callable[[float, float], None]
"""Listener of a trial: `(share of the search done, median of the attacker's losses)`."""


class Truth(NamedTuple):
    """What the clients hold and what they share."""

    batches: Batch  # leading axis: victims
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
    bill = Bill(cache)
    model = model_of(case, images.shape, images.classes)
    truth = clients(case, images, model, bill)
    given = view_of(case, truth)
    attacker = attacker_of(case, model, given, bill, budget)
    clock = time.perf_counter()
    rec, finite, course = attack(case, attacker, given, tell)
    seconds = time.perf_counter() - clock
    found = score(case, model, truth, rec, bill)
    record = {
        "case_id": case.case_id,
        **case.to_json(),
        "status": status(truth.updates, finite, found.certificate, learnt(case, images)),
        **{name: significant(values) for name, values in found.numbers.items()},
        "snr": significant(truth.snr),
        "mixing": {name: significant(values) for name, values in truth.mixing.items()},
        "noise": {name: significant(values) for name, values in truth.noise.items()},
        "certificate": vouched(found.certificate),
        "diverged": int(finite.size - finite.sum()),
        "evaluations": int(rec.evaluations.sum()),
        "seconds": round(seconds, 4),
        "compile_seconds": round(bill.seconds, 4),
        "device": device(),
        "devices": attacker.layout.devices,
        "width": attacker.layout.width,
        "versions": versions(),
    }
    b = truth.batches
    arrays = {"truth": b.x, "labels": b.y, "reconstruction": found.x, **course}
    return record, {name: array if name == "losses" else compact(array) for name, array in arrays.items()}


def build(case: Case, images: Images, cache: Programs, budget: Budget | None = None) -> None:
    """Builds what `trial` of this case takes, but for the scoring; nothing where it is all there."""
    model = model_of(case, images.shape, images.classes)
    if attacker_key(case, model) not in cache or clients_key(case, model) not in cache:
        truth = clients(case, images, model, cache)
        attacker_of(case, model, view_of(case, truth), cache, budget)


def attacker_key(case: Case, model: Model) -> tuple:
    """What shapes the attacker's programs."""
    return "attacker", programs.attacker_settings(case), model.shape, model.classes


def clients_key(case: Case, model: Model) -> tuple:
    """What shapes the clients' program."""
    return "clients", programs.client_settings(case), model.shape, model.classes


def attacker_of(
    case: Case, model: Model, given: Given, cache: Programs | Bill, budget: Budget | None
) -> Attacker:
    """The attacker's programs, laid out within the budget."""

    def made():
        where = budget.layout(case, model) if budget else None
        return programs.attacker(case, model, given, where)

    return cache.take(attacker_key(case, model), made)


def clients(case: Case, images: Images, model: Model, cache: Programs | Bill) -> Truth:
    """The clients' side: draws the victims' batches and computes what they share."""
    key = jax.random.key(case.seed)
    batches = data.victims(stream(key, "data"), images, case.victims, case.batch, case.draw)
    strengths = {kind: floats_of(case)[kind] for kind in ("client", "defense")}
    params = weights_of(case, model) if case.weights else initial(case, model, cache)
    args = (params, stream(key, "client"), batches, strengths)
    share = cache.take(
        clients_key(case, model), lambda: programs.compiled(programs.share(case, model), *args)
    )
    return Truth(batches, params, *share(*args))


def initial(case: Case, model: Model, cache: Programs | Bill) -> Params:
    """New weights, from the case's seed."""
    key = stream(jax.random.key(case.seed), "model")
    settings = ("init", programs.model_settings(case), model.shape, model.classes)
    return cache.take(settings, lambda: programs.compiled(model.init, key))(key)


def view_of(case: Case, truth: Truth) -> Given:
    """What of all this reaches the attacker, restarts x victims as lanes."""
    lanes = case.victims * case.restarts
    return Given(
        keys=jax.random.split(stream(jax.random.key(case.seed), "attack"), lanes),
        victim=jnp.arange(lanes) // case.restarts,
        params=truth.params,
        updates=truth.updates,
        labels=truth.batches.y if case.known_labels else None,
        statistics=truth.statistics,
        floats=known_floats(case),
        prior=prior_of(case),
    )


def attack(
    case: Case, attacker: Attacker, given: Given, tell: Tell
) -> tuple[Reconstruction, np.ndarray, dict]:
    """Drives the search piece by piece: (reconstructions, finite lanes, its course).

    The course: `snapshots`, the victims' best images after the shares of the search that `shares` names, and
    after every piece `losses`, the lanes' lowest so far, and `spent`, their gradient evaluations so far, both
    (pieces, victims, restarts).
    """
    where, shape = attacker.layout, (case.victims, case.restarts)
    rule = {"halving": case.halving, "stop": case.stop}
    alive = np.ones(shape, bool)
    place = lanes.placing(where, alive.ravel())
    now = programs.arranged(where, given, place.lane)
    states = lanes.put(where, (attacker.begin(now), programs.begun(where)))
    keep = {round(i * (attacker.pieces - 1) / (SNAPSHOTS - 1)) for i in range(SNAPSHOTS)}
    snapshots, course, share = {}, [], 0.0
    for piece in range(attacker.pieces):
        going = lanes.put(where, jnp.asarray(place.going))
        states = attacker.advance(now, states, jnp.asarray(piece * attacker.steps), going)
        course.append([np.asarray(u)[place.slot].reshape(shape) for u in states[1]])
        losses = course[-1][0]
        before, share = share, (piece + 1) / attacker.pieces
        alive, were = race.going_on(losses, alive, before=before, now=share, **rule), alive
        tell(share, float(np.median(losses.min(axis=1))))
        if piece in keep or not alive.any():
            rec, finite = jax.device_get(attacker.finish(now, states[0], jnp.asarray(place.slot)))
            snapshots[share] = np.clip(rec.x, 0, 1)
        if not alive.any():
            break
        if (alive != were).any():
            moved = lanes.placing(where, alive.ravel())
            states = lanes.arranged(where, states, place.slot[moved.lane])
            place, now = moved, programs.arranged(where, given, moved.lane)
    images = np.stack(list(snapshots.values()))
    shown = {"snapshots": images, "shares": np.array(list(snapshots))}
    losses, spent = map(np.stack, zip(*course, strict=True))
    return rec, finite, shown | {"losses": losses, "spent": spent}


def score(case: Case, model: Model, truth: Truth, rec: Reconstruction, cache: Programs | Bill) -> Score:
    """The reconstructions against the truth, each victim's."""

    def all_(params, rec, batches):
        return jax.vmap(functools.partial(scoring.score, model, params))(rec, batches)

    args = (truth.params, rec, truth.batches)
    key = ("score", programs.model_settings(case), model.classes, str(jax.tree.map(jnp.shape, args)))
    return cache.take(key, lambda: programs.compiled(all_, *args))(*args)


def learnt(case: Case, images: Images) -> str:
    """What to say where the attacker's generator has learnt from what the victims hold; nothing where not."""
    named = case.attack_args.get("prior")
    if not named or not seen(priors.load(named).card, images):
        return ""
    return f"the prior has learnt from these images: draw victims from private:{case.dataset}"


def status(
    updates: Params, finite: np.ndarray, certificate: Certificate | None = None, note: str = ""
) -> str:
    """`ok`, or why the numbers cannot be trusted; after it what, if anything, the attack does not vouch for.

    >>> given = Certificate(np.array([[0, 3]]), np.zeros(1), np.zeros((1, 2)))
    >>> status({}, np.array([True]), given)
    'not proven: class mean (only the mean of the images that share a label)'
    """
    ran, given = running(updates, finite), set() if certificate is None else set(np.ravel(certificate.status))
    open_ = [s for s in Status if s in given and s != Status.PROVEN]
    told = ", ".join(f"{s.title} ({MEANING[s]})" for s in open_)
    parts = ["" if told and ran == "ok" else ran, told and f"not proven: {told}", note]
    return "; ".join(filter(None, parts))


def vouched(certificate: Certificate | None) -> dict[str, list] | None:
    """A certificate as a record holds it, by victim: each image's status, and the worst of the rest."""
    if certificate is None:
        return None
    return {
        "status": [[Status(int(s)).title for s in victim] for victim in np.asarray(certificate.status)],
        "residual": significant(certificate.residual),
        "consistency": significant(np.max(np.asarray(certificate.consistency), axis=1)),
    }


def running(updates: Params, finite: np.ndarray) -> str:
    """`ok`, or what was not finite."""
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(updates)):
        return "non-finite update"
    if not finite.any():
        return "non-finite loss"
    return "ok" if finite.all() else "ok, some restarts diverged"


def significant(numbers: Any) -> list[float | None]:
    """The numbers to seven significant digits, which is what float32 holds; None, as in JSON, if not finite.

    >>> significant(jnp.array([0.1, 2e-9, jnp.nan]))
    [0.1, 2e-09, None]
    """
    return [float(f"{number:.7g}") if np.isfinite(number) else None for number in np.asarray(numbers, float)]


def compact(array: Any) -> np.ndarray:
    """Images as float16, which tells 8-bit pixels apart; anything else as it is."""
    return np.asarray(array, np.float16 if array.dtype.kind == "f" else None)


def device() -> str:
    """The device that JAX computes on.

    >>> device().split(":")[0] in ("cpu", "gpu", "tpu")
    True
    """
    first = jax.devices()[0]
    return f"{first.platform}:{first.device_kind}"


def versions() -> dict[str, str]:
    """The versions that the numbers depend on."""
    names = ("jleak", "jax", "jaxlib", "flax", "optax", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
