"""What a user asks for: one leak given to several optimisers, from the command line or a YAML file."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from jleak.audit import driver
from jleak.audit.case import Case
from jleak.audit.config import Names, Numbers, Spec, Specs, validated
from jleak.audit.driver import Progress
from jleak.audit.memory import Budget
from jleak.audit.store import Record
from jleak.check import InputError
from jleak.data import Images

KIND = "bench-optimizers"
"""The kind of these runs, by the name of their command."""

SHARED = ("dataset", "weights", "victims", "known_labels", "restarts", "lanes", "precision")
"""The settings that all cases share."""


class OptimizersConfig(BaseModel):
    """The attack `ggl` with several optimisers at one budget, over models, defenses, priors and seeds.

    Keys are those of `Case` and of `jleak.attacks.ggl`, those of which there may be several in the plural; an
    optimiser's arguments are ggl's, such as `cma_es:population=20`.

    >>> config = OptimizersConfig(optimizers=["cma_es", "adam:lr=0.05"], defenses="none", seeds=0)
    >>> [(case.attack_args["optim"], case.attack_args["lr"]) for case in cases(config)]
    [('cma_es', 0.1), ('adam', 0.05)]
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dataset: str = "private:digits"
    models: Specs = [Spec(name="lenet")]
    weights: str = ""
    priors: Names = ["digits"]
    optimizers: Specs = [
        Spec(name=name) for name in ("adam", "cr_fm_nes+adam", "cr_fm_nes", "cma_es", "snes", "random_search")
    ]
    evaluations: int = 2000
    defenses: Specs = [Spec(name="none"), Spec(name="gaussian", args={"sigma": 0.1})]
    knows: Names = ["nothing"]
    known_labels: bool = False
    victims: int = 4
    restarts: int = 1
    seeds: Numbers = [0, 1]
    lanes: int = 4
    precision: str = "float32"
    memory: float | None = None


def plan(settings: dict[str, Any], path: Path | None) -> tuple[list[Case], dict[str, Budget]]:
    """The cases that `settings` describe, over those of the YAML file at `path`, and the memory for them.

    Raises:
      InputError: no such file, an unknown key or name, a value out of bounds.
    """
    config = validated(OptimizersConfig, settings, path)
    return cases(config), {"budget": Budget(config.memory)}


def cases(config: OptimizersConfig) -> list[Case]:
    """Every case, each once; the cases of one leak are those of its optimisers.

    Raises:
      InputError: an unknown name or a number out of bounds.
    """
    shared = config.model_dump(include=set(SHARED))
    found = {}
    for model, prior, one, knows, defense, seed in itertools.product(
        config.models, config.priors, config.optimizers, config.knows, config.defenses, config.seeds
    ):
        given = {"prior": prior, "evaluations": config.evaluations, "optim": one.name}
        if taken := sorted(given.keys() & one.args.keys()):
            raise InputError(f"optimizer {one.name!r} was given {taken[0]}, which all share; give it once")
        case = Case(
            **shared,
            model=model.name,
            model_args=model.args,
            attack="ggl",
            attack_args=given | one.args,
            defense=defense.name,
            defense_args=defense.args,
            knows="nothing" if defense.name == "none" else knows,
            seed=seed,
        )
        found[case.case_id] = case
    return list(found.values())


def run(
    plan: Sequence[Case],
    path: Path,
    images: Mapping[str, Images],
    *,
    finished: Mapping[str, Record],
    report: Callable[[Progress], None],
    budget: Budget,
) -> list[Record]:
    """`jleak.audit.driver.run`, of this kind, and clocked: optimisers are compared by their seconds, too."""
    return driver.run(
        plan, path, images, finished=finished, report=report, budget=budget, kind=KIND, clocked=True
    )
