"""Multilayer perceptron."""

from collections.abc import Callable

from flax import linen as nn

from jleak.check import InputError, one_of, whole
from jleak.models.build import HEAD, INITS, activation, initializers, model
from jleak.models.layers import classifier
from jleak.types import Model


def mlp(
    shape: tuple[int, int, int],
    classes: int,
    *,
    hidden: int | tuple[int, ...] = (64,),
    activation_fn: str = "sigmoid",
    init: str = "lecun",
    bias: bool = True,
) -> Model:
    """Dense layers of the widths `hidden`, then the classifier.

    Args:
      shape: (h, w, c) of an image.
      classes: number of classes.
      hidden: width of each hidden layer, or of the one hidden layer.
      activation_fn: name of the activation between layers.
      init: name of the initialisation.
      bias: whether the dense layers have biases.

    Raises:
      InputError: a width below one, an unknown activation or initialisation.

    >>> import jax
    >>> net = mlp((8, 8, 1), 10, hidden=(32,))
    >>> params = net.init(jax.random.key(0))
    >>> net.apply(params, jax.numpy.zeros((5, 8, 8, 1))).shape
    (5, 10)
    """
    if isinstance(hidden, int):
        hidden = (hidden,)
    if not hidden:
        raise InputError("hidden must name one width or more, got hidden=(); write hidden=64")
    widths = tuple(whole("hidden", width) for width in hidden)
    net = _MLP(widths, classes, activation(activation_fn), one_of("init", init, INITS), bias)
    chain = (*((f"dense{i}",) for i in range(len(widths))), (HEAD,))
    return model(net, shape, classes, chain=chain, activation=activation_fn)


class _MLP(nn.Module):
    hidden: tuple[int, ...]
    classes: int
    act: Callable
    scheme: str
    bias: bool

    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1)
        inits = initializers(self.scheme)
        for i, width in enumerate(self.hidden):
            x = self.act(nn.Dense(width, use_bias=self.bias, name=f"dense{i}", **inits)(x))
        return classifier(self.classes, self.scheme, bias=self.bias)(x)
