"""Models under attack. The only place in jleak that knows Flax.

Each factory is `(shape, classes, *, ...) -> Model`.
"""

from jleak.models.convnet import convnet
from jleak.models.lenet import lenet
from jleak.models.mlp import mlp

__all__ = ["convnet", "lenet", "mlp"]
