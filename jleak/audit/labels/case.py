"""One case of label leakage: every setting by name and number, JSON both ways, and a content hash."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jleak import catalog
from jleak.audit.settings import Args, case_of, check_shared, check_source, content_hash, put
from jleak.check import InputError, number, whole
from jleak.labels.size import RESOLUTION, SHARELESS


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
      assumed_batch: the batch size that the attacker believes in: the true one (`known`), a number, or none
        (`unknown`; it then estimates it, see `jleak.labels.batch_size`).
      auxiliary: images a class in the attacker's `view.prior`, drawn anew for every model.
      seed: fixes data, models, training, clients and attack, each through a stream of its own.
      lanes: how many models share one batch of the program. Another number rounds differently.

    Raises:
      InputError: an unknown name, a number out of bounds, an attack that needs the batch size without it; the
        message says which and what to do.

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
    assumed_batch: int | str = "known"
    auxiliary: int = 20
    seed: int = 0
    lanes: int = 10

    def __post_init__(self):
        counts = ("batch", "models", "victims", "train_batch", "auxiliary", "lanes")
        check_shared(self, counts, "attack", catalog.LABELS)
        if self.public:
            check_source(self.public)
        put(
            self,
            "train_steps",
            whole("train_steps", self.train_steps, least=0, hint="use 0 for untrained models"),
        )
        if self.assumed_batch not in ("known", "unknown"):
            hint = "write known, unknown or a number of images"
            put(self, "assumed_batch", whole("assumed_batch", self.assumed_batch, hint=hint))
        if self.assumed_batch == "unknown" and self.attack in SHARELESS:
            raise InputError(
                f"{self.attack} tells no shares of the classes, so it needs a batch size, got "
                "assumed_batch=unknown; use known, a number, or another label attack such as demix"
            )
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
        """The batch size that the attacker reckons with; a large one, for shares, where it knows none."""
        return {"known": self.batch, "unknown": RESOLUTION}.get(self.assumed_batch, self.assumed_batch)

    def to_json(self) -> dict[str, Any]:
        """The case as JSON-ready names and numbers."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "LabelCase":
        """The case of these fields; other keys (a record's results) are left aside."""
        return case_of(LabelCase, fields)
