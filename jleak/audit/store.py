"""A run's directory: what an audit has found, safe against being killed at any moment.

    runs/NAME/
      audit.json          the settings
      records.jsonl       one line a finished case: its settings and its numbers
      images/CASE.npz     truth, reconstruction and snapshots of a case
      figures/, report.html    made from the above by `jleak report`

Every file is written aside and renamed, so a reader sees the old one or the new one, never a half.
"""

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jleak.check import InputError

Record = dict[str, Any]


def open_run(path: Path, settings: Mapping[str, Any], *, resume: bool) -> dict[str, Record]:
    """Makes a run's directory, or opens one to resume; the records that it holds, by case.

    Raises:
      InputError: it exists and `resume` is off, it is no run, or it cannot be written.
    """
    if path.exists() and not resume:
        raise InputError(
            f"{path} exists; add --resume to go on with it, or name another directory with --out"
        )
    if resume and path.exists() and any(path.iterdir()) and not (path / "audit.json").exists():
        raise InputError(
            f"{path} is not a run of jleak (it has no audit.json); name another directory with --out"
        )
    try:
        (path / "images").mkdir(parents=True, exist_ok=True)
        write_json(path / "audit.json", settings)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; name another directory with --out"
        ) from error
    return {record["case_id"]: record for record in read_records(path)}


def read_records(path: Path) -> list[Record]:
    """The records of a run, in the order in which they were finished.

    Raises:
      InputError: the directory is no run, or a line is damaged.
    """
    if not (path / "audit.json").exists():
        raise InputError(
            f"{path} is not a run of jleak (it has no audit.json); name the directory that an audit made"
        )
    file = path / "records.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{file}, line {number} is damaged ({error}); delete that line and --resume: "
                "its case runs again"
            ) from error
    return records


def add_record(
    path: Path, records: Mapping[str, Record], record: Record, images: Mapping[str, np.ndarray]
) -> None:
    """Adds a finished case: its images first, then the records with it, so that a record's images exist.

    Raises:
      InputError: the disk is full or the directory cannot be written; what was there stays as it was.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **images)
    lines = [json.dumps(jsonable(r), allow_nan=False) for r in (*records.values(), record)]
    try:
        write_aside(path / "images" / f"{record['case_id']}.npz", buffer.getvalue())
        write_aside(path / "records.jsonl", "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; the {len(records)} finished cases are kept. "
            "Make room and go on with --resume"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes JSON aside and renames it into place."""
    write_aside(path, (json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n").encode())


def write_aside(path: Path, content: bytes) -> None:
    """Writes a file under another name, flushes it to the disk, and renames it into place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def jsonable(value: Any) -> Any:
    """Numbers and containers as strict JSON has them: NaN and infinities become null.

    >>> jsonable({"psnr": [1.0, float("nan")]})
    {'psnr': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
