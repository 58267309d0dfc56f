"""Image data sets, and the batches that victims hold."""

from collections.abc import Callable
from inspect import signature

import jax

from jleak import check
from jleak.check import InputError
from jleak.data.attributes import DERIVED, attribute, relabelled
from jleak.data.digits import digits
from jleak.data.draw import HOW, batch, draw, picks, victims
from jleak.data.folder import folder
from jleak.data.halves import Pools, halves
from jleak.data.images import Images, chosen, from_arrays, pixels
from jleak.data.npz import npz
from jleak.data.tfds import tfds
from jleak.tree import stream

__all__ = [
    "DERIVED",
    "HOW",
    "SOURCES",
    "Images",
    "Pools",
    "attribute",
    "batch",
    "by",
    "chosen",
    "digits",
    "draw",
    "folder",
    "from_arrays",
    "halves",
    "load",
    "npz",
    "picks",
    "pixels",
    "private",
    "public",
    "relabelled",
    "tfds",
    "victims",
]


def private(spec: str) -> Images:
    """The victims' half of a data set, `private:SPEC`, which shares no image with `public:SPEC`.

    The halves never change: they are those of `halves` by the key of seed 0. A prior that is trained on one
    half and attacks the other has not seen what it looks for.

    Raises:
      InputError: as `load`, or there is no class of two images.

    >>> private("digits").size + public("digits").size
    1797
    """
    return _sides(spec).private


def public(spec: str) -> Images:
    """The server's half of a data set, `public:SPEC`; see `private`."""
    return _sides(spec).public


def by(spec: str) -> Images:
    """A data set with one of its attributes for labels, `by:ATTRIBUTE:SPEC` (see `relabelled`).

    Raises:
      InputError: as `load`, or no such attribute.

    >>> load("by:bright:digits").class_names
    ('bright 0', 'bright 1')
    """
    name, _, rest = spec.partition(":")
    if not rest:
        raise InputError(f"by:{spec} names no data set; write by:ATTRIBUTE:SPEC, such as by:bright:digits")
    return relabelled(load(rest), name)


def _sides(spec: str) -> Pools:
    return halves(stream(jax.random.key(0), "halves"), load(spec))


SOURCES: dict[str, Callable[..., Images]] = {
    "by": by,
    "digits": digits,
    "folder": folder,
    "npz": npz,
    "private": private,
    "public": public,
    "tfds": tfds,
}
"""Name -> loader. A loader takes nothing, or as its one positional argument what follows the colon."""


def load(spec: str) -> Images:
    """The data set that `spec` names: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME[@SPLIT]`.

    A half of one is `private:SPEC` or `public:SPEC`; `by:ATTRIBUTE:SPEC` takes an attribute for labels.

    Raises:
      InputError: the source is unknown, its argument is missing or one too many, or the loader refuses.

    >>> load("digits").shape
    (8, 8, 1)
    >>> load("digit")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: unknown data source 'digit'; did you mean 'digits'? known: by, ...
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
