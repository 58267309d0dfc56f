"""A plain convolutional network with pooling."""

from flax import linen as nn

from jleak.check import whole
from jleak.models.build import model
from jleak.models.layers import Parts, classifier, convolve, parts
from jleak.types import Model


def convnet(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 32,
    activation_fn: str = "relu",
    init: str = "torch",
    conv: str = "auto",
) -> Model:
    """Three 3x3 convolutions (width, 2 and 2 width), 2x2 average pooling after the first two, a dense head.

    Args:
      shape: (h, w, c) of an image, at least 4x4.
      classes: number of classes.
      width: channels of the first convolution.
      activation_fn: name of the activation.
      init: name of the initialisation.
      conv: form of the convolution (`jleak.models.conv.convolution`).

    Raises:
      InputError: a width below one, an unknown activation, initialisation or form, too small an image.

    >>> import jax
    >>> net = convnet((8, 8, 1), 10, width=4)
    >>> net.apply(net.init(jax.random.key(0)), jax.numpy.zeros((2, 8, 8, 1))).shape
    (2, 10)
    """
    widths = (whole("width", width), 2 * width, 2 * width)
    made = parts(activation_fn, init, conv)
    return model(_ConvNet(widths, classes, made), shape, classes)


class _ConvNet(nn.Module):
    widths: tuple[int, ...]
    classes: int
    made: Parts

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate(self.widths):
            if i:
                x = nn.avg_pool(x, (2, 2), strides=(2, 2))
            x = self.made.act(convolve(self.made, x, width, str(i)))
        return classifier(self.classes, self.made.init)(x.reshape(x.shape[0], -1))
