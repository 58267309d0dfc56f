"""The settings of a sweep's records as coded columns: which values there are, and which record has which."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from jleak.audit.case import Case
from jleak.defenses import KNOWS
from jleak.report.rows import DEFAULTS

FIELDS = tuple(Case.__dataclass_fields__)
"""Settings of a case, as they are stored."""

PARTS = tuple(name for name in FIELDS if f"{name}_args" in FIELDS)
"""Settings that have arguments."""

PLAIN = tuple(name for name in FIELDS if name.removesuffix("_args") == name)
"""Settings of which a record has one value."""


class Column(NamedTuple):
    """One setting of all records.

    Attributes:
      name: the setting, such as `defense`, or an argument, such as `defense.sigma`.
      values: what occurs, in order; None where a record's part has no such argument.
      codes: of each record, the place of its value among these.
    """

    name: str
    values: list[Any]
    codes: Int[np.ndarray, " records"]

    def where(self, kept: Bool[np.ndarray, " records"]) -> "Column":
        """The column of some of the records, with the values that occur among them."""
        there, codes = np.unique(self.codes[kept], return_inverse=True)
        return Column(self.name, [self.values[code] for code in there], codes)


def columns(table: pa.Table) -> dict[str, Column]:
    """Every setting and every argument of the records, by name.

    >>> there = columns(pa.table({"defense": ["clip", "none"], "defense_args": ['{"bound": 2.0}', "{}"]}))
    >>> [(c.name, c.values, c.codes.tolist()) for c in there.values()]
    [('defense', ['none', 'clip'], [1, 0]), ('defense.bound', [None, 2.0], [1, 0])]
    """
    found = {}
    for name in FIELDS:
        if name not in table.column_names:
            continue
        texts, codes = distinct(table.column(name))
        if name in PLAIN:
            found[name] = coded(name, [DEFAULTS.get(name) if v is None else v for v in texts], codes)
        else:
            args = [json.loads(text or "{}") for text in texts]
            part = name.removesuffix("_args")
            for key in dict.fromkeys(key for arg in args for key in arg):
                found[f"{part}.{key}"] = coded(f"{part}.{key}", [arg.get(key) for arg in args], codes)
    return found


def distinct(column: pa.ChunkedArray) -> tuple[list[Any], Int[np.ndarray, " records"]]:
    """What occurs in a column, and of each record the place of its value there.

    >>> distinct(pa.chunked_array([["b", "a"], ["b"]]))
    (['b', 'a'], array([0, 1, 0]))
    """
    whole = pa.concat_arrays(column.chunks).dictionary_encode(null_encoding="encode")
    return whole.dictionary.to_pylist(), whole.indices.to_numpy().astype(np.int64)


def coded(name: str, values: list[Any], codes: Int[np.ndarray, " records"]) -> Column:
    """A column of these values, which may be equal, in order and each once."""
    by_text = {json.dumps(value): value for value in values}
    order = sorted(by_text, key=lambda text: rank(name, by_text[text]))
    places = np.array([order.index(json.dumps(value)) for value in values])
    return Column(name, [by_text[text] for text in order], places[codes])


def rank(name: str, value: Any) -> tuple:
    """What to sort a setting's values by: nothing first, numbers by size, knowledge by how much it is.

    >>> sorted(["gaussian", "none", "clip"], key=lambda value: rank("defense", value))
    ['none', 'clip', 'gaussian']
    """
    if value is None or (name == "defense" and value == "none"):
        return (0,)
    if name == "knows" and value in KNOWS:
        return (1, KNOWS.index(value))
    if isinstance(value, list) and all(map(measured, value)):
        return (2, value)
    return (1, value) if measured(value) else (3, str(value))


def measured(value: Any) -> bool:
    """Whether a value is a number.

    >>> measured(1), measured(0.5), measured(True), measured("1")
    (True, True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def varying(there: Mapping[str, Column]) -> list[str]:
    """The settings that differ between records, the arguments that differ between namesakes; not the seed.

    >>> args = ['{"bound": 1.0}', '{"bound": 2.0}', '{"sigma": 1.0}']
    >>> made = {"defense": ["clip", "clip", "gaussian"], "defense_args": args, "seed": [0, 1, 2]}
    >>> varying(columns(pa.table(made)))
    ['defense', 'defense.bound']
    """
    return [name for name, one in there.items() if name != "seed" and varies(one, there)]


def varies(column: Column, there: Mapping[str, Column]) -> bool:
    """Whether a setting has several values, or an argument has them in records of one and the same part."""
    part, _, argument = column.name.partition(".")
    if not argument or len(column.values) < 2:
        return len(column.values) > 1
    pairs = np.unique(there[part].codes * len(column.values) + column.codes)
    return bool((np.bincount(pairs // len(column.values)) > 1).any())


def of_part(part: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are arguments of a part.

    >>> of_part("defense", ["defense", "defense.sigma", "attack.lr"])
    ['defense.sigma']
    """
    return [name for name in names if name.startswith(f"{part}.")]
