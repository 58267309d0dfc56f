"""Probes that look at a kernel's gradient filter by filter, so with few weights for large layers."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak.check import InputError, one_of, whole
from jleak.leakage.layers import Rows, layer_names, layer_of
from jleak.leakage.usable.families import Family, trained
from jleak.leakage.usable.rows import Split, check_rows, standardised
from jleak.models.perceptron import Net, perceptron
from jleak.types import Model

POOLS = ("flat", "mean")

MOST_ENTRIES = 2**31
"""Entries of all layers' rows together, filled up to one shape, beyond which the rows must be narrowed."""


def conv(
    *,
    shapes: Mapping[str, tuple[int, ...]],
    hidden: int = 16,
    pool: str = "mean",
    lr: float = 0.003,
    steps: int = 600,
    every: int = 5,
    batch: int = 128,
    decay: float = 1e-3,
) -> Family:
    """A dense layer with a ReLU shared by all filters of a kernel, then their mean or all, then a dense one.

    A filter is what feeds one output of the layer, its bias last. jleak's own choice of a small network for
    kernels: the mean over filters does not care which filter is which.

    Args:
      shapes: of each layer's kernel, outputs last (`kernel_shapes`).
      hidden: outputs of the shared layer.
      pool: `mean` over the filters, or `flat`: all of them, side by side.
      lr, steps, every, batch, decay: as of `mlp`.

    Raises:
      InputError: a number out of bounds, an unknown `pool`; later, rows that are not whole gradients of
        layers of these shapes, but sketches, say.

    >>> family = conv(shapes={"conv0": (3, 3, 1, 4)}, hidden=8)
    >>> family.stack({"conv0": jnp.ones((3, 40))}, np.arange(3)).shape
    (1, 3, 4, 11)
    """
    whole("hidden", hidden)
    one_of("pool", pool, POOLS)

    def stack(rows: Rows, split: Split) -> Float[Array, "layers m filters q"]:
        return _filters(rows, split, shapes)

    def build(shape, classes):
        return _shared(shape, classes, hidden, pool)

    return trained(build, stack, lr=lr, steps=steps, every=every, batch=batch, decay=decay)


def kernel_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """The shape of each layer's kernel, or of what scales in a layer that normalises, outputs last.

    >>> from jleak.models import mlp
    >>> kernel_shapes(mlp((2, 2, 1), 3, hidden=5))
    {'dense0': (4, 5), 'head': (5, 3)}
    """
    params = jax.eval_shape(model.init, jax.random.key(0))["params"]
    found = {}
    for name in layer_names(model):
        found[name] = max((leaf.shape for leaf in jax.tree.leaves(layer_of(name, params))), key=len)
    return found


def spatial_kernels(model: Model) -> dict[str, tuple[int, ...] | None]:
    """The shape of each layer's kernel where it slides over an image: (height, width, inputs, outputs).

    None for a layer whose gradient has no such shape: dense layers, those that normalise, embeddings.

    >>> from jleak.models import lenet
    >>> list(spatial_kernels(lenet((8, 8, 1), 10)).values())
    [(5, 5, 1, 12), (5, 5, 12, 12), (5, 5, 12, 12), None]
    """
    return {name: shape if len(shape) == 4 else None for name, shape in kernel_shapes(model).items()}


def _filters(
    rows: Rows, split: Split, shapes: Mapping[str, tuple[int, ...]]
) -> Float[Array, "layers m filters q"]:
    """Every layer as filters, filled up to one shape; the last entry of each is 1, of missing ones 0."""
    check_rows(rows, split)
    parts = {name: _parts(name, x, shapes) for name, x in rows.items()}
    filters, q = (max(sizes) for sizes in zip(*parts.values(), strict=True))
    entries = len(rows) * len(split) * filters * (q + 1)
    if entries > MOST_ENTRIES:
        raise InputError(
            f"rows by filters must have at most {MOST_ENTRIES:.0e} entries over all layers, got "
            f"{entries:.0e}; leave out the widest layer, or narrow the rows and take the family 'mlp'"
        )
    stacks = []
    for name, x in rows.items():
        f, size = parts[name]
        z = standardised(x, split)
        biased = z.shape[1] == f * size
        bias = z[:, None, :f] if biased else jnp.zeros((len(z), 1, f))
        kernel = (z[:, f:] if biased else z).reshape(len(z), size - 1, f)
        each = jnp.concatenate([kernel, bias], 1).swapaxes(1, 2)
        each = jnp.pad(each, ((0, 0), (0, 0), (0, q - size)))
        each = jnp.concatenate([each, jnp.ones((*each.shape[:2], 1))], 2)
        stacks.append(jnp.pad(each, ((0, 0), (0, filters - f), (0, 0))))
    return jnp.stack(stacks)


def _parts(name: str, x: Array, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """How many filters a layer has, and entries a filter, a bias included."""
    if name not in shapes:
        raise InputError(
            f"shapes must have the kernel of each layer, got none for {name!r}; it has {', '.join(shapes)} "
            "(take kernel_shapes(model), and layers one by one)"
        )
    f, size = shapes[name][-1], int(np.prod(shapes[name]))
    if x.shape[1] not in (size, size + f):
        raise InputError(
            f"layer {name!r} must have rows of {size} or {size + f} entries, kernel {shapes[name]} without "
            f"or with its bias, got {x.shape[1]}; give whole gradients, or, for rows that are sketches or "
            "components, take the family 'mlp'"
        )
    return f, size // f + 1


def _shared(shape: tuple[int, ...], classes: int, hidden: int, pool: str) -> Net:
    filters, width = shape
    each = perceptron(width - 1, hidden)
    head = perceptron(hidden * (filters if pool == "flat" else 1), classes, still=True)

    def init(key):
        k_each, k_head = jax.random.split(key)
        return {"each": each.init(k_each), "head": head.init(k_head)}

    def apply(params, x):
        there = x[..., -1:]
        h = jax.nn.relu(each.apply(params["each"], x[..., :-1])) * there
        h = h.reshape(*h.shape[:-2], -1) if pool == "flat" else h.sum(-2) / there.sum(-2)
        return head.apply(params["head"], h)

    return Net(init, apply)
