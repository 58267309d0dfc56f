"""A sweep's store: what has been found, whole at any moment, written by any number of workers.

    SWEEP/
      sweep.json            the settings, and the command that began it
      records/PART.parquet  one row a case: settings, numbers, where they come from (`schema`)
      images/PART.npz       truth, labels and reconstructions of the same rows, if they are kept
      claims/, checkpoints/ of batches that somebody works on
      damaged/              parts that could not be read, put aside

A part holds one batch and is named by its cases, so two workers that run the same batch write the same file.
Images are there before their records. Readers take a case that occurs in several parts once.
"""

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jleak.audit.store import Record, as_json
from jleak.audit.sweep import place as files
from jleak.audit.sweep import schema
from jleak.audit.sweep.place import Place
from jleak.check import InputError

SETTINGS = "sweep.json"
KEPT = ("truth", "labels", "reconstruction")
"""Of a case's images, what a sweep keeps."""


def begun(where: Place) -> bool:
    """Whether the place holds a sweep."""
    return files.exists(where, SETTINGS)


def begin(where: Place, settings: Mapping[str, Any] | None, *, command: str, total: int) -> None:
    """Makes the store, or writes the settings of one that goes on.

    Args:
      where: the store.
      settings: the sweep's; None where it is made of several and cannot go on.
      command: what began it.
      total: cases in all.

    Raises:
      InputError: it cannot be written.
    """
    files.tidy(where, ("", "records", "images", "claims", "checkpoints"))
    made = {"kind": "sweep", "command": command, "cases": total, "settings": settings}
    files.write(where, SETTINGS, (as_json(made, indent=2) + "\n").encode())


def settings(where: Place) -> dict[str, Any]:
    """What `begin` has written.

    Raises:
      InputError: there is no sweep, or the file is damaged.
    """
    content = files.read(where, SETTINGS)
    if content is None:
        raise InputError(
            f"{where.url} holds no sweep (it has no {SETTINGS}); begin one with: jleak sweep run"
        )
    try:
        return dict(json.loads(content))
    except ValueError as error:
        raise InputError(
            f"{where.url}/{SETTINGS} is damaged ({error}); remove it and run the sweep's file again with "
            f"--out {where.url}: finished cases are kept"
        ) from error


def add(
    where: Place, name: str, found: Sequence[tuple[Record, Mapping[str, np.ndarray]]], images: bool
) -> None:
    """Adds a finished batch: its images, then its records.

    Raises:
      InputError: a full disk or a place that cannot be written; what was there stays as it was.
    """
    if images:
        stacked = {key: np.stack([arrays[key] for _, arrays in found]) for key in KEPT}
        stacked["case_id"] = np.array([record["case_id"] for record, _ in found])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **stacked)
        files.write(where, f"images/{name}.npz", buffer.getvalue())
    here = schema.here()
    put(where, name, schema.table([record | here for record, _ in found]))


def put(where: Place, name: str, table: pa.Table) -> None:
    """Writes the records of a part, with checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True)
    files.write(where, f"records/{name}.parquet", sink.getvalue().to_pybytes())


def parts(where: Place) -> list[str]:
    """The names of the parts."""
    return [
        name.removesuffix(".parquet") for name in files.names(where, "records") if name.endswith(".parquet")
    ]


def part(where: Place, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The records of a part.

    Raises:
      InputError: it is damaged.
    """
    content = files.read(where, f"records/{name}.parquet") or b""
    try:
        return pq.read_table(
            pa.BufferReader(content), columns=columns and list(columns), page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{where.url}/records/{name}.parquet is damaged ({str(error).splitlines()[0]}); "
            f"jleak sweep resume {where.url} puts it aside and runs its cases again"
        ) from error


def finished(
    where: Place, damaged: Callable[[str], None] = lambda told: None, *, aside: bool = True
) -> set[str]:
    """The cases that are finished.

    Args:
      where: the store.
      damaged: told of each part that cannot be read.
      aside: whether such parts are put aside, so that their cases run again.
    """
    found: set[str] = set()
    for name in parts(where):
        try:
            found.update(part(where, name).column("case_id").to_pylist())
        except InputError as error:
            if aside:
                files.move(where, f"records/{name}.parquet", f"damaged/{name}.parquet")
            damaged(f"{error}{'. It is in damaged/ now' if aside else ''}")
    return found


def working(where: Place) -> list[str]:
    """Who claims a batch, each in a line."""
    found = []
    for name in files.names(where, "claims"):
        with contextlib.suppress(ValueError):  # half written
            claim = json.loads(files.read(where, f"claims/{name}") or b"{}")
            found.append(
                f"{name.removesuffix('.json')}: process {claim.get('process')} on {claim.get('host')}"
            )
    return found


def table(where: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """All records, each case once, in the order of the parts' names.

    Raises:
      InputError: there is no sweep, or a part is damaged.
    """
    settings(where)
    asked = None if columns is None else list(dict.fromkeys([*columns, "case_id"]))
    found = [part(where, name, asked) for name in parts(where)]
    if not found:
        return schema.schema().empty_table()
    return once(pa.concat_tables(found, promote_options="permissive"))


def once(table: pa.Table) -> pa.Table:
    """The records, each case once.

    >>> once(pa.table({"case_id": ["a", "b", "a"], "seed": [0, 1, 0]})).column("seed").to_pylist()
    [0, 1]
    """
    ids = table.column("case_id").to_pylist()
    first = dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))
    return table if len(first) == len(ids) else table.take(sorted(first.values()))


def records(where: Place) -> Iterator[Record]:
    """The records as an audit has them."""
    return map(schema.record, table(where).to_pylist())


def images(where: Place, case_id: str) -> dict[str, np.ndarray]:
    """Truth, labels and reconstruction of a case.

    Raises:
      InputError: no file has them.
    """
    found = images_of(where, {case_id})
    if case_id not in found:
        raise InputError(
            f"{where.url} holds no images of case {case_id}; it was run with images: false, or not yet, or "
            "the file is damaged"
        )
    return found[case_id]


def images_of(where: Place, cases: Collection[str]) -> dict[str, dict[str, np.ndarray]]:
    """The images of those of the cases of which there are any, in one pass over the files."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in files.names(where, "images"):
        if len(found) == len(cases):
            break
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            with np.load(io.BytesIO(files.read(where, f"images/{name}") or b"")) as arrays:
                ids = arrays["case_id"].tolist()
                here = [case for case in cases if case in ids]
                kept = {kind: arrays[kind] for kind in KEPT} if here else {}
            found |= {case: {kind: a[ids.index(case)] for kind, a in kept.items()} for case in here}
    return found
