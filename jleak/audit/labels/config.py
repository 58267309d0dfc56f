"""What a user asks for: label leakage as lists of names, from the command line or a YAML file."""

import itertools
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from jleak.audit.config import SOME, Spec, Specs, literal, validated
from jleak.audit.labels.case import LabelCase
from jleak.check import whole

Numbers = Annotated[list[int], *SOME]
Names = Annotated[list[str], *SOME]
Beliefs = Annotated[list[Annotated[Any, BeforeValidator(literal)]], *SOME]
"""Names or numbers, as `LabelCase` checks them; the command line gives text."""

RANDOM = Spec(name="random")
"""Always attacked with: a rate says nothing without it."""

BATCHES = [1, 2, 8, 32, 128]


class LabelsConfig(BaseModel):
    """Label leakage: every combination of models, training, clients, defenses, batches, draws and attacks.

    Keys are those of `LabelCase`, those of which there may be several in the plural; `count` is how many
    independent models there are of each of `models`.

    >>> config = LabelsConfig(attacks=["llg", "demix"], batches=8)
    >>> [case.attack for case in cases(config)]
    ['random', 'llg', 'demix']
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    dataset: str = "digits"
    public: str = ""
    models: Specs = [Spec(name="lenet")]
    loss_fn: str = "cross_entropy"
    clients: Specs = [Spec(name="fedsgd")]
    train_steps: Numbers = [0]
    train_lr: float = 0.1
    train_batch: int = 8
    batches: Numbers = BATCHES
    draws: Names = ["uniform"]
    count: int = 100
    victims: int = 1
    defenses: Specs = [Spec(name="none")]
    attacks: Specs = [
        RANDOM, *(Spec(name=name) for name in ("llg", "llg_star", "llg_plus", "counts", "ilrg", "demix"))
    ]  # fmt: skip
    assumed_batches: Beliefs = ["known"]
    auxiliary: int = 20
    seeds: Numbers = [0]
    lanes: int = 10


def labels_config_of(settings: dict[str, Any], path: Path | None = None) -> LabelsConfig:
    """The run that `settings` describe, over those of the YAML file at `path`.

    Raises:
      InputError: no such file, not YAML, an unknown key or a value of the wrong type, named by its path.

    >>> labels_config_of({"batches": 8}).batches
    [8]
    """
    return validated(LabelsConfig, settings, path)


def cases(config: LabelsConfig) -> list[LabelCase]:
    """Every case of a run, each once, `random` always among the attacks of a setting.

    In the order in which work is shared: training goes on from stage to stage, the updates of one setting
    serve all its attacks in a row.

    Raises:
      InputError: an unknown name or a number out of bounds.
    """
    count = whole("count", config.count, hint="it is the number of independent models")
    names = {"dataset", "public", "loss_fn", "train_lr", "train_batch", "victims", "auxiliary", "lanes"}
    shared = config.model_dump(include=names)
    attacks = config.attacks if RANDOM in config.attacks else [RANDOM, *config.attacks]
    axes = itertools.product(
        config.models, config.seeds, sorted(config.train_steps), config.clients, config.draws,
        config.defenses, config.batches, config.assumed_batches, attacks,
    )  # fmt: skip
    found = {}
    for model, seed, steps, client, draw, defense, batch, assumed, attack in axes:
        case = LabelCase(
            **shared,
            model=model.name,
            model_args=model.args,
            models=count,
            seed=seed,
            train_steps=steps,
            client=client.name,
            client_args=client.args,
            draw=draw,
            defense=defense.name,
            defense_args=defense.args,
            batch=batch,
            assumed_batch=assumed,
            attack=attack.name,
            attack_args=attack.args,
        )
        found[case.case_id] = case
    return list(found.values())
