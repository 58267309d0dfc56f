"""Residual networks."""

import jax.numpy as jnp
from flax import linen as nn

from jleak.check import one_of, whole
from jleak.models.build import model
from jleak.models.layers import Parts, classifier, convolve, parts
from jleak.models.pool import max_pool, mean_pool
from jleak.types import Model

STEMS = ("auto", "small", "large")
LARGE_FROM = 64
"""The side of an image from which `stem="auto"` is the large one."""


def resnet20(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 16,
    norm: str = "batch",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """ResNet-20 for CIFAR: three stages of three blocks with 16, 32 and 64 channels, the mean over pixels.

    Source: He et al., CVPR 2016, section 4.2, n = 3. A shortcut that must widen takes every other pixel and
    appends channels of zeros (their option A), so it has no parameters: 0.27 million in all.

    Args:
      shape: (h, w, c) of an image.
      classes: number of classes.
      width: channels of the first stage.
      norm: normalisation (`jleak.models.norm.normalisation`).
      batchnorm: how BatchNorm computes (there).
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown name.

    >>> import jax
    >>> net = resnet20((32, 32, 3), 10)
    >>> params = jax.eval_shape(net.init, jax.random.key(0))["params"]
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    269722
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    net = _ResNet((3, 3, 3), whole("width", width), "small", False, classes, made)
    return model(net, shape, classes, sends_statistics=batchnorm == "batch+sent")


def resnet32(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 16,
    norm: str = "batch",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """ResNet-32 for CIFAR: `resnet20` with five blocks a stage.

    Source: He et al., CVPR 2016, section 4.2, n = 5. Arguments and errors are those of `resnet20`.

    >>> import jax
    >>> net = resnet32((32, 32, 3), 10)
    >>> params = jax.eval_shape(net.init, jax.random.key(0))["params"]
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    464154
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    net = _ResNet((5, 5, 5), whole("width", width), "small", False, classes, made)
    return model(net, shape, classes, sends_statistics=batchnorm == "batch+sent")


def resnet18(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 64,
    stem: str = "auto",
    norm: str = "batch",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """ResNet-18: four stages of two blocks with 64, 128, 256 and 512 channels, the mean over pixels.

    Source: He et al., CVPR 2016, table 1. A shortcut that must change shape is a 1x1 convolution (option B).

    Args:
      shape: (h, w, c) of an image.
      classes: number of classes.
      width: channels of the first stage.
      stem: the first layer: `"large"` as in the paper (7x7 at stride 2, then 3x3 max pooling at stride 2),
        `"small"` as is usual on CIFAR (3x3 at stride 1), or `"auto"`: large if both sides have 64 pixels.
      norm: normalisation (`jleak.models.norm.normalisation`).
      batchnorm: how BatchNorm computes (there).
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown name.

    >>> import jax
    >>> net = resnet18((32, 32, 3), 10)
    >>> params = jax.eval_shape(net.init, jax.random.key(0))["params"]
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    11173962
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    stem = one_of("stem", stem, STEMS)
    net = _ResNet((2, 2, 2, 2), whole("width", width), stem, True, classes, made)
    return model(net, shape, classes, sends_statistics=batchnorm == "batch+sent")


class _ResNet(nn.Module):
    depths: tuple[int, ...]
    width: int
    stem: str
    projects: bool
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        made = self.made
        if self.stem == "large" or (self.stem == "auto" and min(x.shape[1:3]) >= LARGE_FROM):
            x = made.act(convolve(made, x, self.width, "0", kernel=7, stride=2))
            x = max_pool(x, 3, 2, padding=1)
        else:
            x = made.act(convolve(made, x, self.width, "0"))
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if stage and not i else 1
                name = f"stage{stage}_block{i}"
                x = _Block(self.width * 2**stage, stride, self.projects, made, name=name)(x)
        return classifier(self.classes, made.init)(mean_pool(x))


class _Block(nn.Module):
    """act(x + norm(conv(act(norm(conv(x))))), the first convolution at `stride`."""

    width: int
    stride: int
    projects: bool
    made: Parts

    @nn.compact
    def __call__(self, x):
        made = self.made
        h = made.act(convolve(made, x, self.width, "0", stride=self.stride))
        h = convolve(made, h, self.width, "1")
        if self.projects and x.shape != h.shape:
            x = convolve(made, x, self.width, "_shortcut", kernel=1, stride=self.stride)
        elif x.shape != h.shape:
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.width - x.shape[-1])))
        return made.act(h + x)
