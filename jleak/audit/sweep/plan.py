"""From a sweep's settings to its cases, without holding them: settings, each with its seeds."""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
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
      InputError: an unknown name, a number out of bounds, a condition on what no case has, or no case.

    >>> from jleak.audit.sweep.config import sweep_config_of
    >>> config = sweep_config_of({"attacks": "dlg", "defenses": ["none", "clip:bound=1.0"],
    ...                           "knows": ["nothing", "kind"], "seeds": {"range": 4}})
    >>> [(s.case.defense, s.case.knows, s.size) for s in plan(config)]
    [('none', 'nothing', 4), ('clip', 'nothing', 4), ('clip', 'kind', 4)]
    """
    wanted = conditions(config)
    axes = axes_of(config)
    alone = axes.pop("seeds", None)
    found: dict[str, Setting] = {}
    for options in itertools.product(*axes.values()):
        fields = {name: value for option in options for name, value in option.items()}
        if fields["defense"] == "none":
            fields["knows"] = "nothing"
        seeds = [option["seed"] for option in alone] if alone else [fields["seed"]]
        case = Case(**fields | {"seed": seeds[0]})
        kept = [seed for seed in seeds if wanted(reseeded(case, seed))]
        for seed in {min(kept), max(kept)} if kept else ():
            Case(**fields | {"seed": seed})  # checks the bounds of seeds
        if kept:
            first = reseeded(case, kept[0])
            found.setdefault(first.case_id, Setting(first, kept))
    if not found:
        raise InputError("the sweep holds no case; loosen its conditions (skip, only)")
    return list(found.values())


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


def conditions(config: SweepConfig) -> Callable[[Case], bool]:
    """Whether a case meets none of `skip`, and one of `only` if there are any."""
    for how in ("skip", "only"):
        for i, rule in enumerate(getattr(config, how)):
            for name in rule:
                field, _, argument = name.partition(".")
                known = SETTINGS if not argument else tuple(PARTS.values())
                one_of(f"setting in {how}.{i}", field, known, hint="write defense, or defense.sigma")

    def wanted(case: Case) -> bool:
        kept = not config.only or any(meets(case, rule) for rule in config.only)
        return kept and not any(meets(case, rule) for rule in config.skip)

    return wanted


def meets(case: Case, rule: dict[str, Any]) -> bool:
    """Whether the case has all that the rule names; of a list, one of its values.

    >>> case = Case(attack="dlg", defense="gaussian", defense_args={"sigma": 0.1})
    >>> meets(case, {"defense": ["clip", "gaussian"], "defense.sigma": 0.1}), meets(case, {"seed": 1})
    (True, False)
    """
    return all(value_of(case, name) in (v if isinstance(v, list) else [v]) for name, v in rule.items())


def value_of(case: Case, name: str) -> Any:
    """A setting of a case, or an argument such as `defense.sigma`; None where there is no such argument."""
    field, _, argument = name.partition(".")
    return getattr(case, f"{field}_args").get(argument) if argument else getattr(case, field)


def every(settings: Sequence[Setting]) -> Iterator[Case]:
    """All cases, the seeds varying fastest."""
    return (setting.at(i) for setting in settings for i in range(setting.size))
