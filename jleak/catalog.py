"""Everything that has a name: one explicit dict a kind, `name -> factory`.

A line here enrols a part in the command line, `jleak list`, the contract tests and the benchmarks. Users
register nothing: wherever a name is taken, `package.module:factory` is taken as well.
"""

import importlib
import math
from collections.abc import Callable
from inspect import signature
from typing import Any

from jleak import attacks, losses, models
from jleak.check import REQUIRED, InputError, arguments, keywords, number, one_of, whole
from jleak.clients import CLIENTS
from jleak.data import SOURCES
from jleak.defenses import KINDS as DEFENSES
from jleak.defenses import Kind
from jleak.labels import LABELS
from jleak.leakage.measures import MEASURES
from jleak.metrics import METRICS
from jleak.priors import GENERATORS, PRIORS
from jleak.priors.critics import TRUNKS as CRITICS
from jleak.search import ENGINES
from jleak.training import OBJECTIVES

ATTACKS = {
    "cocktail_party": attacks.cocktail_party,
    "demixing": attacks.demixing,
    "dense": attacks.dense,
    "dlg": attacks.dlg,
    "ggl": attacks.ggl,
    "gias": attacks.gias,
    "gifd": attacks.gifd,
    "gradinversion": attacks.gradinversion,
    "idlg": attacks.idlg,
    "inverting": attacks.inverting,
    "inverting_tuned": attacks.inverting_tuned,
    "multistep": attacks.multistep,
    "relative": attacks.relative,
    "rgap": attacks.rgap,
}
MODELS = {
    "alexnet": models.alexnet,
    "convnet": models.convnet,
    "convnet64": models.convnet64,
    "lenet": models.lenet,
    "mlp": models.mlp,
    "resnet18": models.resnet18,
    "resnet20": models.resnet20,
    "resnet32": models.resnet32,
    "vgg11": models.vgg11,
    "vgg13": models.vgg13,
    "vit": models.vit,
}
LOSSES = {
    "bce": losses.bce,
    "cross_entropy": losses.cross_entropy,
    "mse": losses.mse,
    "sigmoid_mse": losses.sigmoid_mse,
}

KINDS: dict[str, dict[str, Any]] = {
    "attacks": ATTACKS,
    "labels": LABELS,
    "clients": CLIENTS,
    "defenses": DEFENSES,
    "metrics": METRICS,
    "measures": MEASURES,
    "models": MODELS,
    "datasets": SOURCES,
    "optimizers": ENGINES,
    "generators": GENERATORS,
    "priors": PRIORS,
    "objectives": OBJECTIVES,
    "critics": CRITICS,
}
"""The kinds of named parts, in the order of `jleak list`."""


def names() -> dict[str, list[str]]:
    """The names of every kind, sorted: what `jleak list --json` prints.

    >>> names()["models"][:5]
    ['alexnet', 'convnet', 'convnet64', 'lenet', 'mlp']
    """
    return {kind: sorted(entries) for kind, entries in KINDS.items()}


def find(kind: str, name: str, entries: dict[str, Any]) -> Any:
    """The entry `name`, or what `package.module:factory` names.

    Args:
      kind: the singular, for messages ("attack").
      name: a name of `entries`, or `package.module:attribute`.
      entries: one of the dicts above.

    Raises:
      InputError: unknown name (lists the known ones and the nearest), or nothing importable there.

    >>> find("model", "jleak.models:mlp", MODELS) is MODELS["mlp"]
    True
    """
    if ":" not in str(name):
        return entries[one_of(kind, name, entries)]
    module, _, attribute = name.partition(":")
    if module in entries:
        raise InputError(f"cannot read {kind} {name!r}; write {module}:argument=value")
    remedy = "write package.module:factory of something on the Python path"
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{kind} {name!r} cannot be imported: {error}; {remedy}") from error
    if not callable(found) and not isinstance(found, Kind):
        raise InputError(f"{kind} {name!r} is no factory but {type(found).__name__}; {remedy}")
    return found


def defense_kind(name: str) -> Kind:
    """The defense `name` with the attackers that know of it.

    A plain factory `(*, ...) -> Defense` of the user's own is imitated only by an attacker who knows all.

    >>> defense_kind("jleak.defenses:clip").adapt is None
    True
    """
    found = find("defense", name, DEFENSES)
    return found if isinstance(found, Kind) else Kind(found, adapt=None)


def checked(kind: str, name: str, factory: Callable, args: dict[str, Any]) -> dict[str, Any]:
    """`args` in the types that the factory declares, completed by its defaults.

    So a record states every setting, and `1` and `1.0` are one setting where a float is wanted.

    Raises:
      InputError: an argument that the factory does not have or one that it needs; a value of another type.

    >>> checked("model", "mlp", MODELS["mlp"], {"hidden": 32})["hidden"]
    32
    """
    arguments(f"{kind} {name!r}", factory, args)
    defaults = {key: value for key, value in keywords(factory).items() if value is not REQUIRED}
    types = {p.name: p.annotation for p in signature(factory).parameters.values()}
    return {key: typed(key, value, types[key]) for key, value in {**defaults, **args}.items()}


def typed(name: str, value: Any, declared: Any) -> Any:
    """`value` as a bool, int or float where `declared` is one of these; anything else as it is.

    Raises:
      InputError: the value cannot be that, or is no finite number (JSON has neither NaN nor infinity).

    >>> typed("lr", 1, float), typed("steps", 1e3, int)
    (1.0, 1000)
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, got {name}={value}")
    if declared in (float, "float"):
        return float(number(name, value))
    if declared in (int, "int"):
        exact = isinstance(value, float) and value.is_integer()
        return whole(name, int(value) if exact else value, least=-(2**63))
    if declared in (bool, "bool") and not isinstance(value, bool):
        raise InputError(f"{name} must be true or false, got {name}={value!r}")
    return value
