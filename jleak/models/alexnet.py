"""AlexNet for small images."""

from flax import linen as nn

from jleak.check import whole
from jleak.models.build import initializers, model
from jleak.models.layers import Parts, classifier, convolve, parts
from jleak.models.pool import max_pool
from jleak.types import Model

LAYERS = ((1, 5, True), (3, 5, True), (6, 3, False), (4, 3, False), (4, 3, True))
"""(channels in multiples of the first, side of the kernel, whether a pooling follows) of each convolution."""


def alexnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 64,
    hidden: int = 256,
    norm: str = "none",
    batchnorm: str = "eval",
    activation_fn: str = "relu",
    init: str = "he",
    conv: str = "auto",
) -> Model:
    """AlexNet for small images: five convolutions, three 2x2 max poolings, two hidden dense layers.

    Source: Krizhevsky et al., NeurIPS 2012, with the channels 64, 192, 384, 256, 256 of its one-column form
    (Krizhevsky, arXiv:1404.5997). Made for 224 pixels, it is fitted to 32 here: kernels 5, 5, 3, 3, 3 at
    stride 1, poolings that do not overlap, hidden layers of 256 and not 4096; no dropout.

    Args:
      shape: (h, w, c) of an image, at least 8x8.
      classes: number of classes.
      width: channels of the first convolution.
      hidden: width of each hidden dense layer.
      norm: normalisation of the convolutions (`jleak.models.norm.normalisation`).
      batchnorm: how BatchNorm computes (there).
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown name, too small an image.

    >>> import jax
    >>> net = alexnet((32, 32, 3), 10)
    >>> sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
    3568458
    """
    made = parts(activation_fn, init, conv, norm, batchnorm)
    net = _AlexNet(whole("width", width), whole("hidden", hidden), classes, made)
    return model(net, shape, classes, sends_statistics=batchnorm == "batch+sent")


class _AlexNet(nn.Module):
    width: int
    hidden: int
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        made = self.made
        for i, (multiple, kernel, pooled) in enumerate(LAYERS):
            x = made.act(convolve(made, x, multiple * self.width, str(i), kernel=kernel))
            x = max_pool(x, 2, 2) if pooled else x
        x = x.reshape(x.shape[0], -1)
        for i in range(2):
            x = made.act(nn.Dense(self.hidden, name=f"dense{i}", **initializers(made.init))(x))
        return classifier(self.classes, made.init)(x)
