"""What the layers of convolutional models are made of."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from flax import linen as nn
from jaxtyping import Array, Float

from jleak.check import one_of
from jleak.models.build import HEAD, INITS, activation, initializers
from jleak.models.conv import convolution
from jleak.models.norm import normalisation
from jleak.models.pool import max_pool

POOL = 0
"""Where a stack of convolutions pools."""


class Parts(NamedTuple):
    """A model's choices: its activation, initialisation, convolution and normalisation.

    Attributes:
      act: the activation function.
      init: name of the initialisation.
      conv: what `flax.linen.Conv` convolves with.
      norm: from a layer's name to the normalisation layer.
      bias: whether convolutions have biases.
    """

    act: Callable[[Array], Array]
    init: str
    conv: Callable[..., Array]
    norm: Callable[[str], Callable[[Array], Array]]
    bias: bool


def parts(
    activation_fn: str,
    init: str,
    conv: str,
    norm: str = "none",
    batchnorm: str = "eval",
    *,
    bias: bool | None = None,
) -> Parts:
    """These by name. Convolutions have biases where no normalisation follows, unless `bias` says otherwise.

    Raises:
      InputError: an unknown activation, initialisation, form of convolution, norm or batchnorm.

    >>> parts("relu", "he", "auto", "group").bias
    False
    """
    return Parts(
        activation(activation_fn),
        one_of("init", init, INITS),
        convolution(conv),
        normalisation(norm, batchnorm),
        norm == "none" if bias is None else bias,
    )


def convolve(
    made: Parts, x: Float[Array, "n h w c"], width: int, name: str, *, kernel: int = 3, stride: int = 1
) -> Float[Array, "n i j width"]:
    """Convolution `conv<name>`, zeros around keeping the size at stride 1, then norm `norm<name>`."""
    layer = nn.Conv(
        width,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=made.bias,
        name=f"conv{name}",
        conv_general_dilated=made.conv,
        **initializers(made.init),
    )
    return made.norm(f"norm{name}")(layer(x))


def stack(
    made: Parts, x: Float[Array, "n h w c"], plan: Sequence[int], *, pool: int = 2
) -> Float[Array, "n i j width"]:
    """3x3 convolutions of the widths in `plan`, normalised and activated; max pooling where it says POOL."""
    layers = 0
    for width in plan:
        if width == POOL:
            x = max_pool(x, pool, pool)
        else:
            x = made.act(convolve(made, x, width, str(layers)))
            layers += 1
    return x


def classifier(classes: int, init: str, *, bias: bool = True) -> nn.Dense:
    """The dense layer named HEAD. Where `init` is `he`, for layers that a ReLU follows, it has `torch`."""
    return nn.Dense(classes, use_bias=bias, name=HEAD, **initializers("torch" if init == "he" else init))
