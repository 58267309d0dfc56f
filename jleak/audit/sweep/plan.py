"""From a sweep's settings to its cases, without holding them: settings, each with its seeds."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jleak.audit.case import Case
from jleak.audit.settings import reseeded
from jleak.audit.sweep.config import AXES, SweepConfig
from jleak.check import InputError, one_of

PARTS = {"models": "model", "clients": "client", "defenses": "defense", "attacks": "attack"}
"""Keys of specs -> the field of a case that holds the name; `FIELD_args` holds the arguments."""

PLAIN = {"seeds": "seed"}
"""Keys of plain values that a case calls otherwise."""

SETTINGS = tuple(Case.__dataclass_fields__)
"""What a condition may name, besides arguments."""

LISTED = 8
"""Values that a message lists, at most."""


class Setting(NamedTuple):
    """Cases that differ in their seeds alone.

    Attributes:
      case: the first of them.
      seeds: of all.
    """

    case: Case
    seeds: Sequence[int]

    @property
    def size(self) -> int:
        """How many cases."""
        return len(self.seeds)

    def at(self, i: int) -> Case:
        """The case with number `i`."""
        return reseeded(self.case, self.seeds[i])


def plan(config: SweepConfig) -> list[Setting]:
    """The settings of a sweep, each once, in the order of its axes; those of conditions left out.

    Without a defense there is nothing to know, so `none` appears with knows=nothing alone.

    Raises:
      InputError: an unknown name, a number out of bounds, a condition that no case meets, or no case.

    >>> from jleak.audit.sweep.config import sweep_config_of
    >>> config = sweep_config_of({"attacks": "dlg", "defenses": ["none", "clip:bound=1.0"],
    ...                           "knows": ["nothing", "kind"], "seeds": {"range": 4}})
    >>> [(s.case.defense, s.case.knows, s.size) for s in plan(config)]
    [('none', 'nothing', 4), ('clip', 'nothing', 4), ('clip', 'kind', 4)]
    """
    every_setting = list(spanned(config))
    met(config, every_setting)
    found: dict[str, Setting] = {}
    for setting in every_setting:
        kept = [seed for i, seed in enumerate(setting.seeds) if wanted(setting.at(i), config)]
        if kept:
            first = reseeded(setting.case, kept[0])
            found.setdefault(first.case_id, Setting(first, kept))
    if not found:
        raise InputError("the sweep holds no case; loosen its conditions (skip, only)")
    return list(found.values())


def spanned(config: SweepConfig) -> Iterator[Setting]:
    """Every combination of the axes, conditions aside.

    Raises:
      InputError: an unknown name, a number out of bounds.
    """
    axes = axes_of(config)
    alone = axes.pop("seeds", None)
    for options in itertools.product(*axes.values()):
        values = {name: value for option in options for name, value in option.items()}
        if values["defense"] == "none":
            values["knows"] = "nothing"
        seeds = [option["seed"] for option in alone] if alone else [values["seed"]]
        for seed in {min(seeds), max(seeds)}:
            case = Case(**values | {"seed": seed})  # checks the bounds of seeds, too
        yield Setting(case, seeds)


def axes_of(config: SweepConfig) -> dict[str, list[dict[str, Any]]]:
    """What varies, in the order of `AXES`: for each axis its options, the fields of a case that each sets."""
    groups = {next(iter(group)): group for group in config.zip}
    bound = {name for group in config.zip for name in group}
    axes = {}
    for name in AXES:
        if name in groups:
            axes[name] = distinct(together(groups[name]))
        elif name not in bound:
            axes[name] = distinct([fields(name, value) for value in getattr(config, name)])
    return axes


def together(group: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The options of settings that vary together.

    >>> together({"batch": [1, 8], "seeds": [0, 1]})
    [{'batch': 1, 'seed': 0}, {'batch': 8, 'seed': 1}]
    """
    rows = zip(*([fields(name, value) for value in values] for name, values in group.items()), strict=True)
    return [{name: value for option in row for name, value in option.items()} for row in rows]


def distinct(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each option once."""
    return list({json.dumps(option, sort_keys=True, default=str): option for option in options}.values())


def fields(key: str, value: Any) -> dict[str, Any]:
    """The fields of a case that a value of this key sets.

    >>> from jleak.audit.config import Spec
    >>> fields("models", Spec(name="mlp")), fields("seeds", 3)
    ({'model': 'mlp', 'model_args': {}}, {'seed': 3})
    """
    if key in PARTS:
        return {PARTS[key]: value.name, f"{PARTS[key]}_args": dict(value.args)}
    return {PLAIN.get(key, key): value}


def wanted(case: Case, config: SweepConfig) -> bool:
    """Whether a case meets none of `skip`, and one of `only` if there are any."""
    kept = not config.only or any(meets(case, rule) for rule in config.only)
    return kept and not any(meets(case, rule) for rule in config.skip)


def met(config: SweepConfig, settings: Sequence[Setting]) -> None:
    """Checks that every value of every condition occurs: one that does not is a slip of the pen.

    Raises:
      InputError: a setting that no case has, or a value; with those that occur.
    """
    for how in ("skip", "only"):
        for i, rule in enumerate(getattr(config, how)):
            for name, value in rule.items():
                field, _, argument = name.partition(".")
                known = SETTINGS if not argument else tuple(PARTS.values())
                one_of(f"setting in {how}.{i}", field, known, hint="write defense, or defense.sigma")
                there = occurring(name, settings)
                for one in choices(value):
                    if one not in there:
                        told = ", ".join(map(str, there[:LISTED])) or "nothing"
                        raise InputError(f"{how}.{i}: no case has {name}={one}; it is {told}")


def occurring(name: str, settings: Sequence[Setting]) -> list[Any]:
    """The values of a setting or argument among the cases, each once; None, no such argument, left out."""
    if name == "seed":
        return list(dict.fromkeys(seed for setting in settings for seed in setting.seeds))
    values = (value_of(setting.case, name) for setting in settings)
    return list({json.dumps(value): value for value in values if value is not None}.values())


def choices(value: Any) -> list[Any]:
    """The values that a condition allows."""
    return value if isinstance(value, list) else [value]


def meets(case: Case, rule: dict[str, Any]) -> bool:
    """Whether the case has all that the rule names; of a list, one of its values.

    >>> case = Case(attack="dlg", defense="gaussian", defense_args={"sigma": 0.1})
    >>> meets(case, {"defense": ["clip", "gaussian"], "defense.sigma": 0.1}), meets(case, {"seed": 1})
    (True, False)
    """
    return all(value_of(case, name) in choices(value) for name, value in rule.items())


def value_of(case: Case, name: str) -> Any:
    """A setting of a case, or an argument such as `defense.sigma`; None where there is no such argument."""
    field, _, argument = name.partition(".")
    return getattr(case, f"{field}_args").get(argument) if argument else getattr(case, field)


def every(settings: Sequence[Setting]) -> Iterator[Case]:
    """All cases, the seeds varying fastest."""
    return (setting.at(i) for setting in settings for i in range(setting.size))
