"""Where a search looks for images: how a point starts, becomes images, and is kept legal."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jleak.check import number
from jleak.types import Key


class Space(NamedTuple):
    """A search space over images.

    Attributes:
      init: `key -> point`, a random start.
      decode: `point -> images` of shape (n, h, w, c), differentiable.
      project: `point -> point`, the nearest legal point; applied after every step.
    """

    init: Callable[[Key], PyTree]
    decode: Callable[[PyTree], Float[Array, "n h w c"]]
    project: Callable[[PyTree], PyTree]


def pixels(shape: tuple[int, int, int, int], *, mean: float, std: float, box: bool) -> Space:
    """The images themselves, started from N(mean, std^2) noise.

    Args:
      shape: (n, h, w, c).
      mean, std: of the start, in pixel units ([0, 1]).
      box: whether every step is projected to [0, 1].

    Raises:
      InputError: std is negative.

    >>> space = pixels((1, 2, 2, 1), mean=0.5, std=0.25, box=True)
    >>> space.decode(space.project(2 * jnp.ones((1, 2, 2, 1)))).max().item()
    1.0
    """
    number("std", std, least=0)

    def init(key):
        start = mean + std * jax.random.normal(key, shape)
        return project(start)

    def project(x):
        return jnp.clip(x, 0.0, 1.0) if box else x

    return Space(init, lambda x: x, project)
