"""What is computed on the device, as functions to compile: training, clients, attacker.

The clients' program gathers the victims' images and returns updates; the attacker's program is given
parameters, updates and public images, and nothing else. Both go through the models a few at a time, so that
memory does not grow with their number. Floats (strengths, learning rates) are arguments.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jleak import catalog
from jleak.audit.cohort.programs import Pool, over
from jleak.audit.labels.case import LabelCase
from jleak.audit.parts import Floats, client_of, defense_of, local_steps, split, threat_of
from jleak.labels import finite, imbalance, masked
from jleak.labels.head import head
from jleak.types import Key, LabelAttack, Model, Params, View


class Shared(NamedTuple):
    """What the clients send, and what it looks like; one a model and victim.

    Attributes:
      updates: what a label attack reads of them (`readable`), so that memory stays small.
      imbalance: as `jleak.labels.imbalance`.
      finite: no entry is infinite or NaN.
      masked: all entries are zero.
    """

    updates: Params
    imbalance: Float[Array, "models victims"]
    finite: Bool[Array, "models victims"]
    masked: Bool[Array, "models victims"]


class Seen(NamedTuple):
    """What the attacker's program is given.

    Attributes:
      keys: its own randomness, one a model and victim.
      params: one a model.
      updates: one a model and victim.
      public: the server's own images.
      auxiliary: which of them are each model's `view.prior`.
      floats: the traced settings of the attack and of the client.
    """

    keys: Key
    params: Params
    updates: Params
    public: Pool
    auxiliary: Int[Array, "models k"]
    floats: Floats


def clients(case: LabelCase, model: Model) -> Callable:
    """`(params, keys, pool, picks, floats) -> Shared`; keys and picks one a model and victim."""
    lanes = case.models * case.victims

    def program(params, keys, pool, picks, floats):
        client = defense_of(case, floats)(client_of(case, model, floats))

        def one(number, key, picks):
            own = jax.tree.map(lambda leaf: leaf[number // case.victims], params)
            update = client(key, own, pool.batch(picks))
            layer = head(model, update)
            return Shared(readable(case, model, update), imbalance(layer), finite(layer), masked(layer))

        flat = jnp.arange(lanes), keys.reshape(lanes), picks.reshape(lanes, case.batch)
        found = over(one, flat, lanes, case.lanes)
        return jax.tree.map(lambda leaf: leaf.reshape(case.models, case.victims, *leaf.shape[1:]), found)

    return program


def readable(case: LabelCase, model: Model, update: Params) -> Params:
    """What label attacks read of an update: the classifier's layer; after local steps all, to follow them."""
    return classifier(model, update) if local_steps(case) == 1 else update


def classifier(model: Model, update: Params) -> Params:
    """The update with the classifier's layer alone.

    >>> from jleak.models import mlp
    >>> list(classifier(mlp((2, 2, 1), 3), {"head": {"kernel": 0.0}, "hidden0": {"kernel": 0.0}}))
    ['head']
    """
    for name in model.head:
        update = update[name]
    for name in reversed(model.head):
        update = {name: update}
    return update


def attacker(case: LabelCase, model: Model) -> Callable:
    """`Seen -> counts` (models, victims, classes): calibrated once a model, inferred for each victim."""

    def program(seen):
        attack = attack_of(case, model, seen.floats)

        def one(keys, params, updates, picks):
            prior = seen.public.batch(picks)
            known = attack.calibrate(View(params, None, prior=prior))

            def victim(key, update):
                return attack.infer(key, View(params, update, prior=prior), known)

            return over(victim, (keys, updates), case.victims, case.lanes)

        args = seen.keys, seen.params, seen.updates, seen.auxiliary
        return over(one, args, case.models, case.lanes)

    return program


def attack_of(case: LabelCase, model: Model, floats: Floats) -> LabelAttack:
    """The case's attack; the attacker takes the client for undefended, its loss for cross entropy."""
    threat = threat_of(case, client_of(case, model, floats), model, case.believed, floats)
    factory = catalog.find("attack", case.attack, catalog.LABELS)
    attack = factory(threat, **split(case.attack_args)[0], **floats["attack"])
    if isinstance(attack, LabelAttack):
        return attack
    return LabelAttack(lambda key, view, known: attack(key, view))
