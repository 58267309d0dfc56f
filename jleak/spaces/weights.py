"""The weights of a generator as a search space."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jleak.spaces.space import Space
from jleak.types import Generator, Params


def weights(generator: Generator, z: Float[Array, "n latent"], *, params: Params | None = None) -> Space:
    """The images that generators make of given latents: a point is a set of weights for every image.

    All start from the prior, the generator's own weights. Of Flax variables the collection `params` moves:
    statistics and other constants stay, as in the reference code.

    Source: Jeon, Kim, Lee, Oh and Ok, "Gradient Inversion with Generative Image Prior", NeurIPS 2021, section
    3.2: once the latents are found, the generator itself is moved.

    Args:
      generator: see `jleak.priors`.
      z: the latents, which stay.
      params: the weights where there is no prior.

    >>> double = Generator(lambda key: 2.0, (lambda w, z, y: w * z.reshape(-1, 1, 1, 1),), 1, (1, 1, 1))
    >>> space = weights(double, jnp.array([[1.0], [3.0]]))
    >>> w = space.init(jax.random.key(0), jnp.array(2.0))
    >>> w.tolist(), space.decode(w, None, None).ravel().tolist()
    ([2.0, 2.0], [2.0, 6.0])
    """

    def init(key, prior):
        del key
        moved, _ = parted(params if prior is None else prior)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(z), *jnp.shape(leaf))), moved)

    def decode(w, prior, y):
        _, whole = parted(params if prior is None else prior)

        def one(w, z, y):
            return generator.apply(whole(w), z[None], None if y is None else y[None])[0]

        return jax.vmap(one, (0, 0, None if y is None else 0))(w, z, y)

    return Space(init, decode, lambda w: w)


def parted(given: Params | None) -> tuple[PyTree, Callable[[PyTree], Params]]:
    """(what moves, from what has moved to all variables).

    >>> moved, whole = parted({"params": 1, "batch_stats": 2})
    >>> moved, whole(3)
    (1, {'params': 3, 'batch_stats': 2})
    """
    if isinstance(given, dict) and "params" in given:
        return given["params"], lambda moved: {**given, "params": moved}
    return given, lambda moved: moved
