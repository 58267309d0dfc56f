"""Priors on the disk: a generator's weights, and a card that says what they are."""

import functools
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from jleak import torch_file, weights
from jleak.check import InputError, one_of
from jleak.priors.prior import MAKER, Prior, card, described
from jleak.priors.published import published
from jleak.types import Generator, Params

FOLDER = Path(__file__).parent / "bundled"
"""Where the priors that come with jleak lie, one `NAME.safetensors` each."""

TORCH = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", ".npz", *TORCH)
"""What files are called that hold a prior."""

BROKEN = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, TypeError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy and zipfile raise on damaged bytes."""

__all__ = ["Prior", "bundled", "card", "fingerprint", "load", "save"]


def save(path: Path | str, prior: Prior, *, half: bool = False) -> None:
    """Writes a prior as one safetensors file, which `load` reads; a file that is there is replaced.

    Args:
      path: `NAME.safetensors`.
      prior: its card must describe its generator.
      half: whether to write float16, half the size and three decimal digits.

    Raises:
      InputError: variables that are not those of the card's generator; a card that lacks something; a file
        that cannot be written.

    >>> import tempfile
    >>> from jleak.priors import mlp_gan
    >>> made = mlp_gan((2, 2, 1), latent=3, hidden=4)
    >>> told = card("mlp_gan", made.shape, args={"latent": 3, "hidden": 4}, data="none")
    >>> path = Path(tempfile.mkdtemp(), "a.safetensors")
    >>> save(path, Prior(made, made.init(jax.random.key(0)), told), half=True)
    >>> load(path).card["data"], load(path).generator.latent
    ('none', 3)
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"a prior is written as NAME.safetensors, got {path}; change the name")
    stored = weights.Stored(path, weights.named(prior.params), prior.card, "")
    params = restored(stored)[1]
    if half:
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), params)
    weights.save(path, params, prior.card)


KEPT = 4
"""Priors that `load` keeps in memory while their files do not change: an audit asks for one in every case."""


def load(spec: Path | str) -> Prior:
    """The prior of that name or in that file.

    Args:
      spec: the name of a bundled prior; `PATH.safetensors` as `save` writes it; or a file of published
        weights (`jleak.priors.published`), safetensors, `.npz`, or PyTorch's `.pt`, `.pth`, `.bin`. Each with
        `@DIGEST` to ask for that content (`fingerprint`).

    Raises:
      InputError: no such name or file, a damaged one, another content than `DIGEST`, a card that lacks
        something or an unknown generator, arrays that are missing, too many or of another shape.

    >>> load("none.safetensors")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: no weights at none.safetensors: No such file or directory; ...
    """
    spec = found(spec)
    path, _ = weights.located(spec)
    state = path.stat() if path.is_file() else None
    return read(spec, path, state and (state.st_mtime_ns, state.st_size, state.st_ino))


@functools.lru_cache(maxsize=KEPT)
def read(spec: str, path: Path, stamp: tuple[int, ...] | None) -> Prior:
    """What `load` does, once for each `stamp`, which changes with the file."""
    del stamp
    if path.suffix == ".safetensors":
        stored = weights.read(spec, maker=MAKER)
        if "generator" in stored.metadata or weights.CHECKSUM in stored.metadata:
            told = {key: text for key, text in stored.metadata.items() if key != weights.CHECKSUM}
            return Prior(*restored(stored), told)
        return published(stored.arrays, path)
    weights.wanted_content(spec, MAKER)
    return published(flat(torch_file.read(path)) if path.suffix in TORCH else archived(path), path)


def fingerprint(spec: Path | str) -> str:
    """`NAME@DIGEST` or `PATH@DIGEST`: with twelve hex digits of the file's SHA-256, so that another is seen.

    Raises:
      InputError: no such name or file, or one whose content is not the `DIGEST` that was asked for.
    """
    named, _ = weights.located(spec)
    return f"{named}@{weights.wanted_content(found(spec), MAKER)[2]}"


def found(spec: Path | str) -> str:
    """`PATH` or `PATH@DIGEST` of a prior: of a bundled one where its name is given.

    Raises:
      InputError: neither a bundled name nor the path of a file that can be read.
    """
    path, digest = weights.located(spec)
    if path.suffix not in SUFFIXES:
        known = bundled()
        hint = f"or give a file, PATH{', PATH'.join(SUFFIXES)}"
        if not known:
            raise InputError(f"unknown prior {str(path)!r}; none come with this copy; {hint[3:]}")
        path = FOLDER / f"{one_of('prior', str(path), known, hint=hint)}.safetensors"
    return f"{path}@{digest}" if digest else str(path)


def bundled() -> list[str]:
    """The names of the priors that come with jleak.

    >>> all(load(name).params for name in bundled())
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def loaders() -> dict[str, Callable[[], Prior]]:
    """Of every bundled prior a function that loads it, described by its card.

    >>> sorted(loaders()) == bundled()
    True
    """
    return {name: loader(name) for name in bundled()}


def loader(name: str) -> Callable[[], Prior]:
    """A function that loads that bundled prior; only the file's header is read for its docstring."""

    def prior() -> Prior:
        return load(name)

    try:
        with safe_open(FOLDER / f"{name}.safetensors", "numpy") as file:
            told = file.metadata() or {}
    except (OSError, SafetensorError):  # `load` says what is wrong with it
        told = {}
    prior.__name__ = name
    prior.__doc__ = summary(told)
    return prior


def summary(told: Mapping[str, str]) -> str:
    """One line of a card.

    >>> summary(card("dcgan", (8, 8, 1), 10, dataset="digits", licence="CC BY 4.0"))
    'dcgan, images of 8x8x1 of 10 classes, trained on digits (CC BY 4.0)'
    """
    if "generator" not in told or "shape" not in told:
        return "a file without a card"
    sides = told["shape"].strip("[]").replace(", ", "x")
    of = f" of {told['classes']} classes" if told.get("classes", "0") != "0" else ""
    data, licence = told.get("dataset", "data not named"), told.get("licence", "licence not named")
    return f"{told['generator']}, images of {sides}{of}, trained on {data} ({licence})"


def restored(stored: weights.Stored) -> tuple[Generator, Params]:
    """(generator, variables) of a file that a card describes; float16 is widened.

    Raises:
      InputError: the card lacks something, or the arrays are not those of its generator.
    """
    made = described(stored.metadata, stored.path)
    like = jax.eval_shape(made.init, jax.random.key(0))
    remedy = (
        f"its card says {stored.metadata['generator']}:{stored.metadata['generator_args']}; take both of "
    )
    return made, weights.fitted(stored, like, remedy=remedy + "one training, or train it again")


def archived(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`; nothing in it is unpickled.

    Raises:
      InputError: not an archive of arrays, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except BROKEN as error:
        raise InputError(f"{path} cannot be read as .npz ({error}); copy it again") from error


def flat(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of nested dicts by their dotted paths; numbers and texts are left out.

    >>> flat({"g_ema": {"a.weight": np.ones(1)}, "step": 7})
    {'g_ema.a.weight': array([1.])}
    """
    found = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{rest}": leaf for rest, leaf in flat(value).items()}
        elif isinstance(value, np.ndarray):
            found[str(name)] = value
    return found
