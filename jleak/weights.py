"""Weights on the disk: a tree of arrays as one safetensors file, checked when it is read."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree
from safetensors import SafetensorError

from jleak.check import InputError

CHECKSUM = "sha256"
"""The file's own entry among its metadata: a digest of its arrays. The format itself sees no flipped bit."""

DIGITS = 12
"""Hex digits of a file's SHA-256 that name its content."""

KINDS = ("float32", "float16", "int32", "uint32")


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
      path: where it was read.
      arrays: by their dotted paths, such as `params.head.kernel`.
      metadata: what was said of them.
      digest: of the whole file, see `fingerprint`.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]
    digest: str


def save(path: Path | str, tree: PyTree, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a tree of arrays, each under its dotted path; aside, then renamed, so never half a file.

    Args:
      path: the file; one that is there is replaced.
      tree: float32 or float16 arrays (and counters, int32 or uint32).
      metadata: what to say of them, texts by name.

    Raises:
      InputError: an array of another type, or a file that cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.safetensors")
    >>> save(path, {"params": {"head": {"bias": jnp.ones(2)}}}, {"model": "mlp"})
    >>> stored = read(path)
    >>> list(stored.arrays), stored.metadata["model"]
    (['params.head.bias'], 'mlp')
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named(tree).items()}
    for name, array in arrays.items():
        if array.dtype.name not in KINDS:
            raise InputError(f"weights are {', '.join(KINDS)}, got {name} of {array.dtype}; cast it")
    told = {**(metadata or {}), CHECKSUM: checksum(arrays)}
    path = Path(path)
    try:
        write_aside(path, ordered(safetensors.numpy.save(arrays, told)))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file") from error


def load(path: Path | str, like: PyTree) -> PyTree:
    """The tree that a file holds, in the structure and the types of `like`.

    Args:
      path: the file; `PATH@DIGEST` asks for that content (`fingerprint`).
      like: arrays or their shapes (`jax.eval_shape`); float16 is widened where it says float32.

    Raises:
      InputError: as `read` and `fitted`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.safetensors")
    >>> save(path, {"bias": jnp.arange(2.0, dtype="float16")})
    >>> load(path, {"bias": jnp.zeros(2)})["bias"]
    Array([0., 1.], dtype=float32)
    """
    return fitted(read(path), like)


def read(spec: Path | str, *, maker: str = "jleak train-model") -> Stored:
    """What a file holds, as it is.

    Args:
      spec: the file, or `PATH@DIGEST`.
      maker: the command that makes such files, for messages.

    Raises:
      InputError: no such file, not safetensors, a damaged one, or one of another content than `DIGEST`.
    """
    path, content, digest = wanted_content(spec, maker)
    try:
        arrays = safetensors.numpy.load(content)
        metadata = parted(content)[0].get("__metadata__", {})
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # KeyError: a type NumPy has not
        raise InputError(
            f"{path} is no safetensors file that can be read, or it is damaged ({error}); copy it again, or "
            f"make it with `{maker}`"
        ) from error
    if CHECKSUM in metadata and metadata[CHECKSUM] != checksum(arrays):
        raise InputError(
            f"{path} is damaged: its arrays do not match its checksum; copy it again, or train it again"
        )
    return Stored(path, arrays, metadata, digest)


def wanted_content(spec: Path | str, maker: str = "jleak train-model") -> tuple[Path, bytes, str]:
    """(path, content, digest) of a file, or of `PATH@DIGEST` if it still has that digest.

    Raises:
      InputError: no such file, or one of another content than `DIGEST`.
    """
    path, wanted = located(spec)
    content = content_of(path, maker)
    digest = short(content)
    if wanted not in ("", digest):
        raise InputError(
            f"{path} has changed: its content is {digest}, wanted is {wanted}; bring the old file back, or "
            f"name {path} alone to use the new one"
        )
    return path, content, digest


SAME_MODEL = "use the model, its arguments and a data set of the shape and classes that it was trained with"


def fitted(stored: Stored, like: PyTree, *, remedy: str = SAME_MODEL) -> PyTree:
    """The stored arrays in the structure and the types of `like`.

    Args:
      stored: what a file holds.
      like: arrays or their shapes.
      remedy: what to do where they do not fit, for the message.

    Raises:
      InputError: arrays that are missing, too many, or of another shape or kind; all are named.
    """
    wanted, found = named(like), stored.arrays
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not wanted" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        one, other = found[name], wanted[name]
        if one.shape != other.shape:
            wrong.append(f"{name} is {one.shape}, wanted is {other.shape}")
        elif np.issubdtype(one.dtype, np.floating) != np.issubdtype(other.dtype, np.floating):
            wrong.append(f"{name} is {one.dtype}, wanted is {other.dtype}")
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise InputError(f"{stored.path} does not fit: {', '.join(sorted(wrong)[:4])}{more}; {remedy}")
    leaves = [jnp.asarray(found[name], leaf.dtype) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def fingerprint(spec: Path | str) -> str:
    """`PATH@DIGEST`: the file with twelve hex digits of its SHA-256, by which another content is seen.

    Raises:
      InputError: no such file, or one whose content is not the `DIGEST` that was asked for.

    >>> fingerprint("none.safetensors")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: no weights at none.safetensors: No such file or directory; ...
    """
    stored = read(spec)
    return f"{stored.path}@{stored.digest}"


def located(spec: Path | str) -> tuple[Path, str]:
    """(path, digest) of `PATH` or `PATH@DIGEST`; no digest is empty.

    >>> located("runs/a@b.safetensors@0123456789ab")
    (PosixPath('runs/a@b.safetensors'), '0123456789ab')
    """
    path, digest = re.fullmatch(rf"(.*?)(?:@([0-9a-f]{{{DIGITS}}}))?", str(spec), re.DOTALL).groups()
    return Path(path), digest or ""


def named(tree: PyTree) -> dict[str, PyTree]:
    """The leaves of a tree by their dotted paths.

    >>> list(named({"head": {"kernel": 1, "bias": 2}}))
    ['head.bias', 'head.kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def parted(content: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, data) of a safetensors file: a length of 8 bytes, the header as JSON, the data."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def ordered(content: bytes) -> bytes:
    """The same file with its header in order: the library writes it in another one each time."""
    header, data = parted(content)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data


def short(content: bytes) -> str:
    """The digest of a file's content."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def content_of(path: Path, maker: str) -> bytes:
    """The file's content; `maker` is the command that makes such files."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"no weights at {path}: {error.strerror}; make them with `{maker} --out {path}`"
        ) from error


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
