"""One measure of leakage in one setting: every setting by name and number, JSON both ways, a content hash."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jleak.audit.measures.recovery import ENTRIES
from jleak.audit.settings import Args, case_of, check_shared, check_source, content_hash, put
from jleak.catalog import typed
from jleak.check import number, one_of, whole
from jleak.leakage.usable.protocols import HOW


@dataclass(frozen=True, kw_only=True)
class MeasureCase:
    """One measure in one setting, over several models: the same case gives the same numbers.

    Building one checks every name and number against the catalog and fills in the defaults.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`: what clients hold.
      public: the data set of the training and of what is known of images; where empty, `dataset` is cut into
        two disjoint halves, one for the clients and one for these.
      attribute: what is latent in an image, for measures of that (`jleak.data.attribute`).
      groups: the attribute that says whose image it is; images of one group are never in training and test
        of a measure. Empty for every image on its own.
      protocol: how a batch has the attribute: all of it (`homogeneous`), or half of it (`presence`).
      model, model_args: the model.
      loss_fn: the loss of the client and of the training.
      client, client_args: how the client computes its update (`jleak.clients.CLIENTS`).
      train_steps: steps of SGD that each model has been trained before; 0 for a new one.
      train_lr, train_batch: their learning rate and images a step.
      batch: images in a client's batch.
      draw: how a batch is drawn, for measures of one batch (`jleak.data.draw`).
      models: independently initialised (and trained) models.
      records: batches a model that a measure of one batch looks at.
      updates: batches a model that a measure of many learns from and is tested on.
      width: numbers to which a layer's update is sketched for these.
      defense, defense_args: what the client does to its update; "none" for nothing.
      measure, measure_args: what is measured (`jleak.leakage.measures.MEASURES`, `recovery` for what an
        attack recovers, or `package.module:factory`).
      seed: fixes data, models, training, clients and probes, each through a stream of its own.
      lanes: how many models or batches share one batch of the program. Another number rounds differently.

    Raises:
      InputError: an unknown name, a number out of bounds; the message says which and what to do.

    >>> case = MeasureCase(measure="sensitivity", batch=8)
    >>> case.measure_args, MeasureCase.from_json(case.to_json()) == case
    ({'probes': 16}, True)
    """

    dataset: str = "digits"
    public: str = ""
    attribute: str = "bright"
    groups: str = ""
    protocol: str = "homogeneous"
    model: str = "lenet"
    model_args: Args = field(default_factory=dict)
    loss_fn: str = "cross_entropy"
    client: str = "fedsgd"
    client_args: Args = field(default_factory=dict)
    train_steps: int = 0
    train_lr: float = 0.1
    train_batch: int = 8
    batch: int = 1
    draw: str = "random"
    models: int = 2
    records: int = 32
    updates: int = 600
    width: int = 256
    defense: str = "none"
    defense_args: Args = field(default_factory=dict)
    measure: str
    measure_args: Args = field(default_factory=dict)
    seed: int = 0
    lanes: int = 4

    def __post_init__(self):
        counts = ("batch", "models", "records", "updates", "width", "train_batch", "lanes")
        check_shared(self, counts, "measure", ENTRIES)
        one_of("protocol", self.protocol, HOW)
        if self.public:
            check_source(self.public)
        steps = whole("train_steps", self.train_steps, least=0, hint="use 0 for untrained models")
        put(self, "train_steps", steps)
        put(self, "train_lr", float(number("train_lr", typed("train_lr", self.train_lr, float), least=0)))

    @property
    def case_id(self) -> str:
        """Twelve hex digits of the SHA-256 of all settings: another setting is another case."""
        return content_hash(self)

    def to_json(self) -> dict[str, Any]:
        """The case as JSON-ready names and numbers."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "MeasureCase":
        """The case of these fields; other keys (a record's results) are left aside."""
        return case_of(MeasureCase, fields)
