"""A layer of a plain sequence as the linear system that its gradient and its output put on its input.

A dense layer counts as a convolution of an image of one pixel, so there is one kind of layer. With x its
input, k = dL/dz its residual and z its output:

    K x = dW    gradient constraints, dW = sum over positions of patch(x) k
    A x = z - b    weight constraints
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError, one_of
from jleak.models.conv import patches
from jleak.types import Model, Params, Stage

LEAK = 0.01
"""The slope of leaky ReLU below 0, as Flax has it."""

EDGE = 1e-12
"""So far from the ends of its range an activation's value is kept before it is inverted."""


class Invertible(NamedTuple):
    """An activation that has an inverse.

    Attributes:
      value: z -> h.
      inverse: h -> z; values beyond the range of h are taken to its end.
      slope: act'(z) as a function of h.
    """

    value: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _logit(h):
    h = jnp.clip(h, EDGE, 1.0 - EDGE)
    return jnp.log(h) - jnp.log1p(-h)


ACTIVATIONS = {
    "sigmoid": Invertible(jax.nn.sigmoid, _logit, lambda h: jnp.clip(h * (1.0 - h), EDGE)),
    "tanh": Invertible(
        jnp.tanh,
        lambda h: jnp.arctanh(jnp.clip(h, EDGE - 1.0, 1.0 - EDGE)),
        lambda h: jnp.clip(1.0 - h * h, EDGE),
    ),
    "softplus": Invertible(
        jax.nn.softplus,
        lambda h: jnp.log(jnp.expm1(jnp.clip(h, EDGE))),
        lambda h: -jnp.expm1(-jnp.clip(h, EDGE)),
    ),
    "leaky_relu": Invertible(
        lambda z: jnp.where(z > 0, z, LEAK * z),
        lambda h: jnp.where(h > 0, h, h / LEAK),
        lambda h: jnp.where(h > 0, 1.0, LEAK),
    ),
}
"""The activations that can be gone through backwards."""


class Layer(NamedTuple):
    """A layer and its gradient, as a convolution.

    Attributes:
      kernel, bias: the layer; bias zeros without one.
      dw: the kernel's gradient, of its shape.
      where: (pixels, i, j, a, b), 1 where input pixel p is under entry (a, b) of the kernel at output (i, j).
      shape: (h, w, c) of the input; (1, 1, width) of a dense layer.
    """

    kernel: Float[Array, "a b c o"]
    bias: Float[Array, " o"]
    dw: Float[Array, "a b c o"]
    where: Float[Array, "p i j a b"]
    shape: tuple[int, int, int]


def stages(model: Model) -> tuple[Stage, ...]:
    """The model's sequence of layers.

    Raises:
      InputError: it declares none, or an activation without inverse between them.
    """
    found = model.stages or tuple(Stage(path) for path in model.chain)
    if not found:
        raise InputError(
            "rgap goes down a plain sequence of layers, and this model declares none (Model.stages, "
            "Model.chain): it pools, normalises or branches; use model=lenet or mlp, or attack=inverting"
        )
    if len(found) > 1:
        one_of(
            "activation of rgap", model.activation, ACTIVATIONS, hint="others, as ReLU, cannot be inverted"
        )
    return found


def layers(model: Model, params: Params, update: Params) -> list[Layer]:
    """The model's layers and their gradients, the input's first.

    Raises:
      InputError: as `stages`; a declared layer is not in the parameters or in the update.
    """
    shape, found = model.shape, []
    for stage in stages(model):
        layer, grad = (at(tree, stage.path) for tree in (params["params"], update))
        kernel, dw = layer["kernel"], grad["kernel"]
        if kernel.ndim == 2:
            shape = (1, 1, kernel.shape[0])
            kernel, dw = kernel[None, None], dw[None, None]
        bias = layer.get("bias", jnp.zeros(kernel.shape[3], kernel.dtype))
        h, w, c = shape
        pixels = jnp.eye(h * w, dtype=kernel.dtype).reshape(h * w, h, w, 1)
        pads = [(stage.padding, stage.padding)] * 2
        where = patches(pixels, kernel.shape[:2], (stage.stride, stage.stride), pads)[..., 0]
        found.append(Layer(kernel, bias, dw, where, shape))
        shape = (*where.shape[1:3], kernel.shape[3])
    return found


def at(tree: Params, path: tuple[str, ...]) -> Params:
    """The layer at that path.

    Raises:
      InputError: there is none.
    """
    for name in path:
        if name not in tree:
            raise InputError(
                f"the model declares a layer at {'/'.join(path)!r}, but the update (or parameters) given has "
                f"no {name!r} there, only: {', '.join(map(str, tree))}; give this model's own"
            )
        tree = tree[name]
    return tree


def weights(layer: Layer) -> Float[Array, "out in"]:
    """A: the layer as a matrix, from its flat input to its flat output."""
    matrix = jnp.einsum("pijab,abco->ijopc", layer.where, layer.kernel)
    return matrix.reshape(-1, matrix.shape[3] * matrix.shape[4])


def spread(layer: Layer, k: Float[Array, " out"]) -> Float[Array, "p abo"]:
    """K^T for one input channel; every channel has the same."""
    i, j = layer.where.shape[1:3]
    found = jnp.einsum("pijab,ijo->pabo", layer.where, k.reshape(i, j, -1))
    return found.reshape(len(found), -1)


def columns(layer: Layer) -> Float[Array, "abo c"]:
    """dW with a column an input channel, as K x gives it."""
    return jnp.moveaxis(layer.dw, 2, 3).reshape(-1, layer.dw.shape[2])


def forward(parts: list[Layer], act: Invertible, x: Float[Array, "..."]) -> list[Float[Array, " in"]]:
    """The flat inputs of all layers, then the logits."""
    inputs = [x.ravel()]
    for layer in parts:
        z = weights(layer) @ inputs[-1] + bias_of(layer)
        inputs.append(z if layer is parts[-1] else act.value(z))
    return inputs


def bias_of(layer: Layer) -> Float[Array, " out"]:
    """The bias at every flat output."""
    return jnp.tile(layer.bias, layer.where.shape[1] * layer.where.shape[2])
