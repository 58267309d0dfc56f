"""The latents of a generator as a search space."""

import jax
import jax.numpy as jnp

from jleak.check import number, one_of
from jleak.spaces.space import Space
from jleak.types import Generator, Params

BOUNDS = ("none", "tanh", "box")
REGULARS = ("none", "kl", "norm")


def latent(
    generator: Generator,
    n: int,
    *,
    start: str = "normal",
    bound: str = "none",
    limit: float = 2.0,
    regular: str = "kl",
    weight: float = 0.1,
    params: Params | None = None,
) -> Space:
    """The images that a generator makes: a point is n latents, the prior are the generator's weights.

    Source: Li, Zhang, Liu and Liu, "Auditing Privacy Defenses in Federated Learning via Generative Gradient
    Leakage", CVPR 2022, section 3; its reference code for the bounds and for the epsilon in the logarithm.

    Args:
      generator: see `jleak.priors`.
      n: images.
      start: `"normal"`, N(0, I); `"zeros"`, the mean of that.
      bound: `"none"`; `"tanh"`, the generator is given tanh(z); `"box"`, every step is projected to
        [-limit, limit] (the truncation of Brock et al., ICLR 2019, as a constraint).
      limit: of the box.
      regular: R1 `"kl"`, -1/2 (1 + log s^2 - m^2 - s^2) with m and s^2 the mean and variance of a latent's
        entries, taken for samples; R2 `"norm"`, (||z||^2 - k)^2 for k entries; `"none"`. Summed over images.
      weight: of it.
      params: the weights where there is no prior.

    Raises:
      InputError: an unknown name, a limit not above 0, a weight below 0.

    >>> double = Generator(lambda key: 2.0, (lambda w, z, y: w * z.reshape(-1, 1, 1, 1),), 1, (1, 1, 1))
    >>> space = latent(double, 3, bound="box", limit=0.25)
    >>> space.decode(space.project(jnp.ones((3, 1))), 2.0, None).ravel().tolist()
    [0.5, 0.5, 0.5]
    """
    one_of("start", start, ("normal", "zeros"))
    one_of("bound", bound, BOUNDS)
    one_of("regular", regular, REGULARS)
    number("limit", limit, above=0)
    number("weight", weight, least=0)
    draw = jax.random.normal if start == "normal" else lambda key, shape: jnp.zeros(shape)
    term = {"none": lambda z: 0.0, "kl": kl, "norm": shell}[regular]

    def init(key, prior):
        del prior
        return project(draw(key, (n, generator.latent)))

    def decode(z, prior, y):
        return generator.apply(params if prior is None else prior, jnp.tanh(z) if bound == "tanh" else z, y)

    def project(z):
        return jnp.clip(z, -limit, limit) if bound == "box" else z

    return Space(init, decode, project, lambda z: weight * term(z))


def kl(z: jax.Array) -> jax.Array:
    """R1 of GGL, summed over images: 0 where a latent's entries have mean 0 and variance 1.

    >>> bool(abs(kl(jnp.array([[1.0, -1.0]]))) < 1e-6)
    True
    """
    m, v = z.mean(-1), z.var(-1)
    return jnp.sum(-0.5 * (1 + jnp.log(v + 1e-10) - m**2 - v))


def shell(z: jax.Array) -> jax.Array:
    """R2 of GGL, summed over images: 0 where the squared length of a latent is the number of its entries.

    >>> float(shell(jnp.array([[1.0, -1.0], [2.0, 0.0]])))
    4.0
    """
    return jnp.sum((jnp.square(z).sum(-1) - z.shape[-1]) ** 2)
