"""Inner products of gradients without the gradients.

The gradient of a dense layer or convolution is A^T D: what its kernel multiplies (for a convolution its
patches), a row a position, times what comes back through its output. So, with T of the kernel's shape,

    <A^T D, T> = <D, A T>          ||A^T D||^2 = <A A^T, D D^T>

and neither needs A^T D itself, which has as many numbers as the kernel, for every candidate of an attack
(Goodfellow, "Efficient Per-Example Gradient Computations", arXiv 1510.01799, has the norm of a dense layer;
`jleak.models.linear` the products of A). A T multiplies all candidates with one shared matrix. It pays where
positions are few beside the kernel's sides: in dense layers and the late layers of convolutional networks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from jleak import tree
from jleak.models.linear import Geometry, geometry, gram, through
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
    """A dense layer or convolution that was called once.

    Attributes:
      x: what it was given.
      out: its output.
    """

    x: Float[Array, "n ..."]
    out: Float[Array, "..."]


class Paying(NamedTuple):
    """A layer whose products are cheaper than its gradient.

    Attributes:
      geometry: how it reads what it is given.
      out: shape and dtype of its output.
      size: entries of its kernel.
    """

    geometry: Geometry
    out: jax.ShapeDtypeStruct
    size: int


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
    paying = layers_that_pay(model, params, batch.x)
    weights = flatten_dict(params["params"])
    formed = {path: leaf for path, leaf in weights.items() if path[:-1] not in paying}
    nudges = {path: jnp.zeros(layer.out.shape, layer.out.dtype) for path, layer in paying.items()}

    def objective(formed, nudges):
        variables = {**params, "params": unflatten_dict({**weights, **formed})}
        logits, layers, _ = tapped(model, variables, batch.x, nudges)
        return loss(logits, batch.y), {path: layers[path].x for path in nudges}

    (gradient, backs), inputs = jax.grad(objective, (0, 1), has_aux=True)(formed, nudges)
    observed = flatten_dict(update)
    dots = [tree.dot(gradient, {path: observed[path] for path in formed})]
    squares = [tree.dot(gradient, gradient)]
    for path, x in inputs.items():
        layer, kernel = paying[path].geometry, observed[*path, "kernel"]
        d = backs[path].reshape(-1, kernel.shape[-1])
        dots.append(jnp.sum(d * through(layer, x, kernel)))
        squares.append(jnp.sum(gram(layer, x) * (d @ d.T)))
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
    return sum(layer.size for layer in layers_that_pay(model, params, x).values()) >= WORTH


def layers_that_pay(model: Model, params: Params, x: Float[Array, "n h w c"]) -> dict[Path, Paying]:
    """The layers whose Gram matrices cost less than their gradient, by path.

    With P positions and a kernel of K x O: P^2 (K + O) < P K O multiplications. At stride 1 the Gram matrix
    costs less than that says; so does the gradient by Winograd's transforms.
    """
    geometries = {}

    def layers(params, x):
        _, found, how = tapped(model, params, x, {})
        geometries.update(how)
        return found

    found, kernels, paying = jax.eval_shape(layers, params, x), flatten_dict(params["params"]), {}
    for path, layer in found.items():
        size, out = kernels[*path, "kernel"].size, layer.out.shape[-1]
        positions, width = layer.out.size // out, size // out
        if positions * (width + out) < size:
            paying[path] = Paying(geometries[path], layer.out, size)
    return paying


def tapped(
    model: Model, params: Params, x: Array, nudges: dict[Path, Array]
) -> tuple[Array, dict[Path, Layer], dict[Path, Geometry]]:
    """The logits with `nudges` added to the outputs of the layers that they name; all layers; their geometry.

    Layers that cannot be tapped are left out: one that is called twice, convolutions with groups, dilation or
    a mask.
    """
    layers, how, calls = {}, {}, []

    def keep(call, args, kwargs, context):
        out = call(*args, **kwargs)
        module = context.module
        layer = geometry(module) if context.method_name == "__call__" else None
        if layer is None:
            return out
        calls.append(module.path)
        layers[module.path], how[module.path] = Layer(args[0], out), layer
        return out + nudges[module.path] if module.path in nudges else out

    with nn.intercept_methods(keep):
        logits = model.apply(params, x)
    return logits, {path: layer for path, layer in layers.items() if calls.count(path) == 1}, how
