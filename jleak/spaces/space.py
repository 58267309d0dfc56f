"""What a search space is: how a point starts, becomes images, and is kept legal."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float, PyTree

from jleak.types import Key, Labels, SoftLabels


class Space(NamedTuple):
    """A search space over images.

    Attributes:
      init: `(key, prior) -> point`, a random start; `prior` is the view's, such as a generator's weights.
      decode: `(point, prior, y) -> images` of shape (n, h, w, c), differentiable.
      project: `point -> point`, the nearest legal point; applied after every step.
      penalty: `point -> scalar`, how unlikely the point is beside others; added to the attacker's loss.
    """

    init: Callable[[Key, PyTree], PyTree]
    decode: Callable[[PyTree, PyTree, Labels | SoftLabels], Float[Array, "n h w c"]]
    project: Callable[[PyTree], PyTree]
    penalty: Callable[[PyTree], Float[Array, ""]] = lambda point: 0.0
