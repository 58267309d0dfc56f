"""The images themselves as a search space."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError, number, one_of
from jleak.spaces.space import Space


def _patterned(key, shape, mean, std):
    n, h, w, c = shape
    patch = jax.random.normal(key, (n, 4, 4, c))
    return mean + std * jnp.tile(patch, (1, -(-h // 4), -(-w // 4), 1))[:, :h, :w]


STARTS: dict[str, Callable[..., Array]] = {
    "normal": lambda key, shape, mean, std: mean + std * jax.random.normal(key, shape),
    "uniform": lambda key, shape, mean, std: mean + std * jax.random.uniform(key, shape, minval=-1.0),
    "patterned": _patterned,
    "mean": lambda key, shape, mean, std: jnp.broadcast_to(jnp.asarray(mean, float), shape),
    "zeros": lambda key, shape, mean, std: jnp.zeros(shape),
}
"""name -> `(key, shape, mean, std) -> images`: where a search over pixels starts."""


def pixels(
    shape: tuple[int, int, int, int],
    *,
    mean: float | Float[Array, "..."],
    std: float,
    box: bool,
    start: str = "normal",
) -> Space:
    """The images themselves, started from noise or from a given image.

    Papers that work on normalised images state their starts for mean 0 and std 1: give the data's own mean
    and standard deviation here, or 1/2 and 1/4 where they are not known.

    Args:
      shape: (n, h, w, c).
      mean, std: of the start, in pixel units ([0, 1]); the mean may be an image (h, w, c), or one each.
      box: whether every step is projected to [0, 1].
      start: `"normal"`, N(mean, std^2); `"uniform"`, mean + std U(-1, 1); `"patterned"`, a 4x4 patch of
        N(mean, std^2) for every image, tiled over it (Wei et al., A Framework for Evaluating Gradient
        Leakage Attacks in Federated Learning, arXiv 2004.10397; `patterned-4` of breaching); `"mean"`, the
        mean itself (`zeros` of normalised papers); `"zeros"`, black.

    Raises:
      InputError: std is negative, an unknown start, a mean that does not fit the shape.

    >>> space = pixels((1, 2, 2, 1), mean=0.5, std=0.25, box=True)
    >>> space.decode(space.project(2 * jnp.ones((1, 2, 2, 1)))).max().item()
    1.0
    >>> x = pixels((1, 6, 8, 1), mean=0.5, std=0.25, box=True, start="patterned").init(jax.random.key(0))
    >>> bool(jnp.all(x[:, 4:] == x[:, :2]) & jnp.all(x[:, :, 4:] == x[:, :, :4]))
    True
    """
    number("std", std, least=0)
    first = STARTS[one_of("start", start, STARTS)]
    sides = zip(reversed(jnp.shape(mean)), reversed(shape), strict=False)
    if jnp.ndim(mean) > 4 or not all(side in (1, whole) for side, whole in sides):
        raise InputError(
            f"mean must be a number, or an image that fits {shape[1:]}, got the shape {jnp.shape(mean)}"
        )

    def init(key, prior=None):
        del prior
        return project(first(key, shape, mean, std))

    def project(x):
        return jnp.clip(x, 0.0, 1.0) if box else x

    return Space(init, lambda x, prior=None, y=None: x, project)
