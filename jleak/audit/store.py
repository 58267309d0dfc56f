"""A run's directory: what an audit has found, safe against being killed at any moment.

    runs/NAME/
      audit.json          the settings
      records.jsonl       one line a finished case: its settings and its numbers
      images/CASE.npz     truth, reconstruction and snapshots of a case that has images
      figures/, report.html    made from the above by `jleak report`

Every file is written aside and renamed, so a reader sees the old one or the new one, never a half.
"""

import io
import json
import math
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jleak.check import InputError
from jleak.weights import write_aside

Record = dict[str, Any]


def finished(path: Path, *, resume: bool, kind: str = "audit") -> dict[str, Record]:
    """The records that a run's directory holds, by case; none where it is still to be made. Writes nothing.

    Args:
      path: the directory.
      resume: whether to go on with what it holds.
      kind: what is to go on, of `jleak.report.kinds.KINDS`.

    Raises:
      InputError: it exists and `resume` is off, it is no run or one of another kind, or a record is damaged.
    """
    if not path.exists():
        return {}
    if not resume:
        raise InputError(
            f"{path} exists; add --resume to go on with it, or name another directory with --out"
        )
    if path.is_dir() and not any(path.iterdir()):
        return {}
    records = read_records(path)
    for record in records:
        if kind_of(record) != kind:
            raise InputError(
                f"{path} holds a run of `jleak {kind_of(record)}`, not of `jleak {kind}`; "
                "name another directory with --out"
            )
    return {record["case_id"]: record for record in records}


def kind_of(record: Record) -> str:
    """The kind of run that a record (or the settings of a run) is of; the first runs did not say it.

    >>> kind_of({"kind": "labels"}), kind_of({})
    ('labels', 'audit')
    """
    return record.get("kind", "audit")


def make(path: Path, settings: Mapping[str, Any]) -> None:
    """Makes a run's directory, or writes the settings of one that is resumed.

    Raises:
      InputError: it cannot be written; nothing half-made is left.
    """
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_aside(path / "audit.json", (as_json(settings, indent=2) + "\n").encode())
    except OSError as error:
        if new:
            shutil.rmtree(path, ignore_errors=True)
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name another directory with --out"
        ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of a run: its `audit.json`.

    Raises:
      InputError: the directory is no run, or the file is damaged.
    """
    file = _settings_file(path)
    try:
        return dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}); --resume the audit, which writes it again") from error


def _settings_file(path: Path) -> Path:
    file = path / "audit.json"
    if not file.is_file():
        raise InputError(
            f"{path} is not a run of jleak (it has no audit.json); name the directory that an audit made"
        )
    return file


def read_records(path: Path) -> list[Record]:
    """The records of a run, in the order in which they were finished.

    Raises:
      InputError: the directory is no run, or a line is damaged.
    """
    file = _settings_file(path).with_name("records.jsonl")
    records = []
    for number, line in enumerate(file.read_bytes().splitlines() if file.exists() else [], 1):
        try:
            record = json.loads(line)
            records.append({"case_id": record["case_id"]} | record)
        except (ValueError, TypeError, KeyError) as error:  # no UTF-8 or JSON, no mapping, no case
            raise InputError(
                f"{file}, line {number} is damaged ({error!r}); delete that line and --resume: "
                "its case runs again"
            ) from error
    return records


def read_images(path: Path, case_id: str) -> dict[str, np.ndarray]:
    """The images of a finished case: truth, labels, reconstruction, snapshots.

    Raises:
      InputError: the file is missing or damaged.
    """
    file = path / "images" / f"{case_id}.npz"
    try:
        with np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{file} is missing or damaged ({error}); delete the line of case {case_id} in records.jsonl "
            "and --resume: it runs again"
        ) from error


def add_record(
    path: Path, records: Mapping[str, Record], record: Record, images: Mapping[str, np.ndarray]
) -> None:
    """Adds a finished case: its images, if any, then the records with it, so that a record's images exist.

    Raises:
      InputError: the disk is full or the directory cannot be written; what was there stays as it was.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **images)
    lines = [as_json(r) for r in (*records.values(), record)]
    try:
        if images:
            (path / "images").mkdir(exist_ok=True)
            write_aside(path / "images" / f"{record['case_id']}.npz", buffer.getvalue())
        write_aside(path / "records.jsonl", "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; the {len(records)} finished cases are kept. "
            "Make room and go on with --resume"
        ) from error


def as_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinities become null.

    >>> as_json({"psnr": [1.0, float("nan")]})
    '{"psnr": [1.0, null]}'
    """
    return json.dumps(jsonable(value), indent=indent, allow_nan=False)


def jsonable(value: Any) -> Any:
    """Numbers and containers as strict JSON has them: NaN and infinities become null.

    >>> jsonable({"psnr": [1.0, float("nan")]})
    {'psnr': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    return value
