"""A model with BatchNorm that compiles at once."""

import pytest
from flax import linen as nn

from jleak.models.build import model
from jleak.models.norm import normalisation


class _Normed(nn.Module):
    classes: int
    batchnorm: str

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16, name="dense")(x.reshape(len(x), -1))
        x = nn.relu(normalisation("batch", self.batchnorm)("norm")(x))
        return nn.Dense(self.classes, name="head")(x)


@pytest.fixture(scope="session")
def normed():
    """`normed(shape, classes, batchnorm="eval")`: dense, BatchNorm, ReLU, classifier."""

    def build(shape, classes, *, batchnorm: str = "eval"):
        return model(_Normed(classes, batchnorm), shape, classes)

    return build
