"""The generator of GGL: a dense layer, then transposed convolutions that double the image."""

from flax import linen as nn

from jleak.check import InputError, whole
from jleak.models.norm import normalisation
from jleak.priors.build import checked, generator, joined, unit
from jleak.priors.transposed import Doubled, kernel_side
from jleak.types import Generator

LEAST_SIDE = 4


def dcgan(
    shape: tuple[int, int, int],
    classes: int = 0,
    *,
    latent: int = 128,
    width: int = 128,
    kernel: int = 2,
    norm: str = "batch",
    batchnorm: str = "eval",
) -> Generator:
    """A deep convolutional GAN's generator, by default that of GGL for faces of 32x32.

    z, a dense layer to the smallest image, then transposed convolutions of stride 2, each but the last
    normalised and rectified, the last one's image as (tanh + 1) / 2. Before the last the image has `width`
    channels, and every halving before that doubles them: 4x4x512, 8x8x256, 16x16x128, 32x32x3 at width 128.
    The image is halved while its sides are even and stay 4 or more: 32 starts at 4x4, 28 at 7x7, 8 at 4x4.
    BatchNorm of the dense layer counts every output as a channel, as the paper's 1.73 million parameters do.

    Source: Li, Zhang, Liu and Liu, CVPR 2022, appendix B, whose generator is that of Gulrajani et al.,
    NeurIPS 2017; Radford et al., ICLR 2016. Conditional as Mirza and Osindero, 2014: the class stands
    beside z. The layers start as He et al. (ICCV 2015) have them, which the paper does not state.

    Args:
      shape: (h, w, c) of an image.
      classes: of how many classes it draws images on demand; 0 for none.
      latent: entries of z.
      width: channels before the last layer.
      kernel: side of the kernels, 2 or 4.
      norm: name of the normalisation.
      batchnorm: how BatchNorm computes; attacks use `"eval"`, training `"batch"` (`Generator.statistics`).

    Raises:
      InputError: a number below one, a kernel other than 2 or 4, an unknown norm or batchnorm, or an image
        that cannot be halved.

    >>> import jax
    >>> made = dcgan((28, 28, 1), 10, latent=4, width=8)
    >>> made.apply(made.init(jax.random.key(0)), jax.numpy.zeros((2, 4)), jax.numpy.array([3, 7])).shape
    (2, 28, 28, 1)
    """
    checked(shape, classes, latent)
    whole("width", width)
    kernel_side(kernel)
    normalisation(norm, batchnorm)
    halvings = times_halved(shape)
    h, w, c = shape
    first = (h >> halvings, w >> halvings, width << (halvings - 1))
    stages = [_Start(first, classes, norm, batchnorm)]
    stages += [_Up(width << i, kernel, norm, batchnorm) for i in reversed(range(halvings - 1))]
    return generator([*stages, _Image(c, kernel)], latent=latent, shape=shape, classes=classes)


def times_halved(shape: tuple[int, int, int]) -> int:
    """How often height and width can both be halved, down to 4.

    Raises:
      InputError: not once.

    >>> times_halved((32, 32, 3)), times_halved((28, 28, 1)), times_halved((8, 8, 1))
    (3, 2, 1)
    """
    h, w, _ = shape
    times = 0
    while not any(side % 2 or side < 2 * LEAST_SIDE for side in (h, w)):
        h, w, times = h // 2, w // 2, times + 1
    if not times:
        raise InputError(
            f"dcgan doubles images up from 4x4 or more, got {shape[0]}x{shape[1]}; use even sides of 8 or "
            "more, or the generator mlp_gan"
        )
    return times


class _Start(nn.Module):
    first: tuple[int, int, int]
    classes: int
    norm: str
    batchnorm: str

    @nn.compact
    def __call__(self, z, y=None):
        h, w, c = self.first
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        x = nn.Dense(h * w * c, kernel_init=init, name="dense")(joined(z, y, self.classes))
        x = x if self.norm == "batch" else x.reshape(-1, h, w, c)
        return nn.relu(normalisation(self.norm, self.batchnorm)("norm")(x)).reshape(-1, h, w, c)


class _Up(nn.Module):
    width: int
    kernel: int
    norm: str
    batchnorm: str

    @nn.compact
    def __call__(self, x, y=None):
        x = Doubled(self.width, self.kernel, name="conv")(x)
        return nn.relu(normalisation(self.norm, self.batchnorm)("norm")(x))


class _Image(nn.Module):
    channels: int
    kernel: int

    @nn.compact
    def __call__(self, x, y=None):
        return unit(Doubled(self.channels, self.kernel, 1.0, name="conv")(x))
