"""Drives the attacks of one or several cases piece by piece: progress, snapshots, races, stop and go on."""

import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jleak.audit import lanes, programs, race
from jleak.audit.case import Case
from jleak.audit.lanes import Layout, Placing
from jleak.audit.programs import Attacker, Given
from jleak.audit.turns import Turns, alone
from jleak.types import Reconstruction

SNAPSHOTS = 6
"""Snapshots of a search that are kept, the last one being the result."""

Tell = Callable[[float, float], None]
"""Listener of a trial: `(share of the search done, median of the attacker's losses)`."""


class Stand(NamedTuple):
    """Where a search stands between two pieces: all that is needed to go on with it.

    Attributes:
      piece: pieces done.
      alive: (victims, restarts), who goes on.
      states: of the lanes in their slots, with their standings, as `Attacker.advance` gives them.
      losses, spent: after every piece, (pieces, victims, restarts): the lowest loss so far, the gradient
        evaluations so far.
      snapshots: the victims' best images, by the share of the search after which they were taken.
    """

    piece: int
    alive: Bool[np.ndarray, "victims restarts"]
    states: PyTree
    losses: Float[np.ndarray, "pieces victims restarts"]
    spent: Int[np.ndarray, "pieces victims restarts"]
    snapshots: dict[float, np.ndarray]


class Keeping(NamedTuple):
    """How a search is kept, so that it can go on in another process.

    Attributes:
      begin: `(attacker, where a search begins) -> where this one goes on`.
      save: `(attacker, stand)`, called after each piece but the last.
    """

    begin: Callable[[Attacker, Stand], Stand]
    save: Callable[[Attacker, Stand], None]


FORGETTING = Keeping(lambda attacker, first: first, lambda attacker, stand: None)
"""Begins at the beginning, and keeps nothing."""


Found = tuple[Reconstruction, np.ndarray, dict[str, Any]]
"""What a search has come to: reconstructions, finite lanes, its course."""


def attack(case: Case, attacker: Attacker, given: Given, tell: Tell, **driving: Any) -> Found:
    """Drives the search, alone; see `turns`."""
    return alone(turns(case, attacker, given, tell, **driving))


def turns(
    case: Case,
    attacker: Attacker,
    given: Given,
    tell: Tell,
    *,
    shots: int | None = None,
    alive: np.ndarray | None = None,
    keeping: Keeping = FORGETTING,
) -> Turns[Found]:
    """Drives the search piece by piece, one a turn: (reconstructions, finite lanes, its course).

    The course: `snapshots`, the victims' best images after the shares of the search that `shares` names, and
    after every piece `losses`, the lanes' lowest so far, and `spent`, their gradient evaluations so far, both
    (pieces, victims, restarts).

    Args:
      case: the settings; of a stack of cases any one.
      attacker: its programs.
      given: what it is given.
      tell: called after each piece.
      shots: how many snapshots to keep, the last one being the result; None for `SNAPSHOTS`.
      alive: (victims, restarts), who runs at all; None for everybody.
      keeping: how the search is kept.
    """
    where = attacker.layout
    alive = np.ones((where.count // case.restarts, case.restarts), bool) if alive is None else alive
    laid = lay(where, given, alive)
    yield
    now = keeping.begin(attacker, beginning(attacker, laid, alive))
    yield
    laid = laid if (now.alive == alive).all() else lay(where, given, now.alive)
    keep, found = moments(attacker.pieces, shots or SNAPSHOTS), None
    while now.piece < attacker.pieces and now.alive.any():
        share = (now.piece + 1) / attacker.pieces
        start = np.int32(now.piece * attacker.steps)
        states = attacker.advance(laid.shown, now.states, start, laid.going)
        yield
        now, before = advanced(case, attacker, laid, now, states), now
        tell(share, middle(now.losses[-1]))
        if before.piece in keep or not now.alive.any():
            found = attacker.finish(laid.shown, now.states[0], laid.place.slot)
            yield
            found = jax.device_get(found)
            now.snapshots[share] = np.clip(found[0].x, 0, 1)
        if now.alive.any() and (now.alive != before.alive).any():
            slot, laid = laid.place.slot, lay(where, given, now.alive)
            now = now._replace(states=programs.in_slots(where, now.states, slot[laid.place.lane]))
        if now.piece < attacker.pieces and now.alive.any():
            keeping.save(attacker, now)
    images = {"snapshots": np.stack(list(now.snapshots.values())), "shares": np.array(list(now.snapshots))}
    return *found, images | {"losses": now.losses, "spent": now.spent}


def middle(losses: Float[np.ndarray, "victims restarts"]) -> float:
    """The median over victims of their lowest losses; of those without one, or not attacked, nothing counts.

    >>> middle(np.array([[3.0, 1.0], [np.inf, np.inf], [2.0, np.inf]])), middle(np.array([[np.inf]]))
    (1.5, inf)
    """
    lowest = losses.min(axis=1)
    finite = lowest[np.isfinite(lowest)].tolist()
    return statistics.median(finite) if finite else math.inf


def moments(pieces: int, shots: int) -> set[int]:
    """The pieces after which a snapshot is taken, the last one among them.

    >>> moments(16, 6) == {0, 3, 6, 9, 12, 15}, moments(16, 1)
    (True, {15})
    """
    return {pieces - 1} | {round(i * (pieces - 1) / (shots - 1)) for i in range(shots) if shots > 1}


class Laid(NamedTuple):
    """Lanes in their slots, on their devices.

    Attributes:
      place: which lane lies where.
      shown: what the attacker's programs are given, slot by slot.
      going: which slots go on.
    """

    place: Placing
    shown: Given
    going: Bool[Array, " slots"]


def lay(where: Layout, given: Given, alive: Bool[np.ndarray, "victims restarts"]) -> Laid:
    """The lanes with those first that go on."""
    place = lanes.placing(where, alive.ravel())
    going = lanes.put(where, place.going)
    return Laid(place, programs.arranged(where, given, place.lane), going)


def advanced(case: Case, attacker: Attacker, laid: Laid, now: Stand, states: PyTree) -> Stand:
    """Where the search stands one piece later, in these states; the lanes in the slots where they were."""
    losses, spent = (np.asarray(u)[laid.place.slot].reshape(now.alive.shape) for u in states[1])
    shares = {"before": now.piece / attacker.pieces, "now": (now.piece + 1) / attacker.pieces}
    alive = race.going_on(losses, now.alive, **shares, halving=case.halving, stop=case.stop)
    course = np.concatenate([now.losses, losses[None]]), np.concatenate([now.spent, spent[None]])
    return Stand(now.piece + 1, alive, states, *course, now.snapshots)


def beginning(attacker: Attacker, laid: Laid, alive: Bool[np.ndarray, "victims restarts"]) -> Stand:
    """Where a search stands before the first piece."""
    where, none = attacker.layout, np.zeros((0, *alive.shape))
    states = lanes.put(where, (attacker.begin(laid.shown), programs.begun(where)))
    return Stand(0, alive, states, none, none.astype(int), {})
