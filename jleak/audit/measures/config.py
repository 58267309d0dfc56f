"""What a user asks for: measures of leakage as lists of names, from the command line or a YAML file."""

import itertools
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from jleak.audit.config import Numbers, Spec, Specs, listed, validated
from jleak.audit.measures.case import MeasureCase
from jleak.check import whole

MEASURED = [
    Spec(name="sensitivity"),
    Spec(name="mutual_information"),
    Spec(name="usable_information", args={"of": "images"}),
    Spec(name="usable_information", args={"of": "attribute"}),
    Spec(name="subspace_distance"),
    Spec(name="mixing"),
]
"""What is measured where nothing else is asked for."""

SHARED = (
    "dataset", "public", "attribute", "groups", "protocol", "loss_fn", "train_lr", "train_batch", "draw",
    "records", "updates", "width", "lanes",
)  # fmt: skip
"""The settings that all cases share."""


class MeasureConfig(BaseModel):
    """Measures of leakage: every combination of models, training, clients, defenses, batches and measures.

    Keys are those of `MeasureCase`, those of which there may be several in the plural; `count` is how many
    independent models there are of each of `models`; `attacks`, as `inverting:steps=200`, are what measures
    are compared with.

    >>> config = MeasureConfig(measures="sensitivity", attacks="dlg:steps=20", train_steps=[0, 100])
    >>> [(case.train_steps, case.measure) for case in cases(config)]
    [(0, 'sensitivity'), (0, 'recovery'), (100, 'sensitivity'), (100, 'recovery')]
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dataset: str = "digits"
    public: str = ""
    attribute: str = "bright"
    groups: str = ""
    protocol: str = "homogeneous"
    models: Specs = [Spec(name="lenet")]
    loss_fn: str = "cross_entropy"
    clients: Specs = [Spec(name="fedsgd")]
    train_steps: Numbers = [0]
    train_lr: float = 0.1
    train_batch: int = 8
    batches: Numbers = [1]
    draw: str = "random"
    count: int = 2
    records: int = 32
    updates: int = 600
    width: int = 256
    defenses: Specs = [Spec(name="none")]
    measures: Specs = MEASURED
    attacks: Annotated[list[str], BeforeValidator(listed)] = []
    restarts: int = 1
    seeds: Numbers = [0]
    lanes: int = 4


def measure_config_of(settings: dict[str, Any], path: Path | None = None) -> MeasureConfig:
    """The run that `settings` describe, over those of the YAML file at `path`.

    Raises:
      InputError: no such file, not YAML, an unknown key or a value of the wrong type, named by its path.

    >>> measure_config_of({"batches": 8}).batches
    [8]
    """
    return validated(MeasureConfig, settings, path)


def cases(config: MeasureConfig) -> list[MeasureCase]:
    """Every case of a run, each once, in the order in which work is shared: a setting's measures in a row.

    Raises:
      InputError: an unknown name or a number out of bounds.
    """
    count = whole("count", config.count, hint="it is the number of independent models")
    shared = config.model_dump(include=set(SHARED))
    asked = [
        *config.measures,
        *(Spec(name="recovery", args={"attack": a, "restarts": config.restarts}) for a in config.attacks),
    ]
    axes = itertools.product(
        config.models, config.seeds, sorted(config.train_steps), config.clients, config.batches,
        config.defenses, asked,
    )  # fmt: skip
    found = {}
    for model, seed, steps, client, batch, defense, measure in axes:
        case = MeasureCase(
            **shared,
            model=model.name,
            model_args=model.args,
            models=count,
            seed=seed,
            train_steps=steps,
            client=client.name,
            client_args=client.args,
            batch=batch,
            defense=defense.name,
            defense_args=defense.args,
            measure=measure.name,
            measure_args=measure.args,
        )
        found[case.case_id] = case
    return list(found.values())
