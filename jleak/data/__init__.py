"""Image data sets, and the batches that victims hold."""

from collections.abc import Callable
from inspect import signature

from jleak import check
from jleak.check import InputError
from jleak.data.digits import digits
from jleak.data.draw import HOW, draw, picks, victims
from jleak.data.folder import folder
from jleak.data.images import Images, from_arrays, pixels
from jleak.data.npz import npz
from jleak.data.tfds import tfds

__all__ = [
    "HOW",
    "SOURCES",
    "Images",
    "digits",
    "draw",
    "folder",
    "from_arrays",
    "load",
    "npz",
    "picks",
    "pixels",
    "tfds",
    "victims",
]

SOURCES: dict[str, Callable[..., Images]] = {
    "digits": digits,
    "folder": folder,
    "npz": npz,
    "tfds": tfds,
}
"""Name -> loader. A loader takes nothing, or as its one positional argument what follows the colon."""


def load(spec: str) -> Images:
    """The data set that `spec` names: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME[@SPLIT]`.

    Raises:
      InputError: the source is unknown, its argument is missing or one too many, or the loader refuses.

    >>> load("digits").shape
    (8, 8, 1)
    >>> load("digit")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: unknown data source 'digit'; did you mean 'digits'? known: digits, ...
    """
    name, _, argument = str(spec).partition(":")
    check.one_of("data source", name, SOURCES, hint=f"write {', '.join(map(_usage, SOURCES))}")
    takes = _usage(name) != name
    if takes and not argument:
        raise InputError(f"data source {name!r} needs an argument, got {spec!r}; write {_usage(name)}")
    if not takes and argument:
        raise InputError(f"data source {name!r} takes no argument, got {spec!r}; write {name}")
    return SOURCES[name](argument) if takes else SOURCES[name]()


def _usage(name: str) -> str:
    """How to write a source: `npz:PATH`."""
    first = [p for p in signature(SOURCES[name]).parameters.values() if p.kind is not p.KEYWORD_ONLY][:1]
    return ":".join([name, *(p.name.upper() for p in first)])
