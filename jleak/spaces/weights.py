"""The weights of a generator as a search space."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.spaces.space import Space
from jleak.types import Generator, Params


def weights(generator: Generator, z: Float[Array, "n latent"], *, params: Params | None = None) -> Space:
    """The images that generators make of given latents: a point is a set of weights for every image.

    All start from the prior, the generator's own weights.

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
        given = params if prior is None else prior
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(z), *jnp.shape(leaf))), given)

    def decode(w, prior, y):
        del prior

        def one(w, z, y):
            return generator.apply(w, z[None], None if y is None else y[None])[0]

        return jax.vmap(one, (0, 0, None if y is None else 0))(w, z, y)

    return Space(init, decode, lambda w: w)
