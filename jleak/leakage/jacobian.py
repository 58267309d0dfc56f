"""The derivative of what a client shares by its images, layer by layer, without ever holding it.

J is the matrix of d vec(update) / d vec(images), one row an entry of the update, one column a pixel of the
batch. A JVP gives J v for about the price of an update, a VJP J^T u.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import whole
from jleak.leakage.layers import by_layer, layer_names
from jleak.leakage.projection import components
from jleak.types import Batch, Client, Key, Model, Params

Layered = tuple[Float[Array, " p"], ...]
"""A vector for each layer, input first (`jleak.leakage.layers.by_layer`)."""


class Linear(NamedTuple):
    """A client's update at a batch, and its derivative there.

    Attributes:
      update: of each layer, input first.
      push: `v -> J v` by layer, v shaped like the batch's images.
      pull: `u -> J^T u`, u by layer; shaped like the images.
    """

    update: Layered
    push: Callable[[Float[Array, "n h w c"]], Layered]
    pull: Callable[[Layered], Float[Array, "n h w c"]]


def linear(key: Key, model: Model, client: Client, params: Params, batch: Batch) -> Linear:
    """The update of a client, defended or not, and its derivative by the images; its randomness held fixed.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jnp.ones((1, 2, 2, 1)), jnp.array([2]))
    >>> found = linear(jax.random.key(0), model, fedsgd(model, cross_entropy), model.init(jax.random.key(1)),
    ...     batch)
    >>> [part.shape for part in found.push(batch.x)]
    [(20,), (15,)]
    """
    names = layer_names(model)

    def shared(x):
        return by_layer(names, client(key, params, Batch(x, batch.y)))

    update, push = jax.linearize(shared, batch.x)
    transposed = jax.linear_transpose(push, batch.x)
    return Linear(update, push, lambda u: transposed(u)[0])


def factor(x: Float[Array, "m h w c"], k: int) -> Float[Array, "k d"]:
    """How images vary: a factor F of the covariance of their pixels, F^T F, from its `k` leading components.

    So images are taken for mean + z F, z ~ N(0, I): a Gaussian with the data's covariance. Rows by falling
    length; those beyond what the sample can tell are 0.

    Args:
      x: images that the distribution is known from, at least two.
      k: how many directions; the smaller, the cheaper what is computed with it, and the lower the
        information about images (directions that are left out count as known).

    Raises:
      InputError: fewer than two images, or k is not a whole number >= 1.

    >>> found = factor(jnp.array([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1), 1)
    >>> round(abs(found.item()), 3)
    0.816
    """
    whole("images", len(x), least=2, hint="a covariance needs two images")
    axes = components(x.reshape(len(x), -1), k).axes
    length = (axes**2).sum(1, keepdims=True)
    return axes / jnp.where(length > 0, length, 1.0)


def randomness(
    key: Key, model: Model, client: Client, params: Params, batch: Batch, *, draws: int = 8
) -> Float[Array, " layers"]:
    """How much chance there is in what a client shares: deviation of an entry of each layer, over its keys.

    The root mean square over a layer's entries; 0 for a client that draws nothing. The noise of a defense, a
    dropout, a random order of local steps alike.

    Raises:
      InputError: `draws` is not a whole number >= 2.

    >>> from jleak.defenses.noise import gaussian
    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((8, 8, 1), 10, hidden=64)
    >>> client = gaussian(sigma=0.5)(fedsgd(model, cross_entropy))
    >>> params, batch = model.init(jax.random.key(1)), Batch(jnp.ones((1, 8, 8, 1)), jnp.array([2]))
    >>> randomness(jax.random.key(0), model, client, params, batch).round(1).tolist()
    [0.5, 0.5]
    """
    whole("draws", draws, least=2, hint="a deviation needs two updates")
    names = layer_names(model)
    keys = jax.random.split(key, draws)
    found = jax.lax.map(lambda key: by_layer(names, client(key, params, batch)), keys)
    apart = (rows - rows[0] for rows in found)  # so that equal updates differ by nothing at all
    return jnp.stack([jnp.sqrt(jnp.var(rows, axis=0, ddof=1).mean()) for rows in apart])
