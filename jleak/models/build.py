"""From a Flax module to a `Model`: two pure functions and the facts beside them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, PyTree

from jleak.check import InputError, one_of, whole
from jleak.types import Key, Model, Params, Stage

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "relu": nn.relu,
    "leaky_relu": nn.leaky_relu,
    "gelu": nn.gelu,
    "softplus": nn.softplus,
}
"""Activation functions by name. Attacks differentiate twice: `relu` has a zero second derivative."""

HEAD = "head"
"""The name of the classifier's dense layer in every model of the catalog."""


def activation(name: str) -> Callable[[Array], Array]:
    """The activation function of that name.

    >>> float(activation("relu")(jnp.array(-1.0)))
    0.0
    """
    return ACTIVATIONS[one_of("activation", name, ACTIVATIONS)]


def zhu(scale: float = 0.5) -> Callable[..., Array]:
    """Uniform initialisation on (-scale, scale), as in DLG (Zhu et al., NeurIPS 2019).

    >>> w = zhu()(jax.random.key(0), (1000,))
    >>> bool(-0.5 <= w.min() < -0.49 and 0.49 < w.max() <= 0.5)
    True
    """

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -scale, scale)

    return init


INITS: dict[str, tuple[Callable, Callable]] = {
    "zhu": (zhu(), zhu()),
    "lecun": (nn.initializers.lecun_normal(), nn.initializers.zeros),
    "torch": (nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), nn.initializers.zeros),
    "he": (nn.initializers.variance_scaling(2.0, "fan_out", "normal"), nn.initializers.zeros),
}
"""Initialisations by name: (of kernels, of biases). `zhu` is uniform(-0.5, 0.5) for both.

`torch` is uniform on +-1/sqrt(fan_in), as in PyTorch's layers. `he` is normal with variance 2/fan_out (He et
al., ICCV 2015, eq. 14), as in PyTorch's ResNets, for layers that a ReLU follows; the classifier has `torch`.
"""


def initializers(name: str) -> dict[str, Callable]:
    """The `kernel_init` and `bias_init` arguments of a layer for the initialisation of that name.

    >>> sorted(initializers("lecun"))
    ['bias_init', 'kernel_init']
    """
    kernel, bias = INITS[one_of("init", name, INITS)]
    return {"kernel_init": kernel, "bias_init": bias}


def model(
    module: nn.Module,
    shape: tuple[int, int, int],
    classes: int,
    *,
    chain: tuple[tuple[str, ...], ...] = (),
    activation: str | None = None,
    sends_statistics: bool = False,
    stages: tuple[Stage, ...] = (),
) -> Model:
    """`module` as a `Model` for images of `shape` and `classes` classes.

    The module's classifier must be a dense layer named `"head"`. A module with `batch_stats` among its
    variables must leave the batch's statistics there when they are mutable (`jleak.models.norm.BatchNorm`).

    Args:
      module: a Flax module, `x -> logits`.
      shape: (h, w, c) of an image.
      classes: number of classes.
      chain, activation, sends_statistics, stages: what `Model` tells of itself.

    Raises:
      InputError: fewer than two classes, a shape that is not (h, w, c), or one too small for the module.
    """
    whole("classes", classes, least=2, hint="a classifier needs two classes or more")
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        raise InputError(f"shape must be (height, width, channels), got shape={shape}")
    for name, side in zip(("height", "width", "channels"), shape, strict=True):
        whole(name, side)
    dummy = jnp.zeros((1, *shape))

    def init(key):
        return module.init(key, dummy)

    variables = shapes(module, init, shape)
    if HEAD not in variables["params"]:
        raise InputError(f"{type(module).__name__} must name its classifier layer {HEAD!r}")
    return Model(
        init,
        module.apply,
        tuple(shape),
        classes,
        (HEAD,),
        head_input(module),
        chain,
        activation,
        batch_statistics(module) if "batch_stats" in variables else None,
        sends_statistics,
        stages,
    )


def shapes(module: nn.Module, init: Callable[[Key], Params], shape: tuple[int, int, int]) -> Params:
    """The shapes of the module's variables.

    Raises:
      InputError: a layer has no input left.
    """
    too_small = InputError(
        f"{type(module).__name__.lstrip('_')} cannot take images of shape {shape}: "
        "a layer shrinks to nothing; use larger images or another model"
    )
    try:
        variables = jax.eval_shape(init, jax.random.key(0))
    except ZeroDivisionError as error:  # an initialiser scales by a fan-in of 0, or a mean is of 0 pixels
        raise too_small from error
    if any(0 in leaf.shape for leaf in jax.tree.leaves(variables)):
        raise too_small
    return variables


def batch_statistics(module: nn.Module) -> Callable[[Params, Array], PyTree]:
    """`(params, x) -> statistics` of x at every BatchNorm layer, shaped like `params["batch_stats"]`."""

    def statistics(params, x):
        return module.apply(params, x, mutable=["batch_stats"])[1]["batch_stats"]

    return statistics


def head_input(module: nn.Module) -> Callable[[Params, Array], Array]:
    """`(params, x) -> h`, the input of the module's classifier layer: (n, width)."""

    def features(params, x):
        seen = []

        def keep(call, args, kwargs, context):
            if context.module.name == HEAD and context.method_name == "__call__":
                seen.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(keep):
            module.apply(params, x)
        return seen[0]

    return features
