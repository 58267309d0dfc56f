"""The columns of a sweep's records: settings, numbers by victim, and where they come from."""

import functools
import json
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jleak.audit.case import Case
from jleak.audit.store import Record, jsonable
from jleak.metrics import METRICS

KINDS = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
"""Types of a case's plain settings -> those of columns."""

VICTIMS = (*METRICS, "mse_features", "label_success", "constant_psnr", "loss", "snr")
"""Numbers of which a record has one a victim."""

NESTED = {"mixing": ("mu", "condition", "rank"), "noise": ("sigma", "low", "high")}
"""Mappings of such numbers: `mixing` becomes the columns `mixing_mu`, `mixing_condition`, `mixing_rank`."""

WHERE = ("host", "finished", "revision")
"""What the store adds to a record."""


def schema() -> pa.Schema:
    """The columns of every part; they follow from the settings of a case and from the metrics.

    Arguments (`defense_args`) are JSON text, numbers by victim lists with null where not finite.

    >>> str(schema().field("psnr").type), str(schema().field("defense_args").type)
    ('list<item: double>', 'string')
    """
    settings = {name: KINDS.get(f.type, pa.string()) for name, f in Case.__dataclass_fields__.items()}
    inner = [f"{name}_{key}" for name, keys in NESTED.items() for key in keys]
    columns = {
        "case_id": pa.string(),
        **settings,
        "status": pa.string(),
        **dict.fromkeys([*VICTIMS, *inner], pa.list_(pa.float64())),
        "certificate": pa.string(),
        "diverged": pa.int64(),
        "evaluations": pa.int64(),
        "seconds": pa.float64(),
        "compile_seconds": pa.float64(),
        "device": pa.string(),
        "devices": pa.int64(),
        "width": pa.int64(),
        "versions": pa.string(),
        **dict.fromkeys(WHERE, pa.string()),
    }
    return pa.schema(list(columns.items()))


def table(records: Sequence[Record]) -> pa.Table:
    """Records as rows; texts are JSON where a record holds a mapping."""
    found = schema()
    texts: dict[str, str] = {}
    rows = [flat(record, texts) for record in records]
    columns = [pa.array([row.get(name) for row in rows], found.field(name).type) for name in found.names]
    return pa.Table.from_arrays(columns, schema=found)


def flat(record: Record, texts: dict[str, str]) -> dict[str, Any]:
    """A record with mappings apart into columns, or as JSON text.

    Args:
      record: the record.
      texts: JSON by how Python writes a mapping, used and filled: many records say the same.

    >>> flat({"defense_args": {"sigma": 0.1}, "mixing": {"mu": [1.0]}}, {})
    {'defense_args': '{"sigma": 0.1}', 'mixing_mu': [1.0]}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in NESTED:
            found |= {f"{name}_{key}": numbers for key, numbers in value.items()}
        elif isinstance(value, dict):
            written = repr(value)
            if written not in texts:
                texts[written] = json.dumps(jsonable(value), sort_keys=True)
            found[name] = texts[written]
        else:
            found[name] = value
    return found


def record(row: Mapping[str, Any]) -> Record:
    """The record of a row: what `flat` has made flat, nested again.

    >>> record({"defense_args": '{"sigma": 0.1}', "mixing_mu": [1.0], "certificate": None})
    {'mixing': {'mu': [1.0]}, 'noise': {}, 'defense_args': {'sigma': 0.1}, 'certificate': None}
    """
    found: dict[str, Any] = {name: {} for name in NESTED}
    for name, value in row.items():
        outer, _, inner = name.partition("_")
        if outer in NESTED and inner:
            found[outer][inner] = value
        elif (name.endswith("_args") or name in ("certificate", "versions")) and value is not None:
            found[name] = json.loads(value)
        else:
            found[name] = value
    return found


def here() -> dict[str, str]:
    """What the store adds: host, time of finishing (UTC), git revision of jleak where it has one."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"host": socket.gethostname(), "finished": now, "revision": revision()}


@functools.cache
def revision() -> str:
    """The git revision that jleak runs from, with `+` where files differ from it; empty if there is none."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()
