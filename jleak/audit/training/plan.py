"""What a training is asked for, and the parts that it names."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from jleak import catalog
from jleak.audit.parts import split
from jleak.audit.settings import Args, check_source, complete, put
from jleak.check import InputError, keywords, number, one_of, whole
from jleak.data import Images
from jleak.search import SCHEDULES
from jleak.training import transformation
from jleak.tree import stream
from jleak.types import Model


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training, complete: the same settings give the same weights.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`.
      model, model_args: what is trained. A model with BatchNorm is trained with `batchnorm=batch`, whatever
        the arguments say, and can be attacked in any mode.
      loss_fn: the loss.
      optimizer, lr, schedule, weight_decay: see `jleak.training.transformation`.
      batch: images a step.
      epochs: passes over the training images.
      steps: steps in all; 0 leaves it to the epochs.
      augment: whether images are mirrored and cropped at random (`jleak.training.augmented`).
      held_out: the share of the data set, chosen by key, that is kept for measuring the accuracy.
      seed: fixes weights, held-out images, order and augmentation, each through a stream of its own.

    Raises:
      InputError: an unknown name, a number out of bounds; the message says which and what to do.

    >>> Training(model="mlp").model_args["hidden"]
    [64]
    """

    dataset: str = "digits"
    model: str = "lenet"
    model_args: Args = field(default_factory=dict)
    loss_fn: str = "cross_entropy"
    optimizer: str = "adam"
    lr: float = 0.003
    schedule: str = "constant"
    weight_decay: float = 0.0
    batch: int = 32
    epochs: int = 10
    steps: int = 0
    augment: bool = False
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self):
        check_source(self.dataset)
        one_of("loss_fn", self.loss_fn, catalog.LOSSES)
        one_of("schedule", self.schedule, SCHEDULES)
        complete(self, "model", catalog.find("model", self.model, catalog.MODELS))
        for name, least in (("batch", 1), ("epochs", 1), ("steps", 0), ("seed", 0)):
            put(self, name, whole(name, getattr(self, name), least=least))
        number("seed", self.seed, below=2**32, hint="a key holds 32 bits")
        for name in ("lr", "weight_decay", "held_out"):
            put(self, name, catalog.typed(name, getattr(self, name), float))
        number("held_out", self.held_out, least=0, below=1, hint="it is a share of the data set")
        catalog.typed("augment", self.augment, bool)
        made = {"schedule": self.schedule, "steps": 1, "weight_decay": self.weight_decay}
        transformation(self.optimizer, lr=self.lr, **made)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON-ready names and numbers."""
        return dataclasses.asdict(self)


class Split(NamedTuple):
    """Where in the data set the images are."""

    train: Int[np.ndarray, " train"]
    held_out: Int[np.ndarray, " held_out"]


def parted(plan: Training, images: Images) -> Split:
    """Training and held-out images, disjoint, chosen by the seed.

    Raises:
      InputError: nothing is left to train on, or less than a batch.
    """
    bits = jax.random.bits(stream(jax.random.key(plan.seed), "split"), (images.size,))
    shuffled = np.argsort(np.asarray(bits), kind="stable").astype(np.int32)
    cut = round(plan.held_out * images.size)
    if images.size - cut < plan.batch:
        raise InputError(
            f"batch must be <= {images.size - cut}, the images to train on, got batch={plan.batch}; "
            "use a smaller batch or held-out share"
        )
    return Split(np.sort(shuffled[cut:]), np.sort(shuffled[:cut]))


def length(plan: Training, size: int) -> int:
    """The steps of a training on `size` images.

    >>> length(Training(model="mlp", batch=32, epochs=2), 100), length(Training(model="mlp", steps=7), 100)
    (6, 7)
    """
    return plan.steps or plan.epochs * (size // plan.batch)


def models(plan: Training, images: Images) -> tuple[Model, Model]:
    """(the model as it is trained, as it is judged): with BatchNorm by the batch's, by running statistics.

    Raises:
      InputError: the model cannot take these images.
    """
    factory = catalog.find("model", plan.model, catalog.MODELS)
    static, floats = split(plan.model_args)
    model = factory(images.shape, images.classes, **static, **floats)
    if model.statistics is None or "batchnorm" not in keywords(factory):
        return model, model
    modes = [static | {"batchnorm": mode} for mode in ("batch", "eval")]
    trained, judged = (factory(images.shape, images.classes, **mode, **floats) for mode in modes)
    return trained, judged
