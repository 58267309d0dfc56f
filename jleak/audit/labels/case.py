"""One case of label leakage: every setting by name and number, JSON both ways, and a content hash."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jleak import catalog
from jleak.audit.settings import Args, case_of, check_shared, check_source, content_hash, put
from jleak.check import number, whole


@dataclass(frozen=True, kw_only=True)
class LabelCase:
    """One label attack in one setting, over many models: the same case gives the same numbers.

    Building one checks every name and number against the catalog and fills in the defaults.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`: what the victims draw from.
      public: the data set of the training and the auxiliary images; where empty, `dataset` is cut into two
        disjoint halves, one for the victims and one for these.
      model, model_args: the model under attack.
      loss_fn: the loss of the client and of the training.
      client, client_args: how the client computes its update (`jleak.clients.CLIENTS`).
      train_steps: steps of SGD that each model has been trained before the attack; 0 for a new one.
      train_lr, train_batch: their learning rate and images a step (0.1 and 8: those of Wainakh et al., 2022).
      batch: images in a client's batch.
      draw: how a batch is drawn (`jleak.data.draw`).
      models: independently initialised (and trained) models, the sampling unit.
      victims: client batches a model.
      defense, defense_args: what the client does to its update; "none" for nothing.
      attack, attack_args: the label attack (`jleak.labels.LABELS` or `package.module:factory`).
      assumed_batch: the batch size that the attacker believes in; 0: it knows the true one.
      auxiliary: images a class in the attacker's `view.prior`, drawn anew for every model.
      seed: fixes data, models, training, clients and attack, each through a stream of its own.
      lanes: how many models share one batch of the program. Another number rounds differently.

    Raises:
      InputError: an unknown name, a number out of bounds; the message says which and what to do.

    >>> case = LabelCase(attack="llg", batch=8)
    >>> case.attack_args, LabelCase.from_json(case.to_json()) == case
    ({'exact': True}, True)
    """

    dataset: str = "digits"
    public: str = ""
    model: str = "lenet"
    model_args: Args = field(default_factory=dict)
    loss_fn: str = "cross_entropy"
    client: str = "fedsgd"
    client_args: Args = field(default_factory=dict)
    train_steps: int = 0
    train_lr: float = 0.1
    train_batch: int = 8
    batch: int = 1
    draw: str = "uniform"
    models: int = 100
    victims: int = 1
    defense: str = "none"
    defense_args: Args = field(default_factory=dict)
    attack: str
    attack_args: Args = field(default_factory=dict)
    assumed_batch: int = 0
    auxiliary: int = 20
    seed: int = 0
    lanes: int = 10

    def __post_init__(self):
        counts = ("batch", "models", "victims", "train_batch", "auxiliary", "lanes")
        check_shared(self, counts, catalog.LABELS)
        if self.public:
            check_source(self.public)
        hint = {"train_steps": "use 0 for untrained models", "assumed_batch": "use 0 for the true batch size"}
        for name, remedy in hint.items():
            put(self, name, whole(name, getattr(self, name), least=0, hint=remedy))
        put(
            self,
            "train_lr",
            float(number("train_lr", catalog.typed("train_lr", self.train_lr, float), least=0)),
        )

    @property
    def case_id(self) -> str:
        """Twelve hex digits of the SHA-256 of all settings: another setting is another case."""
        return content_hash(self)

    @property
    def believed(self) -> int:
        """The batch size that the attacker reckons with."""
        return self.assumed_batch or self.batch

    def to_json(self) -> dict[str, Any]:
        """The case as JSON-ready names and numbers."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "LabelCase":
        """The case of these fields; other keys (a record's results) are left aside."""
        return case_of(LabelCase, fields)
