"""Inner products of gradients without the gradients.

The gradient of a dense layer or convolution is A^T D: what its kernel multiplies (for a convolution its
patches), a row a position, times what comes back through its output. So, with T of the kernel's shape,

    <A^T D, T> = <D, A T>          ||A^T D||^2 = <A A^T, D D^T>

and neither needs A^T D itself, which has as many numbers as the kernel, for every candidate of an attack
(Goodfellow, "Efficient Per-Example Gradient Computations", arXiv 1510.01799, has the norm of a dense layer).
A T multiplies all candidates with one shared matrix. It pays where positions are few beside the kernel's
sides: in dense layers and the late layers of convolutional networks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from jleak import tree
from jleak.models.conv import patches
from jleak.types import Batch, Loss, Model, Params

Path = tuple[str, ...]

WORTH = 100_000
"""So many weights in layers where products pay make up for float32's digits, which products lose near 0."""


class Products(NamedTuple):
    """Inner products of two updates, over all leaves.

    Attributes:
      dot: <a, b>.
      a, b: ||a||^2, ||b||^2.
    """

    dot: Float[Array, ""]
    a: Float[Array, ""]
    b: Float[Array, ""]


class Layer(NamedTuple):
    """A dense layer or convolution as it was called.

    Attributes:
      rows: what its kernel multiplies, (positions of all images, fan-in).
      out: its output.
    """

    rows: Float[Array, "positions width"]
    out: Float[Array, "..."]


def products(model: Model, loss: Loss, params: Params, batch: Batch, update: Params) -> Products:
    """Inner products of the gradient on `batch` with `update`; differentiable in the batch.

    What `tree.dot` gives on the gradient of `clients.fedsgd`, without forming that of the layers where
    this pays (`layers_that_pay`).

    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((4, 4, 1), 10, hidden=64)
    >>> params, batch = model.init(jax.random.key(0)), Batch(jnp.ones((1, 4, 4, 1)), jnp.array([2]))
    >>> g = jax.grad(lambda w: cross_entropy(model.apply({"params": w}, batch.x), batch.y))(params["params"])
    >>> found = products(model, cross_entropy, params, batch, g)
    >>> [bool(jnp.allclose(value, tree.dot(g, g))) for value in found]
    [True, True, True]
    """
    shapes = layers_that_pay(model, params, batch.x)
    weights = flatten_dict(params["params"])
    formed = {path: leaf for path, leaf in weights.items() if path[:-1] not in shapes}
    nudges = {path: jnp.zeros(layer.out.shape, layer.out.dtype) for path, layer in shapes.items()}

    def objective(formed, nudges):
        variables = {**params, "params": unflatten_dict({**weights, **formed})}
        logits, layers = tapped(model, variables, batch.x, nudges)
        return loss(logits, batch.y), {path: layers[path].rows for path in nudges}

    (gradient, backs), rows = jax.grad(objective, (0, 1), has_aux=True)(formed, nudges)
    observed = flatten_dict(update)
    dots = [tree.dot(gradient, {path: observed[path] for path in formed})]
    squares = [tree.dot(gradient, gradient)]
    for path, a in rows.items():
        d = backs[path].reshape(len(a), -1)
        dots.append(jnp.sum(d * (a @ observed[*path, "kernel"].reshape(-1, d.shape[1]))))
        squares.append(jnp.sum((a @ a.T) * (d @ d.T)))
        if (*path, "bias") in observed:
            dots.append(d.sum(0) @ observed[*path, "bias"])
            squares.append(jnp.sum(d.sum(0) ** 2))
    return Products(tree.total(dots), tree.total(squares), tree.dot(update, update))


def pays(model: Model, n: int) -> bool:
    """Whether `products` of a batch of n images are worth their lost digits: `WORTH` weights or more.

    >>> from jleak.models import lenet, mlp
    >>> pays(lenet((32, 32, 3), 10), 1), pays(mlp((32, 32, 3), 10, hidden=512), 1)
    (False, True)
    """
    params = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((n, *model.shape), jnp.float32)
    found = layers_that_pay(model, params, x).values()
    return sum(layer.rows.shape[1] * layer.out.shape[-1] for layer in found) >= WORTH


def layers_that_pay(model: Model, params: Params, x: Float[Array, "n h w c"]) -> dict[Path, Layer]:
    """Shapes of the layers whose Gram matrices cost less than their gradient, by path.

    With P positions and a kernel of K x O: P^2 (K + O) < P K O multiplications.
    """
    layers = jax.eval_shape(lambda params, x: tapped(model, params, x, {})[1], params, x)

    def gains(layer):
        (positions, width), out = layer.rows.shape, layer.out.shape[-1]
        return positions * (width + out) < width * out

    return {path: layer for path, layer in layers.items() if gains(layer)}


def tapped(
    model: Model, params: Params, x: Array, nudges: dict[Path, Array]
) -> tuple[Array, dict[Path, Layer]]:
    """The logits with `nudges` added to the outputs of the layers that they name, and all layers by path.

    Layers that cannot be tapped are left out: one that is called twice, convolutions with groups, dilation or
    a mask.
    """
    layers, calls = {}, []

    def keep(call, args, kwargs, context):
        out = call(*args, **kwargs)
        module = context.module
        if context.method_name != "__call__" or not tappable(module):
            return out
        calls.append(module.path)
        layers[module.path] = Layer(rows(module, args[0]), out)
        return out + nudges[module.path] if module.path in nudges else out

    with nn.intercept_methods(keep):
        logits = model.apply(params, x)
    return logits, {path: layer for path, layer in layers.items() if calls.count(path) == 1}


def tappable(module: nn.Module) -> bool:
    """Whether the module is a dense layer or a plain convolution of images."""
    if isinstance(module, nn.Dense):
        return True
    if not isinstance(module, nn.Conv) or len(module.kernel_size) != 2 or module.mask is not None:
        return False
    plain = {module.input_dilation, module.kernel_dilation, module.feature_group_count} <= {1, None, (1, 1)}
    return plain and module.padding not in ("CIRCULAR", "CAUSAL", "REFLECT")


def rows(module: nn.Module, x: Array) -> Float[Array, "positions width"]:
    """What the layer's kernel multiplies: a row an output position, one image after the other."""
    if isinstance(module, nn.Conv):
        padding, strides = module.padding, module.strides or 1
        strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
        if not isinstance(padding, str):
            sides = (padding, padding) if isinstance(padding, int) else padding
            padding = [(side, side) if isinstance(side, int) else side for side in sides]
        x = patches(x, tuple(module.kernel_size), strides, padding)
        return x.reshape(x.shape[0] * x.shape[1] * x.shape[2], -1)
    return x.reshape(-1, x.shape[-1])
