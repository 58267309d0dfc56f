"""What a case must say for its models to be made, trained and shared with other cases."""

from typing import Protocol

from jleak.audit.settings import Args

DRAWN = ("dataset", "public", "seed")
BUILT = ("model", "model_args", "models", "lanes")
TRAINED = (*DRAWN, *BUILT, "loss_fn", "train_lr", "train_batch")


class Cohort(Protocol):
    """Many models of one architecture, at a stage of their training.

    Attributes:
      dataset, public: whose images are the victims' and the server's (`jleak.audit.cohort.pools`).
      model, model_args, loss_fn: what is trained.
      models: how many, each independently initialised and trained.
      train_steps, train_lr, train_batch: SGD on the server's images.
      seed: fixes all of them.
      lanes: how many models share one batch of a program.
    """

    dataset: str
    public: str
    model: str
    model_args: Args
    loss_fn: str
    models: int
    train_steps: int
    train_lr: float
    train_batch: int
    seed: int
    lanes: int
