"""The ConvNet of Inverting Gradients."""

from flax import linen as nn

from jleak.check import whole
from jleak.models.build import model
from jleak.models.layers import POOL, Parts, classifier, parts, stack
from jleak.types import Model

PLAN = (1, 2, 2, 4, 4, 4, POOL, 4, 4, POOL)
"""Widths of the convolutions, in multiples of the first."""


def convnet64(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 64,
    norm: str = "batch",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "torch",
    conv: str = "auto",
) -> Model:
    """3x3 convolutions of 64, 128, 128 and five times 256 channels, 3x3 max pooling after six and eight.

    The ConvNet64 of Geiping et al., "Inverting Gradients", NeurIPS 2020 (their `inversefed` package, where
    the ninth convolution of the listing overwrites its namesake): with biases in spite of BatchNorm, and a
    dense layer on all that the second pooling leaves, 3x3 pixels of an image of 32.

    Args:
      shape: (h, w, c) of an image, at least 9x9.
      classes: number of classes.
      width: channels of the first convolution.
      norm: normalisation (`jleak.models.norm.normalisation`).
      batchnorm: how BatchNorm computes (there).
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown name, too small an image.

    >>> import jax
    >>> net = convnet64((32, 32, 3), 10)
    >>> params = jax.eval_shape(net.init, jax.random.key(0))["params"]
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    2904970
    """
    plan = tuple(whole("width", width) * multiple for multiple in PLAN)
    made = parts(activation_fn, init, conv, norm, batchnorm, bias=True)
    return model(_ConvNet64(plan, classes, made), shape, classes, sends_statistics=batchnorm == "batch+sent")


class _ConvNet64(nn.Module):
    plan: tuple[int, ...]
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        x = stack(self.made, x, self.plan, pool=3)
        return classifier(self.classes, self.made.init)(x.reshape(x.shape[0], -1))
