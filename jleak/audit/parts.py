"""From a case's names to the parts: model, client, defense, the attacker's belief, attack."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax

from jleak import catalog, clients, priors, weights
from jleak.audit.case import Case
from jleak.audit.settings import Setting
from jleak.check import InputError
from jleak.defenses.kind import unimitated
from jleak.types import Attack, Client, Defense, Loss, Model, Params, Threat, View

Floats = dict[str, dict[str, Any]]
"""The settings of a case that may be traced: {"attack": ..., "client": ..., "defense": {...}}."""


def split(args: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Arguments as (static ones, floats): floats may be traced, everything else shapes the program.

    >>> split({"steps": 10, "lr": 0.1})
    ({'steps': 10}, {'lr': 0.1})
    """
    floats = {k: v for k, v in args.items() if isinstance(v, float)}
    static = {k: tuple(v) if isinstance(v, list) else v for k, v in args.items() if k not in floats}
    return static, floats


def floats_of(case: Setting) -> Floats:
    """The traced settings of a case, by what they belong to.

    >>> floats_of(Case(attack="dlg", defense="clip", defense_args={"bound": 1.0}))
    {'attack': {'lr': 1.0}, 'client': {}, 'defense': {'bound': 1.0}}
    """
    kinds = [kind for kind in ("attack", "client", "defense") if hasattr(case, f"{kind}_args")]
    return {kind: split(getattr(case, f"{kind}_args"))[1] for kind in kinds}


def imitates(case: Case) -> bool:
    """Whether the attacker's client differs from the plain one: it knows of a defense, and can imitate it.

    >>> noise = {"defense": "gaussian", "defense_args": {"sigma": 1.0}}
    >>> imitates(Case(attack="dlg", knows="kind", **noise))
    False
    """
    if case.knows == "nothing" or case.defense == "none":
        return False
    kind = catalog.defense_kind(case.defense)
    return (kind.adapt if case.knows == "kind" else kind.belief) is not unimitated


def known_floats(case: Case) -> Floats:
    """The traced settings that reach the attacker: its own, the client's, the strengths only if it uses them.

    >>> known_floats(Case(attack="dlg", defense="clip", defense_args={"bound": 1.0}))
    {'attack': {'lr': 1.0}, 'client': {}, 'defense': {}}
    """
    floats = floats_of(case)
    return floats if case.knows == "all" and imitates(case) else floats | {"defense": {}}


def model_of(case: Setting, shape: tuple[int, int, int], classes: int) -> Model:
    """The case's model for images of `shape`.

    >>> model_of(Case(attack="dlg"), (8, 8, 1), 10).head
    ('head',)
    """
    factory = catalog.find("model", case.model, catalog.MODELS)
    return built(factory, json.dumps(case.model_args), shape, classes)


@functools.lru_cache(maxsize=64)
def built(factory: Callable, args: str, shape: tuple[int, int, int], classes: int) -> Model:
    """The model of these arguments (JSON), made once: a sweep asks for it with every batch."""
    static, floats = split(json.loads(args))
    return factory(shape, classes, **static, **floats)


UNTRAINED = ("batchnorm", "conv", "init")
"""Arguments in which a model may differ from the one whose trained weights it is given."""


def weights_of(case: Case, model: Model) -> Params:
    """The case's trained weights, as the model takes them.

    Raises:
      InputError: the file cannot be read or has changed, its arrays do not fit the model, or it says that it
        was trained as another one.
    """
    stored = weights.read(case.weights)
    name, args = stored.metadata.get("model", case.model), json.loads(stored.metadata.get("model_args", "{}"))
    other = [] if name.rpartition(":")[2] == case.model.rpartition(":")[2] else [f"model={name}"]
    if not other:
        params = weights.fitted(stored, jax.eval_shape(model.init, jax.random.key(0)))
        told = {key: value for key, value in args.items() if key in case.model_args and key not in UNTRAINED}
        other = [f"{key}={value}" for key, value in told.items() if not alike(value, case.model_args[key])]
    if other:
        raise InputError(
            f"{stored.path} was trained with {', '.join(other)}, which the audit's model {case.model!r} is "
            "not; give --model as it was trained"
        )
    return params


def alike(one: Any, other: Any) -> bool:
    """Whether two arguments are equal; a list of one value is that value.

    >>> alike([16], 16), alike([16, 8], [16])
    (True, False)
    """
    return one == other or [one] == other or one == [other]


def loss_of(case: Setting) -> Loss:
    """The client's loss.

    >>> loss_of(Case(attack="dlg", loss_fn="bce")).__name__
    'bce'
    """
    return catalog.find("loss_fn", case.loss_fn, catalog.LOSSES)


def prior_of(case: Case) -> Params | None:
    """The weights of the generator that the case's attack names (`prior=`); None where it names none.

    Raises:
      InputError: the file cannot be read or has changed.
    """
    named = case.attack_args.get("prior")
    return priors.load(named).params if named else None


def client_of(case: Setting, model: Model, floats: Floats) -> Client:
    """The case's client without its defense."""
    factory = catalog.find("client", case.client, catalog.CLIENTS)
    return factory(model, loss_of(case), **split(case.client_args)[0], **floats["client"])


def defense_of(case: Setting, floats: Floats) -> Defense:
    """The case's defense at these strengths."""
    if case.defense == "none":
        return clients.chain()
    static = split(case.defense_args)[0]
    return catalog.defense_kind(case.defense).defense(**static, **floats["defense"])


def belief_of(case: Case, view: View, floats: Floats) -> Defense:
    """The defense in which the attacker believes: none, one estimated from the view, or the true one."""
    if not imitates(case):
        return clients.chain()
    kind = catalog.defense_kind(case.defense)
    static = split(case.defense_args)[0]
    if case.knows == "kind":
        return kind.adapt(view, **static)
    if kind.belief is None:
        return kind.defense(**static, **floats["defense"])
    return kind.belief(view, **static, **floats["defense"])


def local_steps(case: Setting) -> int:
    """Gradient steps behind an update: the client's `steps` x `epochs`, where it has such arguments."""
    return case.client_args.get("steps", 1) * case.client_args.get("epochs", 1)


def threat_of(case: Setting, client: Client, model: Model, batch: int, floats: Floats) -> Threat:
    """What the attacker knows that is no array.

    Args:
      case: the settings.
      client: the client in which the attacker believes.
      model: the model under attack.
      batch: how many images the attacker believes the client to hold.
      floats: the traced settings that it knows.
    """
    return Threat(
        client=client,
        model=model,
        batch=batch,
        local_steps=local_steps(case),
        epochs=case.client_args.get("epochs", 1),
        lr=floats["client"].get("lr", 0.0),
    )


def attack_of(case: Case, model: Model, view: View, floats: Floats) -> Attack:
    """The case's attack, as it follows from the view and from what the attacker knows."""
    client = belief_of(case, view, floats)(client_of(case, model, floats))
    factory = catalog.find("attack", case.attack, catalog.ATTACKS)
    threat = threat_of(case, client, model, case.batch, floats)
    threat = replace(threat, loss=loss_of(case))  # it imitates the client, so it knows it
    return factory(threat, **split(case.attack_args)[0], **floats["attack"])
