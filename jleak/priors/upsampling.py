"""A generator of nearest-neighbour enlargements and convolutions."""

from flax import linen as nn

from jleak.check import InputError, whole
from jleak.models.build import activation
from jleak.models.conv import convolution
from jleak.models.norm import normalisation
from jleak.priors.build import checked, generator, joined, unit
from jleak.priors.resize import nearest
from jleak.types import Generator


def upsampling_gan(
    shape: tuple[int, int, int],
    classes: int = 0,
    *,
    latent: int = 100,
    width: int = 128,
    activation_fn: str = "relu",
    norm: str = "batch",
    batchnorm: str = "eval",
    conv: str = "auto",
) -> Generator:
    """A GAN's generator that enlarges by repeating pixels and convolves after it.

    z, a dense layer to `width` channels of a quarter of the image's sides, normalised; twice: pixels doubled,
    a 3x3 convolution (to `width`, then width / 2 channels), normalised and activated; a 3x3 convolution to
    the image as (tanh + 1) / 2. Repeating pixels leaves no checkerboard (Odena et al., Distill 2016).

    Source: the form of the public conditional WGAN-GP for MNIST that `jleak.priors.load` reads (there
    latent=10); conditional as Mirza and Osindero, 2014: the class stands beside z.

    Args:
      shape: (h, w, c) of an image; 4 divides h and w.
      classes: of how many classes it draws images on demand; 0 for none.
      latent: entries of z.
      width: channels of the first layers, an even number.
      activation_fn: name of the activation.
      norm: name of the normalisation.
      batchnorm: how BatchNorm computes; attacks use `"eval"`, training `"batch"` (`Generator.statistics`).
      conv: form of the convolutions, see `jleak.models.conv.convolution`.

    Raises:
      InputError: a number below one, an odd width, an unknown name, or sides that 4 does not divide.

    >>> import jax
    >>> made = upsampling_gan((8, 8, 1), latent=4, width=8)
    >>> made.apply(made.init(jax.random.key(0)), jax.numpy.zeros((2, 4))).shape
    (2, 8, 8, 1)
    """
    checked(shape, classes, latent)
    h, w, c = shape
    if h % 4 or w % 4:
        raise InputError(f"upsampling_gan enlarges fourfold, got {h}x{w}; use sides that 4 divides")
    if whole("width", width) % 2:
        raise InputError(f"width must be even, got width={width}; it is halved once")
    activation(activation_fn), normalisation(norm, batchnorm), convolution(conv)
    how = (activation_fn, norm, batchnorm, conv)
    stages = [_Start((h // 4, w // 4, width), classes, norm, batchnorm)]
    stages += [_Up(width, *how), _Up(width // 2, *how), _Image(c, conv)]
    return generator(stages, latent=latent, shape=shape, classes=classes)


class _Start(nn.Module):
    first: tuple[int, int, int]
    classes: int
    norm: str
    batchnorm: str

    @nn.compact
    def __call__(self, z, y=None):
        h, w, c = self.first
        x = nn.Dense(h * w * c, name="dense")(joined(z, y, self.classes)).reshape(-1, h, w, c)
        return normalisation(self.norm, self.batchnorm)("norm")(x)


class _Up(nn.Module):
    width: int
    act: str
    norm: str
    batchnorm: str
    conv: str

    @nn.compact
    def __call__(self, x, y=None):
        layer = nn.Conv(self.width, (3, 3), name="conv", conv_general_dilated=convolution(self.conv))
        x = layer(nearest(x))
        return activation(self.act)(normalisation(self.norm, self.batchnorm)("norm")(x))


class _Image(nn.Module):
    channels: int
    conv: str

    @nn.compact
    def __call__(self, x, y=None):
        return unit(
            nn.Conv(self.channels, (3, 3), name="conv", conv_general_dilated=convolution(self.conv))(x)
        )
