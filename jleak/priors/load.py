"""Priors on the disk: a generator's weights, and a card that says what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jleak import weights
from jleak.check import InputError, arguments, one_of
from jleak.priors.generators import GENERATORS
from jleak.types import Generator, Params

FOLDER = Path(__file__).parent / "bundled"
"""Where the priors that come with jleak lie, one `NAME.safetensors` each."""

MAKER = "jleak train-prior"
REQUIRED = ("generator", "generator_args", "shape", "classes")
"""What a card says of the generator itself, all as text; whatever else it says is for people."""


class Prior(NamedTuple):
    """A trained generator.

    Attributes:
      generator: the pure functions.
      params: its variables; an attacker's `View.prior`.
      card: what is known of it, texts by name, `REQUIRED` among them; see `card`.
    """

    generator: Generator
    params: Params
    card: dict[str, str]


def card(
    name: str,
    shape: tuple[int, int, int],
    classes: int = 0,
    args: Mapping[str, Any] | None = None,
    **facts: Any,
) -> dict[str, str]:
    """The card of a generator: its name in `GENERATORS`, its arguments as JSON, and any facts beside them.

    >>> card("mlp_gan", (8, 8, 1), 10, {"latent": 16}, data="digits", licence="CC BY 4.0")["generator_args"]
    '{"latent": 16}'
    """
    told = {
        "generator": name,
        "generator_args": json.dumps(dict(args or {}), sort_keys=True),
        "shape": json.dumps(list(shape)),
        "classes": str(classes),
    }
    return told | {key: str(value) for key, value in facts.items()}


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
    >>> made = GENERATORS["mlp_gan"]((2, 2, 1), latent=3, hidden=4)
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


def load(spec: Path | str) -> Prior:
    """The prior of that name or in that file.

    Args:
      spec: the name of a bundled prior, or `PATH.safetensors` as `save` writes it; either with `@DIGEST` to
        ask for that content (`fingerprint`).

    Raises:
      InputError: no such name or file, a damaged one, another content than `DIGEST`, a card that lacks
        something or an unknown generator, arrays that are missing, too many or of another shape.

    >>> load("none.safetensors")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: no weights at none.safetensors: No such file or directory; ...
    """
    stored = weights.read(found(spec), maker=MAKER)
    generator, params = restored(stored)
    told = {key: text for key, text in stored.metadata.items() if key != weights.CHECKSUM}
    return Prior(generator, params, told)


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
    if path.suffix != ".safetensors":
        hint = "or give a file, PATH.safetensors"
        path = FOLDER / f"{one_of('prior', str(path), bundled(), hint=hint)}.safetensors"
    return f"{path}@{digest}" if digest else str(path)


def bundled() -> list[str]:
    """The names of the priors that come with jleak.

    >>> all(load(name).params for name in bundled())
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def restored(stored: weights.Stored) -> tuple[Generator, PyTree]:
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


def described(told: Mapping[str, str], path: Path) -> Generator:
    """The generator that a card describes.

    Raises:
      InputError: the card lacks something, or says what cannot be read or built.
    """
    missing = [name for name in REQUIRED if name not in told]
    if missing:
        raise InputError(
            f"{path} is no prior: its metadata lack {', '.join(missing)}; make it with `{MAKER}`, or with "
            "jleak.priors.save"
        )
    try:
        args, shape, classes = (json.loads(told[name]) for name in REQUIRED[1:])
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: its card cannot be read ({error}); make it again with `{MAKER}`"
        ) from error
    if not isinstance(args, dict) or not isinstance(shape, list):
        raise InputError(
            f"{path}: generator_args must be a JSON object and shape a JSON list, got {args} and {shape}; "
            f"make it again with `{MAKER}`"
        )
    try:
        factory = GENERATORS[one_of("generator", told["generator"], GENERATORS)]
        return factory(tuple(shape), classes, **arguments(f"generator {told['generator']!r}", factory, args))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
