"""What the cases of every kind of run share: checks of their settings, JSON both ways, a content hash."""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from jleak import catalog
from jleak.check import InputError, number, one_of, whole
from jleak.data import HOW, SOURCES
from jleak.defenses import Kind

Args = dict[str, str | int | float | bool | list]


class Setting(Protocol):
    """The settings that cases of every kind have: a data set, a model, a client, a defense."""

    dataset: str
    model: str
    model_args: Args
    loss_fn: str
    client: str
    client_args: Args
    batch: int
    draw: str
    defense: str
    defense_args: Args
    seed: int


AnyCase = TypeVar("AnyCase", bound=Setting)


def check_shared(
    case: Setting, counts: Iterable[str], part: str, entries: dict[str, Callable]
) -> Kind | None:
    """Checks the settings that all cases have and fills in the defaults, in place.

    Args:
      case: the case that is being built.
      counts: the names of its whole numbers >= 1.
      part: what it does to the update: the field that names it, `attack` or `measure`.
      entries: those that have a name.

    Returns:
      The defense with the attackers that know of it; None for "none".

    Raises:
      InputError: an unknown name, a number out of bounds.
    """
    for name in counts:
        put(case, name, whole(name, getattr(case, name)))
    put(case, "seed", whole("seed", case.seed, least=0))
    number("seed", case.seed, below=2**32, hint="a key holds 32 bits")
    check_source(case.dataset)
    one_of("loss_fn", case.loss_fn, catalog.LOSSES)
    one_of("draw", case.draw, HOW)
    complete(case, "model", catalog.find("model", case.model, catalog.MODELS))
    complete(case, "client", catalog.find("client", case.client, catalog.CLIENTS))
    complete(case, part, catalog.find(part, getattr(case, part), entries))
    if case.defense == "none":
        if case.defense_args:
            raise InputError(f"defense 'none' takes no arguments, got {case.defense_args}")
        return None
    kind = catalog.defense_kind(case.defense)
    complete(case, "defense", kind.defense)
    kind.defense(**case.defense_args)  # checks the strengths
    return kind


def check_source(dataset: str) -> None:
    """Checks that a data set is named as `jleak.data.load` takes it; reads nothing.

    >>> check_source("digit")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: unknown data source 'digit'; did you mean 'digits'? known: by, ...
    """
    source = str(dataset).partition(":")[0]
    one_of("data source", source, SOURCES, hint="write digits, npz:PATH, folder:PATH or tfds:NAME")


def complete(case: Setting, kind: str, factory: Callable) -> None:
    """Checks the names of a part's arguments and fills in the defaults."""
    args = catalog.checked(kind, getattr(case, kind), factory, getattr(case, f"{kind}_args"))
    try:
        args = json.loads(json.dumps(args, allow_nan=False))  # tuples become lists, as JSON has them
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{kind} {getattr(case, kind)!r} takes names, numbers, truth values and lists of these, "
            f"got {args}: {error}"
        ) from error
    put(case, f"{kind}_args", dict(sorted(args.items())))


def put(case: Setting, name: str, value: Any) -> None:
    """Sets a field of a frozen case that is being built."""
    object.__setattr__(case, name, value)


def reseeded(case: AnyCase, seed: int) -> AnyCase:
    """The case with another seed, which must be a valid one: nothing is checked again."""
    other = copy.copy(case)
    put(other, "seed", seed)
    return other


def content_hash(case: Setting) -> str:
    """Twelve hex digits of the SHA-256 of all settings: another setting is another case."""
    return hashlib.sha256(IN_ORDER(vars(case)).encode()).hexdigest()[:12]


IN_ORDER = json.JSONEncoder(sort_keys=True).encode
"""As `json.dumps(..., sort_keys=True)`, which makes an encoder with every call."""


def case_of(kind: type[AnyCase], fields: dict[str, Any]) -> AnyCase:
    """The case of these fields; other keys (a record's results) are left aside."""
    known = {f.name for f in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in fields.items() if key in known})
