"""Generators made of dense layers alone."""

from collections.abc import Callable, Sequence

from flax import linen as nn
from jaxtyping import Array

from jleak.check import InputError, whole
from jleak.models.build import activation
from jleak.priors.build import checked, generator, joined, unit
from jleak.types import Generator


def mlp_gan(
    shape: tuple[int, int, int],
    classes: int = 0,
    *,
    latent: int = 64,
    hidden: int | tuple[int, ...] = (256, 256),
    activation_fn: str = "relu",
) -> Generator:
    """A GAN's generator of dense layers: z, the widths `hidden`, the image as (tanh + 1) / 2.

    Source: Goodfellow et al., NeurIPS 2014, in the form of the public MNIST generator that
    `jleak.priors.load` reads; conditional as Mirza and Osindero, 2014: the class stands beside z.

    Args:
      shape: (h, w, c) of an image.
      classes: of how many classes it draws images on demand; 0 for none.
      latent: entries of z.
      hidden: width of each hidden layer, or of the one hidden layer.
      activation_fn: name of the activation between layers.

    Raises:
      InputError: a number below one, an unknown activation.

    >>> import jax
    >>> made = mlp_gan((8, 8, 1), 10, latent=4, hidden=16)
    >>> made.apply(made.init(jax.random.key(0)), jax.numpy.zeros((2, 4)), jax.numpy.array([3, 7])).shape
    (2, 8, 8, 1)
    """
    return perceptron(shape, classes, latent, hidden, activation_fn, unit)


def vae_decoder(
    shape: tuple[int, int, int],
    classes: int = 0,
    *,
    latent: int = 20,
    hidden: int | tuple[int, ...] = (400,),
    activation_fn: str = "relu",
) -> Generator:
    """The decoder of a variational autoencoder: z, the widths `hidden`, the mean of each pixel (a sigmoid).

    Source: Kingma and Welling, ICLR 2014, appendix C.1; sizes of PyTorch's example.

    Args:
      shape: (h, w, c) of an image.
      classes: of how many classes it draws images on demand; 0 for none.
      latent: entries of z.
      hidden: width of each hidden layer, or of the one hidden layer.
      activation_fn: name of the activation between layers.

    Raises:
      InputError: a number below one, an unknown activation.

    >>> import jax
    >>> made = vae_decoder((8, 8, 1), latent=4, hidden=16)
    >>> made.apply(made.init(jax.random.key(0)), jax.numpy.zeros((2, 4))).shape
    (2, 8, 8, 1)
    """
    return perceptron(shape, classes, latent, hidden, activation_fn, nn.sigmoid)


def perceptron(
    shape: tuple[int, int, int],
    classes: int,
    latent: int,
    hidden: int | Sequence[int],
    activation_fn: str,
    last: Callable[[Array], Array],
) -> Generator:
    """Dense layers, one a stage; `last` turns the last one's output into an image."""
    checked(shape, classes, latent)
    widths = [whole("hidden", w) for w in ((hidden,) if isinstance(hidden, int) else hidden)]
    if not widths:
        raise InputError("hidden must name one width or more, got hidden=(); write hidden=256")
    act = activation(activation_fn)
    h, w, c = shape
    layers = [Layer(width, act, classes * (i == 0)) for i, width in enumerate(widths)]
    layers.append(Layer(h * w * c, last, image=tuple(shape)))
    return generator(layers, latent=latent, shape=shape, classes=classes)


class Layer(nn.Module):
    """A dense layer, then `act`.

    Attributes:
      width: outputs.
      act: activation function.
      classes: how many stand beside the input; 0 for none.
      image: the shape to give to the outputs, if they are an image.
    """

    width: int
    act: Callable[[Array], Array]
    classes: int = 0
    image: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, h, y=None):
        out = self.act(nn.Dense(self.width, name="dense")(joined(h, y, self.classes)))
        return out.reshape(-1, *self.image) if self.image else out
