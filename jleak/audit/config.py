"""What a user asks for: an audit as lists of names, from the command line or a YAML file."""

import itertools
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jleak.audit.case import Case
from jleak.check import InputError


def literal(value: Any) -> Any:
    """The number, truth value or text that `value` spells; `16-8` is a list of widths.

    >>> literal("1e-4"), literal("true"), literal("adam"), literal("16-8")
    (0.0001, True, 'adam', [16, 8])
    """
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False}
    if value.lower() in words:
        return words[value.lower()]
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    parts = value.split("-")
    return [int(p) for p in parts] if all(p.isdigit() for p in parts) else value


def _read(args: dict[str, Any]) -> dict[str, Any]:
    return {key: literal(value) for key, value in args.items()}


class Spec(BaseModel):
    """A name with arguments: `clip:bound=1,scope=tensor` in text, `{clip: {bound: 1}}` in YAML.

    >>> Spec.model_validate(parse_spec("gaussian:sigma=1e-2")).args
    {'sigma': 0.01}
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    name: str
    args: Annotated[dict[str, Any], AfterValidator(_read)] = {}


def parse_spec(value: Any) -> Any:
    """The fields of a `Spec` from its text or its YAML form; anything else as it is.

    >>> parse_spec("gaussian:sigma=1e-2")
    {'name': 'gaussian', 'args': {'sigma': '1e-2'}}
    >>> parse_spec({"mlp": {"hidden": [32, 16]}})
    {'name': 'mlp', 'args': {'hidden': [32, 16]}}
    """
    if isinstance(value, str):
        name, _, rest = value.partition(":") if "=" in value else (value, "", "")
        if "=" in name:
            raise InputError("write name:argument=value,argument=value")
        head, colon, tail = rest.rpartition(":")  # package.module:factory:argument=value
        name, rest = (f"{name}:{head}", tail) if colon else (name, rest)
        pairs = [item.partition("=") for item in rest.split(",") if item]
        args = {key.strip(): text for key, _, text in pairs}
        if len(args) < len(pairs):
            raise InputError("an argument is given twice")
        return {"name": name, "args": args}
    if isinstance(value, dict) and len(value) == 1 and "name" not in value:
        ((name, args),) = value.items()
        if isinstance(args, dict | None):
            return {"name": name, "args": args or {}}
        raise InputError(
            f"the arguments of {name!r} must be a mapping such as {{{name}: {{argument: value}}}}"
        )
    return value


def listed(value: Any) -> Any:
    """One value as a list of it.

    >>> listed(3), listed([3])
    ([3], [3])
    """
    return value if isinstance(value, list) else [value]


SOME = (Field(min_length=1), BeforeValidator(listed))
Config = TypeVar("Config", bound=BaseModel)
Specs = Annotated[list[Annotated[Spec, BeforeValidator(parse_spec)]], *SOME]


Numbers = Annotated[list[int], *SOME]
Names = Annotated[list[str], *SOME]

SHARED = (
    "dataset", "weights", "victims", "known_labels", "restarts", "halving", "stop", "lanes", "precision",
)  # fmt: skip
"""The settings that all cases of an audit share."""


class AuditConfig(BaseModel):
    """An audit: every combination of models, losses, batches, defenses, knowledge, attacks and seeds.

    Keys are those of `Case`, the parts of which there may be several in the plural (`loss_fn`, `batch` and
    `draw` take one or several as they are), and `memory`: the GiB that the attacks may take, which is no
    setting of a case.

    >>> config = AuditConfig(models="mlp", defenses=["none"], attacks=["inverting:steps=10"], seeds=[0])
    >>> [case.model for case in cases(config)]
    ['mlp']
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dataset: str = "private:digits"
    models: Specs = [Spec(name="lenet"), Spec(name="mlp")]
    weights: str = ""
    clients: Specs = [Spec(name="fedsgd")]
    loss_fn: Names = ["cross_entropy"]
    batch: Numbers = [1]
    draw: Names = ["random"]
    victims: int = 4
    defenses: Specs = [
        Spec(name="none"),
        Spec(name="gaussian", args={"sigma": 0.03}),
        Spec(name="clip", args={"bound": 1.0}),
        Spec(name="prune", args={"fraction": 0.9}),
    ]
    knows: Names = ["nothing", "kind"]
    known_labels: bool = False
    attacks: Specs = [
        Spec(name="inverting", args={"steps": 1000}),
        Spec(name="dlg", args={"steps": 100}),
    ]
    restarts: int = 2
    halving: bool = False
    stop: float = 0.0
    seeds: Numbers = [0, 1]
    lanes: int = 4
    precision: str = "float32"
    memory: float | None = None


DIGITS = ("digits", "private:digits", "public:digits")
GGL = Spec(name="ggl", args={"prior": "digits", "evaluations": 2000})


def attacks_of(config: AuditConfig) -> list[Spec]:
    """The attacks asked for; where none is, those of any images, and `ggl` where its bundled prior serves.

    >>> [attack.name for attack in attacks_of(AuditConfig())]
    ['inverting', 'dlg', 'ggl']
    >>> [attack.name for attack in attacks_of(AuditConfig(dataset="npz:faces.npz"))]
    ['inverting', 'dlg']
    """
    asked = "attacks" in config.model_fields_set
    return config.attacks if asked or config.dataset not in DIGITS else [*config.attacks, GGL]


def config_of(settings: dict[str, Any], path: Path | None = None) -> AuditConfig:
    """The audit that `settings` describe, over those of the YAML file at `path`.

    Raises:
      InputError: no such file, not YAML, an unknown key or a value of the wrong type, named by its path.

    >>> config_of({"atacks": "dlg"})
    Traceback (most recent call last):
    jleak.check.InputError: settings: atacks: unknown key; known: attacks, batch, clients, dataset, \
defenses, draw, halving, known_labels, knows, lanes, loss_fn, memory, models, precision, restarts, \
seeds, stop, victims, weights
    """
    return validated(AuditConfig, settings, path)


def validated(
    kind: type[Config], settings: dict[str, Any], path: Path | None = None, *, source: str = "settings"
) -> Config:
    """The configuration of that kind which `settings` describe; see `config_of`.

    `source` is what errors call the settings where there is no file.
    """
    source = source if path is None else str(path)
    try:
        return kind.model_validate({**(read_yaml(path) if path else {}), **settings})
    except ValidationError as error:
        raise InputError("\n".join(f"{source}: {_said(e, kind)}" for e in error.errors())) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
      InputError: no such file, or not a YAML mapping.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"no such configuration file: {path}; see `jleak audit --help`") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(found, dict):
        raise InputError(
            f"{path} must hold a mapping such as `attacks: [inverting]`, got {type(found).__name__}"
        )
    return found


def _said(error: Any, kind: type[BaseModel]) -> str:
    """One line of pydantic's: where, what, and what is known."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = Spec if len(error["loc"]) > 1 else kind
        return f"{where}: unknown key; known: {', '.join(sorted(known.model_fields))}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}, got {error['input']!r}"


def cases(config: AuditConfig) -> list[Case]:
    """Every case of an audit, each once, cheapest to compile first: seeds vary fastest.

    Without a defense there is nothing to know, so `none` appears with knows=nothing alone.

    Raises:
      InputError: an unknown name or a number out of bounds.
    """
    shared = config.model_dump(include=set(SHARED))
    axes = itertools.product(  # fmt: skip
        config.models,
        config.clients,
        config.loss_fn,
        config.batch,
        attacks_of(config),
        config.knows,
        config.defenses,
        config.draw,
        config.seeds,
    )
    found = {}
    for model, client, loss_fn, batch, attack, knows, defense, draw, seed in axes:
        case = Case(
            **shared,
            model=model.name,
            model_args=model.args,
            loss_fn=loss_fn,
            batch=batch,
            draw=draw,
            client=client.name,
            client_args=client.args,
            attack=attack.name,
            attack_args=attack.args,
            defense=defense.name,
            defense_args=defense.args,
            knows="nothing" if defense.name == "none" else knows,
            seed=seed,
        )
        found[case.case_id] = case
    return list(found.values())
