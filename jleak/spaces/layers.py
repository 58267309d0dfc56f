"""The features inside a generator as a search space."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jleak.check import InputError, number, whole
from jleak.spaces.space import Space
from jleak.types import Generator, Params


def layers(
    generator: Generator,
    stage: int,
    start: PyTree[Float[Array, "n ..."]],
    *,
    radius: Float[Array, ""],
    params: Params | None = None,
) -> Space:
    """The images that a generator makes of features near given ones: a point is what a stage of it takes.

    Every image's features stay within `radius`, in the l1 norm, of where they started (Euclidean projection:
    Duchi et al., ICML 2008, by optax).

    Source: Fang, Chen, Wang, Wang and Xia, "GIFD: A Generative Gradient Inversion Method with Feature Domain
    Optimization", ICCV 2023, section 3.3.

    Args:
      generator: see `jleak.priors`; the prior are its weights.
      stage: number of the stage that takes the features; 0 takes latents.
      start: the features to start from, one entry of the first axis an image; of a dict of them
        (`Generator.stages`) all are searched, in one ball.
      radius: of the ball.
      params: the weights where there is no prior.

    Raises:
      InputError: the generator has no such stage, a radius below 0.

    >>> double = Generator(lambda key: 2.0, (lambda w, z, y: w * z.reshape(-1, 1, 1, 1),), 1, (1, 1, 1))
    >>> space = layers(double, 0, jax.numpy.array([[1.0]]), radius=0.5)
    >>> space.decode(space.project(jax.numpy.array([[3.0]])), 2.0, None).ravel().tolist()
    [3.0]
    """
    whole("stage", stage, least=0)
    number("radius", radius, least=0)
    if stage >= len(generator.stages):
        raise InputError(
            f"stage must be below {len(generator.stages)}, the generator's stages, got stage={stage}"
        )

    def init(key, prior):
        del key, prior
        return start

    def decode(h, prior, y):
        return generator.after(stage, params if prior is None else prior, h, y)

    def near(h, center):
        apart = optax.projections.projection_l1_ball(jax.tree.map(jnp.subtract, h, center), radius)
        return jax.tree.map(jnp.add, center, apart)

    return Space(init, decode, lambda h: jax.vmap(near)(h, start))
