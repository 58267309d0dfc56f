"""A trained generator and its card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jleak.check import InputError, arguments, one_of
from jleak.priors.generators import GENERATORS
from jleak.types import Generator, Params

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


def described(told: Mapping[str, str], path: Path) -> Generator:
    """The generator that a card describes; `path`, where it stands, is for messages.

    Raises:
      InputError: the card lacks something, or says what cannot be read or built.

    >>> described(card("mlp_gan", (8, 8, 1), 10, {"latent": 16}), Path("a.safetensors")).latent
    16
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
