"""VGG."""

from flax import linen as nn

from jleak.check import whole
from jleak.models.build import model
from jleak.models.layers import POOL, Parts, classifier, parts, stack
from jleak.models.pool import mean_pool
from jleak.types import Model

VGG11 = (1, POOL, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)
VGG13 = (1, 1, POOL, 2, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)
"""Channels, in multiples of the first convolution's (Simonyan & Zisserman, ICLR 2015, table 1, A and B)."""


def vgg11(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 64,
    norm: str = "none",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """VGG-11 as used on CIFAR: eight 3x3 convolutions, five poolings, the mean over pixels, a dense layer.

    Source: Simonyan & Zisserman, ICLR 2015, column A, which has no normalisation; `norm="batch"` is the
    later variant. The paper's two hidden dense layers, made for images of 224 pixels, are left out.

    Args:
      shape: (h, w, c) of an image, at least 32x32.
      classes: number of classes.
      width: channels of the first convolution; the last ones have 8 width.
      norm: normalisation (`jleak.models.norm.normalisation`).
      batchnorm: how BatchNorm computes (there).
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown name, too small an image.

    >>> import jax
    >>> net = vgg11((32, 32, 3), 10)
    >>> sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
    9225610
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    return _vgg(VGG11, shape, classes, width, made, batchnorm)


def vgg13(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 64,
    norm: str = "none",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """VGG-13 as used on CIFAR: `vgg11` with two convolutions in front of each pooling.

    Source: Simonyan & Zisserman, ICLR 2015, column B. Arguments and errors are those of `vgg11`.

    >>> import jax
    >>> net = vgg13((32, 32, 3), 10)
    >>> sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
    9410122
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    return _vgg(VGG13, shape, classes, width, made, batchnorm)


def _vgg(multiples, shape, classes, width, made, batchnorm) -> Model:
    plan = tuple(whole("width", width) * multiple for multiple in multiples)
    return model(_VGG(plan, classes, made), shape, classes, sends_statistics=batchnorm == "batch+sent")


class _VGG(nn.Module):
    plan: tuple[int, ...]
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        return classifier(self.classes, self.made.init)(mean_pool(stack(self.made, x, self.plan)))
