"""Training of models: a pure step, a piece of a training as one scan, accuracy."""

from jleak.training.augment import augmented
from jleak.training.pieces import Pool, order, scanned
from jleak.training.step import MOMENTUM, State, begun, judging, piece, transformation

__all__ = [
    "MOMENTUM",
    "Pool",
    "State",
    "augmented",
    "begun",
    "judging",
    "order",
    "piece",
    "scanned",
    "transformation",
]
