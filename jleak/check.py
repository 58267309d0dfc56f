"""Checks of what a user passes in. Every message names the value, the rule and the remedy."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from numbers import Integral, Real
from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, why and what to do.

    The command line prints it without a traceback and exits with 2.
    """


def number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    hint: str = "",
) -> Any:
    """`value`, if it is a number within the bounds; traced values pass unchecked.

    Args:
      name: the argument's name, for the message.
      least, most: closed bounds.
      above, below: open bounds.
      hint: a remedy appended to the message.

    Raises:
      InputError: not a number, NaN, or out of bounds.

    >>> number("sigma", 0.1, least=0)
    0.1
    >>> number("sigma", -1.0, least=0, hint="use 0 for no noise")
    Traceback (most recent call last):
    jleak.check.InputError: sigma must be >= 0, got sigma=-1.0; use 0 for no noise
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        if hasattr(value, "aval") or hasattr(value, "dtype"):  # a traced or concrete array
            return value
        raise InputError(f"{name} must be a number, got {name}={value!r}")
    rules = [
        (value >= least, f">= {least:g}"),
        (value <= most, f"<= {most:g}"),
        (value > above or above == -math.inf, f"> {above:g}"),
        (value < below or below == math.inf, f"< {below:g}"),
    ]
    if math.isnan(value):
        raise InputError(f"{name} must be a number, got {name}=nan" + _tail(hint))
    for holds, rule in rules:
        if not holds:
            raise InputError(f"{name} must be {rule}, got {name}={value}" + _tail(hint))
    return value


def whole(name: str, value: Any, *, least: int = 1, hint: str = "") -> int:
    """`value`, if it is a whole number >= `least`.

    >>> whole("steps", 10)
    10
    >>> whole("steps", 0)
    Traceback (most recent call last):
    jleak.check.InputError: steps must be >= 1, got steps=0
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number, got {name}={value!r}" + _tail(hint))
    return int(number(name, value, least=least, hint=hint))


def one_of(name: str, value: Any, known: Iterable[str], *, hint: str = "") -> str:
    """`value`, if it is among the `known` names; else the message lists them and the nearest.

    >>> one_of("defense", "gausian", ["clip", "gaussian"])
    Traceback (most recent call last):
    jleak.check.InputError: unknown defense 'gausian'; did you mean 'gaussian'? known: clip, gaussian
    """
    names = sorted(known)
    if value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    raise InputError(f"unknown {name} {value!r}{guess} known: {', '.join(names)}" + _tail(hint))


def arguments(name: str, factory: Callable, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """`args`, if `factory` has a keyword-only argument of each name.

    >>> def clip(*, bound): ...
    >>> arguments("defense 'clip'", clip, {"bond": 1.0})
    Traceback (most recent call last):
    jleak.check.InputError: defense 'clip' has no argument 'bond'; did you mean 'bound'? it has: bound
    """
    known = keywords(factory)
    for key in args:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            guess = f"; did you mean {near[0]!r}?" if near else ";"
            has = ", ".join(known) or "no arguments"
            raise InputError(f"{name} has no argument {key!r}{guess} it has: {has}")
    missing = [k for k, default in known.items() if default is REQUIRED and k not in args]
    if missing:
        raise InputError(
            f"{name} needs {', '.join(missing)}; write {name.split()[-1].strip(chr(39))}:"
            + ",".join(f"{m}=VALUE" for m in missing)
        )
    return args


REQUIRED = object()
"""The default of an argument that has none (see `keywords`)."""


def keywords(factory: Callable) -> dict[str, Any]:
    """The keyword-only arguments of `factory` and their defaults (`REQUIRED` where none).

    >>> def clip(*, bound, scope="global"): ...
    >>> {k: v for k, v in keywords(clip).items() if v is not REQUIRED}
    {'scope': 'global'}
    """
    found = {}
    for parameter in signature(factory).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            empty = parameter.default is parameter.empty
            found[parameter.name] = REQUIRED if empty else parameter.default
    return found


def _tail(hint: str) -> str:
    return f"; {hint}" if hint else ""
