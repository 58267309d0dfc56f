"""An update layer by layer: which layers a model has, in which order it runs them, what each one shares."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import tree
from jleak.check import InputError
from jleak.distances import tensor_order
from jleak.types import Model, Params

Rows = dict[str, Float[Array, "m p"]]
"""Of every layer, by name and input first, a matrix with a row an update."""


def layer_names(model: Model) -> tuple[str, ...]:
    """The model's layers in the order in which it runs them; a layer is what holds a kernel and its bias.

    Raises:
      InputError: the model's classifier is not the last layer: its `init` has lost the order.

    >>> from jleak.models import mlp
    >>> layer_names(mlp((2, 2, 1), 3))
    ('dense0', 'head')
    """
    return tuple(dict.fromkeys("/".join(path[:-1] or path) for path in tensor_order(model)))


def layer_sizes(model: Model) -> tuple[int, ...]:
    """How many entries each layer has, in the order of `layer_names`.

    >>> from jleak.models import mlp
    >>> layer_sizes(mlp((2, 2, 1), 3, hidden=4))
    (20, 15)
    """
    params = jax.eval_shape(model.init, jax.random.key(0))["params"]
    return tuple(tree.size(layer_of(name, params)) for name in layer_names(model))


def by_layer(names: tuple[str, ...], update: Params) -> tuple[Float[Array, " p"], ...]:
    """The update's entries, a flat vector for each of `names`: the layer's tensors one after the other.

    A tuple, as a dict that goes through a transformation of JAX comes back sorted.

    Args:
      names: of all its layers, from `layer_names`.
      update: nested dicts of arrays, shaped like `params["params"]`.

    Raises:
      InputError: the update has no such layer.

    >>> update = {"head": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}}
    >>> [part.shape for part in by_layer(("head",), update)]
    [(9,)]
    """
    return tuple(_flat(layer_of(name, update)) for name in names)


def layer_of(name: str, update: Params) -> Params:
    """The tensors of a layer, by name.

    Raises:
      InputError: the update has no such layer.

    >>> layer_of("block/conv", {"block": {"conv": {"bias": 0.5}}})
    {'bias': 0.5}
    """
    for part in name.split("/"):
        if not isinstance(update, Mapping) or part not in update:
            raise InputError(f"the update has no layer {name!r}; name those of its own model (layer_names)")
        update = update[part]
    return update


def _flat(layer: Params) -> Float[Array, " p"]:
    leaves = jax.tree.leaves(layer)  # of one layer: dicts by name, so bias before kernel
    return jnp.concatenate([leaf.ravel() for leaf in leaves])
