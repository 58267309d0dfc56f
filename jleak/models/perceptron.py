"""Small dense networks on vectors: the critics and probes that measure leakage with. Not under attack."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jleak.check import whole
from jleak.models.build import activation as named
from jleak.types import Key, Params


class Net(NamedTuple):
    """A network on vectors.

    Attributes:
      init: `key -> params`.
      apply: `(params, x) -> outputs`, x of shape (..., inputs), outputs (..., outputs).
    """

    init: Callable[[Key], Params]
    apply: Callable[[Params, Float[Array, "... inputs"]], Float[Array, "... outputs"]]


class Perceptron(nn.Module):
    """Dense layers with an activation between them."""

    outputs: int
    hidden: tuple[int, ...]
    activation: str
    still: bool

    @nn.compact
    def __call__(self, x):
        for width in self.hidden:
            x = named(self.activation)(nn.Dense(width)(x))
        if self.still:
            return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(x)
        return nn.Dense(self.outputs)(x)


def perceptron(
    inputs: int, outputs: int, *, hidden: tuple[int, ...] = (), activation: str = "relu", still: bool = False
) -> Net:
    """Dense layers of these widths; without hidden ones, an affine map. A `still` one begins as 0 everywhere.

    Raises:
      InputError: a width that is not a whole number >= 1, an unknown activation.

    >>> import jax
    >>> net = perceptron(3, 2, hidden=(8,))
    >>> net.apply(net.init(jax.random.key(0)), jnp.ones((5, 3))).shape
    (5, 2)
    """
    for name, width in (("inputs", inputs), ("outputs", outputs), *(("hidden", w) for w in hidden)):
        whole(name, width)
    named(activation)
    module = Perceptron(outputs, tuple(hidden), activation, still)
    return Net(lambda key: module.init(key, jnp.zeros((1, inputs))), module.apply)
