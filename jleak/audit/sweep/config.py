"""What a sweep's file says: settings of an audit, any of which may have several values, and conditions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from jleak.audit.config import Spec, parse_spec, read_yaml, validated
from jleak.audit.sweep.values import FORMS, several, spread
from jleak.check import InputError, number, one_of, whole


def listed(value: Any) -> list[Any]:
    """One value, a list of values, or values as `jleak.audit.sweep.values.several` takes them, as a list."""
    found = several(value)
    return found if found is not None else value if isinstance(value, list) else [value]


def plain(value: Any) -> list[Any]:
    """`listed`, of values that are no mappings.

    >>> plain({"rnge": 3})
    Traceback (most recent call last):
    jleak.check.InputError: unknown way to give several values 'rnge'; did you mean 'range'? known: each, \
linear, log, range
    """
    if isinstance(value, Mapping):
        for how in value:
            one_of("way to give several values", how, FORMS)
    return listed(value)


def specified(value: Any) -> list[dict[str, Any]]:
    """Names with arguments as a list of specs; arguments that have several values give several of them.

    >>> specified(["none", {"gaussian": {"sigma": {"each": [0.1, 1.0]}}}])[1:]
    [{'name': 'gaussian', 'args': {'sigma': 0.1}}, {'name': 'gaussian', 'args': {'sigma': 1.0}}]
    """
    parsed = [parse_spec(one) for one in listed(value)]
    return [
        {**spec, "args": args} if isinstance(spec, dict) else spec
        for spec in parsed
        for args in (spread(spec.get("args") or {}) if isinstance(spec, dict) else [{}])
    ]


Many = BeforeValidator(plain)
Specs = Annotated[list[Spec], BeforeValidator(specified)]
Names = Annotated[list[str], Many]
Numbers = Annotated[list[int], Many]
Reals = Annotated[list[float], Many]
Switches = Annotated[list[bool], Many]
Rules = Annotated[list[dict[str, Any]], BeforeValidator(lambda v: v if isinstance(v, list) else [v])]


class SweepConfig(BaseModel):
    """A sweep: every combination of its settings but those that conditions leave out.

    The keys are those of an audit's file, so that such a file is a sweep; here every one may have several
    values. Besides:

    Attributes:
      zip: settings that vary together: mappings of keys to lists of one length.
      skip: conditions; a case that meets all that one of them names is left out. A condition maps settings
        of a `Case`, or arguments such as `defense.sigma`, to a value or a list of values.
      only: conditions; if any are given, a case must meet one of them.
      images: whether truth and reconstructions are kept beside the records.
      together: cases of one batch, at most; memory may allow fewer.
      checkpoint: seconds between two checkpoints of a batch that takes longer; 0 for after every piece.
      memory: GiB that the attacks may take; None for 75 % of what is free.

    >>> config = sweep_config_of({"attacks": "dlg", "seeds": {"range": 3}, "victims": [1, 2]})
    >>> config.seeds, config.victims
    ([0, 1, 2], [1, 2])
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dataset: Names = ["private:digits"]
    models: Specs = [Spec(name="mlp")]
    weights: Names = [""]
    clients: Specs = [Spec(name="fedsgd")]
    loss_fn: Names = ["cross_entropy"]
    batch: Numbers = [1]
    draw: Names = ["random"]
    victims: Numbers = [1]
    defenses: Specs = [Spec(name="none")]
    knows: Names = ["nothing"]
    known_labels: Switches = [False]
    attacks: Specs = [Spec(name="inverting", args={"steps": 1000})]
    restarts: Numbers = [1]
    halving: Switches = [False]
    stop: Reals = [0.0]
    seeds: Numbers = [0]
    lanes: Numbers = [4]
    precision: Names = ["float32"]
    zip: Rules = []
    skip: Rules = []
    only: Rules = []
    images: bool = True
    together: int = 128
    checkpoint: float = 60.0
    memory: float | None = None


HOW = ("zip", "skip", "only", "images", "together", "checkpoint", "memory")
"""Keys that are no settings of a case."""

AXES = tuple(name for name in SweepConfig.model_fields if name not in HOW)
"""The keys of which every case takes one value, in the order in which they vary, the last one fastest."""


def sweep_config_of(settings: dict[str, Any], path: Path | None = None) -> SweepConfig:
    """The sweep that `settings` describe, over those of the YAML file at `path`.

    The file may name `presets`, mappings of settings by name, and `use` one or several of them: a later one
    overrides an earlier one, what the file says itself overrides both.

    Raises:
      InputError: no such file, not YAML, an unknown key or preset, or a value of the wrong type, by its path.

    >>> text = {"presets": {"quick": {"seeds": [0]}}, "use": "quick", "attacks": "dlg"}
    >>> sweep_config_of(text).seeds
    [0]
    >>> sweep_config_of({"seedz": [0]})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: settings: seedz: unknown key; known: attacks, batch, checkpoint, clients, ...
    """
    asked = {**(read_yaml(path) if path else {}), **settings}
    source = "settings" if path is None else str(path)
    presets = asked.pop("presets", None) or {}
    used = asked.pop("use", None) or []
    merged: dict[str, Any] = {}
    for name in used if isinstance(used, list) else [used]:
        merged |= chosen(presets, name, source)
    found = zipped(validated(SweepConfig, {**merged, **asked}, source=source), source)
    whole("together", found.together, hint="it is the cases of a batch")
    number("checkpoint", found.checkpoint, least=0, hint="it is in seconds")
    return found


def chosen(presets: Any, name: Any, source: str) -> dict[str, Any]:
    """The preset of that name."""
    if not isinstance(presets, Mapping) or not all(isinstance(p, Mapping) for p in presets.values()):
        raise InputError(f"{source}: presets must map names to settings, such as {{quick: {{seeds: [0]}}}}")
    return dict(presets[one_of("preset", name, presets, hint=f"it is in `use` of {source}")])


def zipped(config: SweepConfig, source: str) -> SweepConfig:
    """The sweep with the values under `zip` checked and read as those of the axes are."""
    groups = []
    for i, group in enumerate(config.zip):
        where = f"{source}: zip.{i}"
        for name in group:
            one_of(f"key in {where}", name, AXES)
        read = {
            name: getattr(validated(SweepConfig, {name: group[name]}, source=where), name) for name in group
        }
        sizes = {name: len(values) for name, values in read.items()}
        if len(read) < 2 or len(set(sizes.values())) > 1:
            raise InputError(f"{where} must hold two keys or more with as many values each, got {sizes}")
        groups.append(read)
    twice = [name for name in AXES if sum(name in group for group in groups) > 1]
    if twice:
        raise InputError(f"{source}: zip names {', '.join(twice)} in two groups; put them into one")
    return config.model_copy(update={"zip": groups})
