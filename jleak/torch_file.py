"""PyTorch's files without PyTorch: the arrays of a state dict, and nothing that could run.

Such a file is a pickle of the tree, in which every tensor names a storage, and the storages' bytes: each an
entry of a zip archive (since PyTorch 1.6), or one after the other behind the pickle (before). A pickle may
call what it likes; this reader knows the four names below and refuses all others.
"""

import collections
import io
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jleak.check import InputError

TYPES = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
}
"""Types of storages that are read, by their names in `torch`."""

LEGACY = 0x1950A86A20F9469CFC6C, 1001
"""Magic number and version that files from before PyTorch 1.6 begin with, each a pickle of its own."""

REMEDY = "open it in PyTorch and save its arrays alone: torch.save(model.state_dict(), path)"

UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
)
"""What a damaged file may raise."""


class Storage(NamedTuple):
    """A run of numbers that tensors are views of.

    Attributes:
      type: its name in `torch`.
      key: its name in the file.
      size: how many numbers.
    """

    type: str
    key: str
    size: int


class Tensor(NamedTuple):
    """A strided view of a storage; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path | str) -> dict[str, Any]:
    """What `torch.save` wrote: the same tree of dicts, lists and numbers, with NumPy arrays for its tensors.

    Read are float32, float16, bfloat16 and int64 tensors and parameters, whatever their strides and whichever
    storages they share, of both of PyTorch's formats; no code in the file runs. Source: the format as
    PyTorch 2.13 writes it (`torch.serialization`).

    Args:
      path: a file whose outermost value is a dict, as a state dict is.

    Returns:
      The tree; a `state_dict` inside of it lies under its own name, as in the file.

    Raises:
      InputError: no such file, not PyTorch's or a damaged one, an object that is not an array (named), a
        tensor of another type.

    >>> read("none.pth")
    Traceback (most recent call last):
    jleak.check.InputError: none.pth cannot be read: No such file or directory; name the file of the weights
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name the file of the weights") from error
    try:
        tree, bytes_of = (zipped if content.startswith(b"PK") else legacy)(content)
        if not isinstance(tree, dict):
            raise InputError(f"holds a {type(tree).__name__}, wanted is a dict of arrays; {REMEDY}")
        return filled(tree, bytes_of)
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except UNREADABLE as error:
        raise InputError(f"{path} is no PyTorch file, or it is damaged ({error}); copy it again") from error


def zipped(content: bytes) -> tuple[Any, Callable[[Storage], bytes]]:
    """The tree and the storages of an archive: `*/data.pkl`, and `*/data/KEY` for every storage."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise InputError(f"is a zip archive, but not of PyTorch (it holds no data.pkl); {REMEDY}")
    root = roots[0]
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise InputError(f"holds big-endian numbers; {REMEDY} on a little-endian machine")
    tree = Reader(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
    return tree, lambda storage: archive.read(f"{root}data/{storage.key}")


def legacy(content: bytes) -> tuple[Any, Callable[[Storage], bytes]]:
    """The same of the older format: the tree, the storages' keys, and of each its size and its numbers."""
    file = io.BytesIO(content)
    if (Reader(file).load(), Reader(file).load()) != LEGACY:
        raise InputError(f"is no file of torch.save; {REMEDY}")
    if not Reader(file).load()["little_endian"]:
        raise InputError(f"holds big-endian numbers; {REMEDY} on a little-endian machine")
    reader = Reader(file)
    tree, keys = reader.load(), Reader(file).load()
    known = {}
    for key in keys:
        size = int.from_bytes(file.read(8), "little") * TYPES[reader.storages[key].type].itemsize
        known[key] = file.read(size)
    return tree, lambda storage: known[storage.key]


class Reader(pickle.Unpickler):
    """Unpickles dicts, numbers and strings; tensors become `Tensor`s. All else is refused by its name.

    What `find_class` gives away is made anew each time, so that no pickle can change it for others.
    """

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The few that are known."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: Tensor(storage, offset, shape, strides)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in TYPES:
            return name
        if module == "torch" and re.fullmatch(r"\w+Storage", name):
            known = ", ".join(TYPES)
            raise InputError(f"holds a torch.{name}; read are {known}; convert it in PyTorch: tensor.float()")
        raise InputError(f"holds {module}.{name}, which is not an array and is not run; {REMEDY}")

    def persistent_load(self, pid: Any) -> Storage:
        """A storage, by what the pickle says of it."""
        kind, name, key, _, size, *view = pid
        if kind != "storage" or name not in TYPES or any(view):
            raise InputError(f"holds a {kind!r} that is not a plain storage; {REMEDY}")
        return self.storages.setdefault(key, Storage(name, key, size))


def filled(tree: Any, bytes_of: Callable[[Storage], bytes]) -> Any:
    """The tree with arrays in place of its tensors."""
    if isinstance(tree, Tensor):
        return array(tree, bytes_of(tree.storage))
    if isinstance(tree, dict):
        return {name: filled(value, bytes_of) for name, value in dict.items(tree)}
    if isinstance(tree, list | tuple):
        return [filled(value, bytes_of) for value in tree]
    return tree


def array(tensor: Tensor, content: bytes) -> np.ndarray:
    """The tensor's numbers, in C order.

    >>> numbers = np.arange(6, dtype=np.float32).tobytes()
    >>> array(Tensor(Storage("FloatStorage", "0", 6), 1, (2, 2), (1, 3)), numbers).tolist()
    [[1.0, 4.0], [2.0, 5.0]]
    """
    storage, dtype = tensor.storage, TYPES[tensor.storage.type]
    if len(content) != storage.size * dtype.itemsize:
        raise ValueError(
            f"storage {storage.key} has {len(content)} bytes, not {storage.size * dtype.itemsize}"
        )
    if np.prod(tensor.shape, dtype=object) > storage.size:
        raise InputError(f"holds a tensor that repeats its numbers, of shape {tensor.shape}; {REMEDY}")
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    return np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides).copy()
