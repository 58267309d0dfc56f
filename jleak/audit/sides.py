"""The two sides of cases: what the clients hold and share, and what of it reaches the attacker.

Each serves one case, or a stack of cases at once: their victims lie one after the other.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree, UInt32

from jleak import data
from jleak.audit import programs
from jleak.audit.built import Bill, Programs
from jleak.audit.case import Case
from jleak.audit.parts import Floats, floats_of, known_floats, prior_of, weights_of
from jleak.audit.programs import Given
from jleak.audit.shapes import client_settings, model_settings
from jleak.data import Images
from jleak.tree import stream
from jleak.types import Batch, Key, Model, Params

Stack = Sequence[Case]
"""Cases that differ in seeds and traced settings alone."""

Picks = dict[tuple, np.ndarray]
"""Where in their data sets the images of cases are, by what says so (`drawing`): cases that differ in attack
or defense hold the same."""

REMEMBERED = 2**16
"""Cases of which it is remembered which images they hold, so that memory does not grow with a sweep."""

ARGUMENTS = ("attack_args", "client_args", "defense_args")
"""Settings of a case that hold what is traced."""


class Truth(NamedTuple):
    """What the clients hold and what they share.

    Attributes:
      batches: leading axis: the victims of all cases.
      params: what the server sent; by case, where there are several and their weights are new.
      updates: leading axis: victims; so have the others.
      sound, snr, statistics, mixing, noise: see `jleak.audit.programs.share`.
    """

    batches: Batch
    params: Params
    updates: Params
    sound: jax.Array
    snr: jax.Array
    statistics: PyTree | None
    mixing: dict[str, jax.Array]
    noise: dict[str, jax.Array]


def clients(
    stack: Stack, images: Images, model: Model, cache: Programs | Bill, picked: Picks | None = None
) -> Truth:
    """The clients' side: draws the victims' batches and computes what they share."""
    case = stack[0]
    batches = drawn(stack, images, {} if picked is None else picked)
    strengths = piled(stack, lambda one: floats_of(one) | {"attack": {}})  # of which it knows nothing
    params = weights_of(case, model) if case.weights else initial(stack, model, cache)
    args = (params, keys(stack, "client"), batches, strengths)
    share = cache.take(
        clients_key(case, model, len(stack)), lambda: programs.compiled(programs.share(case, model), *args)
    )
    return Truth(batches, params, *share(*args))


def keys(stack: Stack, name: str) -> Key:
    """The cases' keys for the stream of that name; a single one without an axis of cases."""
    found = programs.keyed(seeds(stack), name)
    return found[0] if len(stack) == 1 else found


def seeds(stack: Stack) -> UInt32[np.ndarray, " cases"]:
    """The cases' seeds."""
    return np.array([case.seed for case in stack], np.uint32)


def drawn(stack: Stack, images: Images, picked: Picks) -> Batch:
    """The batches of all victims of all cases, those of one case after those of another."""
    if len(picked) > REMEMBERED:
        picked.clear()
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
    case = stack[0]
    lanes = len(stack) * case.victims * case.restarts
    return Given(
        keys=programs.keyed(seeds(stack), "attack", case.victims * case.restarts),
        victim=jnp.arange(lanes) // case.restarts,
        params=truth.params,
        updates=truth.updates,
        labels=truth.batches.y if case.known_labels else None,
        statistics=truth.statistics,
        floats=piled(stack, known_floats),
        prior=prior_of(case),
    )


def piled(stack: Stack, of: Callable[[Case], Floats]) -> Floats:
    """`of(case)`, traced settings, along an axis of cases; those of a single one as they are.

    It is asked once for cases that share their arguments, as those do that differ in the seed alone.

    >>> def case(lr):
    ...     return Case(attack="dlg", attack_args={"lr": lr})
    >>> piled([case(0.1)], floats_of)["attack"]
    {'lr': 0.1}
    >>> piled([case(0.5), case(0.25)], floats_of)["attack"]["lr"].tolist()
    [0.5, 0.25]
    """
    if len(stack) == 1:
        return of(stack[0])
    shares = [tuple(id(getattr(case, name)) for name in ARGUMENTS) for case in stack]
    distinct = dict(zip(shares, stack, strict=True))
    order = {share: i for i, share in enumerate(distinct)}
    rows = [order[share] for share in shares]
    return jax.tree.map(
        lambda *numbers: np.array(numbers, np.float32)[rows], *(of(case) for case in distinct.values())
    )


def clients_key(case: Case, model: Model, cases: int = 1) -> tuple:
    """What shapes the clients' program for so many cases."""
    return "clients", client_settings(case), model.shape, model.classes, cases, bool(case.weights)
