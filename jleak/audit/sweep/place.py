"""Where a store lies: a folder or an object store, through fsspec. Files appear whole or not at all."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from jleak.check import InputError
from jleak.weights import write_aside

ABANDONED = 3600.0
"""Seconds after which nobody is still writing a file."""


class Place(NamedTuple):
    """A folder of any file system.

    Attributes:
      fs: the file system (fsspec).
      root: the folder's path in it.
      local: whether it is a disk of this machine.
      url: as the user has written it.
    """

    fs: Any
    root: str
    local: bool
    url: str


def place(url: str | Path) -> Place:
    """The place of that path or URL, such as `runs/a`, `s3://bucket/a`, `gs://bucket/a`, `memory://a`.

    Raises:
      InputError: a protocol that fsspec does not know, or whose package is not installed.

    >>> place("memory://sweeps/a").local, place("runs/a").local
    (False, True)
    """
    try:
        fs, root = fsspec.core.url_to_fs(str(url))
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{url} cannot be opened: {error}; name a folder, or install its fsspec package"
        ) from error
    return Place(fs, root.rstrip("/"), "file" in fs.protocol or "local" in fs.protocol, str(url))


def path(where: Place, name: str) -> str:
    """The full path of a file."""
    return f"{where.root}/{name}"


def write(where: Place, name: str, content: bytes) -> None:
    """Writes a file, so that a reader sees it whole, or the one before it, or none.

    On a disk it is written aside, flushed and renamed. An object store shows an object when it is complete.

    Raises:
      InputError: a full disk, or a place that cannot be written; what was there stays as it was.
    """
    try:
        if where.local:
            Path(path(where, name)).parent.mkdir(parents=True, exist_ok=True)
            write_aside(Path(path(where, name)), content)
        else:
            where.fs.pipe_file(path(where, name), content)
    except OSError as error:
        raise unwritten(where, name, error) from error


def note(where: Place, name: str, content: bytes) -> None:
    """Writes a small file that nothing depends on: quickly, and maybe half of it.

    Raises:
      InputError: as `write`.
    """
    try:
        if where.local:
            Path(path(where, name)).parent.mkdir(parents=True, exist_ok=True)
        where.fs.pipe_file(path(where, name), content)
    except OSError as error:
        raise unwritten(where, name, error) from error


def unwritten(where: Place, name: str, error: OSError) -> InputError:
    """What to say of a file that cannot be written."""
    return InputError(
        f"{where.url}/{name} cannot be written: {error.strerror or error}; what is finished is kept. "
        f"Make room and repeat the command; a sweep goes on with: jleak sweep resume {where.url}"
    )


def read(where: Place, name: str) -> bytes | None:
    """A file's content; None where there is no such file.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return where.fs.cat_file(path(where, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"{where.url}/{name} cannot be read: {error.strerror or error}; see to its rights, or name "
            "another place"
        ) from error


def names(where: Place, folder: str) -> list[str]:
    """The names of the files in a folder, those left out that are being written (`.name`)."""
    where.fs.invalidate_cache()
    try:
        found = where.fs.ls(path(where, folder), detail=False)
    except FileNotFoundError:
        return []
    bare = [one.rstrip("/").rpartition("/")[2] for one in found]
    return sorted(name for name in bare if name and not name.startswith("."))


def exists(where: Place, name: str) -> bool:
    """Whether there is such a file."""
    where.fs.invalidate_cache()
    return bool(where.fs.exists(path(where, name)))


def remove(where: Place, name: str) -> None:
    """Removes a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        where.fs.rm_file(path(where, name))


def move(where: Place, name: str, to: str) -> None:
    """Gives a file another name."""
    if where.local:
        Path(path(where, to)).parent.mkdir(parents=True, exist_ok=True)
        os.replace(path(where, name), path(where, to))
    else:
        where.fs.mv(path(where, name), path(where, to))


def tidy(where: Place, folders: Sequence[str], seconds: float = ABANDONED) -> None:
    """Removes what killed processes have left half written (`.name`), once it is so old.

    An object store holds nothing half written.
    """
    for folder in folders if where.local else ():
        for file in Path(path(where, folder)).glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > seconds:
                    file.unlink()
