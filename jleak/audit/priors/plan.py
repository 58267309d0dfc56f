"""What the training of a prior is asked for, and the parts that it names."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jleak import catalog, data
from jleak.audit.settings import Args, check_source, complete, put
from jleak.check import InputError, keywords, number, one_of, whole
from jleak.data import Images
from jleak.priors import GENERATORS
from jleak.training import Trainer, averaging
from jleak.types import Generator

PARTS = ("public", "all")
"""Which images a prior may learn from: the server's half of the data set, or all of it."""


@dataclass(frozen=True, kw_only=True)
class PriorTraining:
    """The training of a generator, complete: the same settings give the same weights.

    Attributes:
      dataset: `digits`, `npz:PATH`, `folder:PATH` or `tfds:NAME`.
      part: `"public"`, the half that victims drawn from `private:DATASET` do not hold; `"all"`, every image,
        where victims come from another data set.
      generator, generator_args: what is trained. One with BatchNorm is trained with `batchnorm=batch`.
      conditional: whether it draws images of a class on demand.
      objective, objective_args: of `jleak.training.OBJECTIVES`.
      critic, critic_args: what the critic, or for `vae` the encoder, is made of
        (`jleak.priors.critics.TRUNKS`).
      batch: images a step of the critic.
      epochs: passes over the images.
      steps: steps of the generator in all; 0 leaves it to the epochs.
      ema: what stays of the running average of the generator in a step (`jleak.training.averaging`).
      half: whether the file is of float16.
      licence, note: said on the card.
      seed: fixes weights, order, latents and augmentation.

    Raises:
      InputError: an unknown name, a number out of bounds; the message says which and what to do.

    >>> PriorTraining(objective="wgan_gp").objective_args["n_critic"]
    5
    """

    dataset: str = "digits"
    part: str = "public"
    generator: str = "dcgan"
    generator_args: Args = field(default_factory=dict)
    conditional: bool = False
    objective: str = "wgan_gp"
    objective_args: Args = field(default_factory=dict)
    critic: str = "conv"
    critic_args: Args = field(default_factory=dict)
    batch: int = 64
    epochs: int = 100
    steps: int = 0
    ema: float = 0.999
    half: bool = False
    licence: str = ""
    note: str = ""
    seed: int = 0

    def __post_init__(self):
        check_source(self.dataset)
        one_of("part", self.part, PARTS)
        one_of("generator", self.generator, GENERATORS)
        for kind, known in (
            ("generator", GENERATORS),
            ("objective", catalog.OBJECTIVES),
            ("critic", catalog.CRITICS),
        ):
            complete(self, kind, catalog.find(kind, getattr(self, kind), known))
        for name, least in (("batch", 2), ("epochs", 1), ("steps", 0), ("seed", 0)):
            put(self, name, whole(name, getattr(self, name), least=least))
        number("seed", self.seed, below=2**32, hint="a key holds 32 bits")
        put(self, "ema", catalog.typed("ema", self.ema, float))
        number("ema", self.ema, least=0, below=1, hint="use 0 for the last weights")
        for name in ("conditional", "half"):
            catalog.typed(name, getattr(self, name), bool)

    @property
    def source(self) -> str:
        """The images to train on, as `jleak.data.load` takes them.

        >>> PriorTraining().source, PriorTraining(part="all").source
        ('public:digits', 'digits')
        """
        return f"public:{self.dataset}" if self.part == "public" else self.dataset

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON-ready names and numbers."""
        return dataclasses.asdict(self)


def loaded(plan: PriorTraining) -> Images:
    """The images to train on.

    Raises:
      InputError: as `jleak.data.load`.
    """
    return data.load(plan.source)


def generators(plan: PriorTraining, images: Images) -> tuple[Generator, Generator]:
    """(the generator as it is trained, as attacks use it): with BatchNorm by the batch's, by kept statistics.

    Raises:
      InputError: the generator cannot make such images.
    """
    factory, classes = GENERATORS[plan.generator], images.classes if plan.conditional else 0
    args = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.generator_args.items()}
    used = factory(images.shape, classes, **args)
    if used.statistics is None or "batchnorm" not in keywords(factory):
        return used, used
    trained, used = (
        factory(images.shape, classes, **args | {"batchnorm": mode}) for mode in ("batch", "eval")
    )
    return trained, used


def trainer(plan: PriorTraining, generator: Generator) -> Trainer:
    """The steps of the training.

    Raises:
      InputError: a number out of bounds.
    """
    args = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.critic_args.items()}
    trunk = catalog.find("critic", plan.critic, catalog.CRITICS)(**args)
    objective = catalog.find("objective", plan.objective, catalog.OBJECTIVES)
    return averaging(objective(generator, trunk, **plan.objective_args), plan.ema)


def length(plan: PriorTraining, size: int, batches: int) -> int:
    """The steps of a training on `size` images of which a step takes so many batches.

    Raises:
      InputError: a step takes more images than there are.

    >>> length(PriorTraining(batch=10, epochs=3), 100, 2), length(PriorTraining(steps=7), 1000, 5)
    (15, 7)
    """
    if batches * plan.batch > size:
        raise InputError(
            f"batch must be <= {size // batches}, got batch={plan.batch}: a step of {plan.objective} takes "
            f"{batches} of them and there are {size} images; use a smaller batch"
            + (" or fewer critic steps, n_critic" if batches > 1 else "")
        )
    return plan.steps or plan.epochs * (size // (batches * plan.batch))
