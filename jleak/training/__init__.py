"""Training of models and of priors: pure steps, a piece of a training as one scan, accuracy."""

from collections.abc import Callable

from jleak.training.augment import augmented
from jleak.training.diffaugment import diffaugment
from jleak.training.non_saturating import non_saturating
from jleak.training.pieces import Pool, order, scanned
from jleak.training.prior import PriorState, Trainer, averaging
from jleak.training.step import MOMENTUM, State, begun, judging, piece, transformation
from jleak.training.vae import vae
from jleak.training.wgan_gp import wgan_gp

__all__ = [
    "MOMENTUM",
    "OBJECTIVES",
    "Pool",
    "PriorState",
    "State",
    "Trainer",
    "augmented",
    "averaging",
    "begun",
    "diffaugment",
    "judging",
    "non_saturating",
    "order",
    "piece",
    "scanned",
    "transformation",
    "vae",
    "wgan_gp",
]

OBJECTIVES: dict[str, Callable[..., Trainer]] = {
    "non_saturating": non_saturating,
    "vae": vae,
    "wgan_gp": wgan_gp,
}
"""Name -> factory `(generator, trunk, *, ...) -> Trainer` of the ways to train a generator."""
