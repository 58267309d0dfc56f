"""Several values of one setting in a file of settings: lists, ranges, grids on a scale."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jleak.check import InputError, number, whole

MOST = 10_000_000
"""Values that one setting may have."""


def several(value: Any) -> list[Any] | None:
    """The values that a mapping such as `{range: 100}` stands for; None where it is no such mapping.

    `{each: [a, b]}` are these values, `{range: n}` the numbers 0 to n - 1, `{range: [a, b]}` those from a to
    b - 1, `{log: [a, b, n]}` n numbers from a to b at equal ratios, `{linear: [a, b, n]}` at equal distances.

    Raises:
      InputError: such a mapping with values that it cannot have.

    >>> several({"range": [2, 5]}), several({"log": [0.01, 1, 3]}), several({"gaussian": {"sigma": 1}})
    ([2, 3, 4], [0.01, 0.1, 1.0], None)
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((how, given),) = value.items()
    return FORMS[how](given) if how in FORMS else None


def each(given: Any) -> list[Any]:
    """The values of `{each: [...]}`."""
    if not isinstance(given, list) or not given:
        raise InputError(f"each must be a list of one value or more, such as {{each: [1, 2]}}, got {given!r}")
    return given


def counted(given: Any) -> list[int]:
    """The values of `{range: n}` and `{range: [first, end]}`."""
    first, end = given if isinstance(given, list) and len(given) == 2 else (0, given)
    first, end = whole("range", first, least=0), whole("range", end)
    if not first < end <= first + MOST:
        raise InputError(f"range must hold 1 to {MOST} numbers, got {{range: [{first}, {end}]}}")
    return list(range(first, end))


def scale(given: Any, how: str) -> list[float]:
    """The values of `{log: [a, b, n]}` and `{linear: [a, b, n]}`, to ten digits."""
    if not isinstance(given, list) or len(given) != 3:
        raise InputError(
            f"{how} must be [first, last, how many], such as {{{how}: [0.01, 1, 5]}}, got {given!r}"
        )
    first, last = (float(number(how, end)) for end in given[:2])
    count = whole(how, given[2])
    if how == "linear":
        return [float(f"{value:.10g}") for value in np.linspace(first, last, count)]
    if min(first, last) <= 0:
        raise InputError(f"log must be between numbers > 0, got {{log: {given}}}; use linear, or another end")
    return [float(f"{value:.10g}") for value in np.exp(np.linspace(math.log(first), math.log(last), count))]


FORMS = {
    "each": each,
    "range": counted,
    "log": lambda given: scale(given, "log"),
    "linear": lambda given: scale(given, "linear"),
}
"""How several values are written -> the values."""


def spread(args: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of arguments of which some have several values; the last argument varies fastest.

    >>> spread({"sigma": {"each": [0.1, 1.0]}, "scope": "tensor"})
    [{'sigma': 0.1, 'scope': 'tensor'}, {'sigma': 1.0, 'scope': 'tensor'}]
    """
    found = [{}]
    for name, value in args.items():
        values = several(value) or [value]
        found = [{**one, name: v} for one in found for v in values]
    return found
