"""Which records are asked about (`--where`), and by which settings (`--by`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from jleak.check import InputError, one_of
from jleak.report.rows import text
from jleak.report.sweep.columns import PARTS, Column, of_part, varying

NOTHING = "-"
"""How the value of an argument is written that a record's part does not have."""


LISTED = 30
"""Values that a message lists, at most."""


def asked(by: Sequence[str] | None, there: Mapping[str, Column]) -> list[str]:
    """The settings to group by; None for those that vary, the seed apart.

    Names may be apart by commas; `defense_args` stands for all arguments of the defenses.

    Raises:
      InputError: a name that no record has.

    >>> there = {"seed": Column("seed", [0, 1], np.array([0, 1])), "batch": Column("batch", [1], np.zeros(2))}
    >>> asked(["batch,seed"], there), asked(None, there)
    (['batch', 'seed'], [])
    """
    if by is None:
        return varying(there)
    names: list[str] = []
    for name in (part.strip() for given in by for part in given.split(",")):
        part = name.removesuffix("_args")
        if part in PARTS and part != name:
            names += of_part(part, there)
        else:
            names.append(one_of("setting in --by", name, there, hint="join several by commas"))
    return list(dict.fromkeys(names))


def kept(where: Sequence[str], there: Mapping[str, Column]) -> Bool[np.ndarray, " records"]:
    """Which records meet the conditions `NAME=VALUE`: of each setting that is named, one of its values.

    Raises:
      InputError: no such setting, no record with such a value, or none that meets all.

    >>> there = {"knows": Column("knows", ["nothing", "kind"], np.array([0, 1, 1]))}
    >>> kept(["knows=kind"], there).tolist()
    [False, True, True]
    """
    wanted: dict[str, set[int]] = {}
    for rule in where:
        name, equals, value = (part.strip() for part in rule.partition("="))
        if not equals or not value:
            raise InputError(f"--where must be NAME=VALUE, such as knows=kind, got {rule!r}")
        one_of("setting in --where", name, there)
        wanted.setdefault(name, set()).update(matching(there[name], value))
    size = len(next(iter(there.values())).codes)
    found = np.ones(size, bool)
    for name, codes in wanted.items():
        found &= np.isin(there[name].codes, sorted(codes))
    if not found.any():
        raise InputError(f"no record meets all of --where {' --where '.join(where)}; leave one of them away")
    return found


def matching(column: Column, value: str) -> list[int]:
    """The codes of the value that is written so; rounded, as tables show numbers, if none is exactly it."""
    exact = [i for i, known in enumerate(column.values) if same(known, value)]
    found = exact or [i for i, known in enumerate(column.values) if near(known, value)]
    if not found:
        shown = [written(known) for known in column.values]
        if len(shown) > LISTED:
            ends = f"{shown[0]} to {shown[-1]}"
            raise InputError(
                f"no record has {column.name}={value}; take one of its {len(shown)} values from {ends}"
            )
        one_of(f"value of {column.name} in --where", value, shown)
    return found


def written(value: Any) -> str:
    """A value as one types it.

    >>> written(0.1), written(True), written([16, 8]), written(None), written("")
    ('0.1', 'true', '16-8', '-', 'none')
    """
    return NOTHING if value is None else "none" if value == "" else text(value)


def same(known: Any, value: str) -> bool:
    """Whether a value is written so."""
    if written(known) == value:
        return True
    number = numeric(value)
    return number is not None and numeric(known) == number


def near(known: Any, value: str) -> bool:
    """Whether a number, rounded to three digits, is written so.

    >>> near(0.0215443469, "0.0215"), near(0.0215443469, "0.02")
    (True, False)
    """
    number, known = numeric(value), numeric(known)
    return number is not None and known is not None and f"{known:.3g}" == f"{number:.3g}"


def numeric(value: Any) -> float | None:
    """The number that a value is, or is written as; None for anything else."""
    try:
        return None if isinstance(value, bool | list) or value is None else float(value)
    except ValueError:
        return None
