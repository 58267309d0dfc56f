"""Models under attack. The only place in jleak that knows Flax.

Each factory is `(shape, classes, *, ...) -> Model`.
"""

from jleak.models.alexnet import alexnet
from jleak.models.convnet import convnet
from jleak.models.convnet64 import convnet64
from jleak.models.lenet import lenet
from jleak.models.mlp import mlp
from jleak.models.resnet import resnet18, resnet20, resnet32
from jleak.models.vgg import vgg11, vgg13
from jleak.models.vit import vit

__all__ = [
    "alexnet",
    "convnet",
    "convnet64",
    "lenet",
    "mlp",
    "resnet18",
    "resnet20",
    "resnet32",
    "vgg11",
    "vgg13",
    "vit",
]
