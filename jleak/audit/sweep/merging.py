"""Puts the stores of several sweeps, or many small parts, together."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from jleak.audit.sweep import place as files
from jleak.audit.sweep import store
from jleak.audit.sweep.place import Place
from jleak.check import InputError

ROWS = 100_000
"""Records in one part of a compact store."""


def merge(sources: Sequence[Place], into: Place, *, compact: bool = False) -> int:
    """Copies the records and images of the sources into one store; returns how many cases it holds.

    Args:
      sources: stores of sweeps, whole or not; they stay as they are.
      into: a new store, or one of them.
      compact: whether the records are written anew into few large parts, each case once.

    Raises:
      InputError: one of the sources is no sweep, or damaged, or `into` holds another sweep; nothing is
        written then. Nothing to merge.
    """
    if not sources:
        raise InputError("nothing to merge; name the directories of one sweep or more")
    found = [(source, store.settings(source), store.table(source)) for source in sources]
    if store.begun(into) and into.root not in [source.root for source in sources]:
        raise InputError(f"{into.url} holds a sweep that is not to be merged; name it, too, or a new place")
    described = [made["settings"] for _, made, _ in found]
    whole = store.once(pa.concat_tables([table for _, _, table in found], promote_options="permissive"))
    same = all(one == described[0] for one in described)
    total = max(made["cases"] for _, made, _ in found) if same else len(whole)
    command = found[0][1]["command"] if same else " and ".join(made["command"] for _, made, _ in found)
    store.begin(into, described[0] if same else None, command=command, total=total)
    for source, _, _ in found:
        for folder in ("images", *([] if compact else ["records"])):
            copied(source, into, folder)
    if compact:
        before = store.parts(into)
        names = [packed(into, whole.slice(first, ROWS)) for first in range(0, len(whole), ROWS)]
        for name in set(before) - set(names):
            files.remove(into, f"records/{name}.parquet")
    return len(whole)


def copied(source: Place, into: Place, folder: str) -> None:
    """Copies the files of a folder that are not there yet."""
    have = set(files.names(into, folder))
    for name in files.names(source, folder):
        if name not in have:
            files.write(into, f"{folder}/{name}", files.read(source, f"{folder}/{name}") or b"")


def packed(into: Place, table: pa.Table) -> str:
    """Writes records as one part, named by its cases; returns the name."""
    ids = "".join(table.column("case_id").to_pylist())
    name = f"all-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
    store.put(into, name, table)
    return name
