"""Random search: the floor under every other search."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import number, whole
from jleak.search.engine import Engine, Search
from jleak.search.pool import reader, scored
from jleak.tree import draws, stream
from jleak.types import Key, View


class Draws(NamedTuple):
    """The state of a random search.

    Attributes:
      origin: the start.
      fixed: what was inferred at the start (labels).
      best: the point of lowest loss among those evaluated; the start, before the first finite one.
      loss: that loss; infinity before the first finite one.
      evaluations: objective evaluations so far.
    """

    origin: PyTree
    fixed: PyTree
    best: PyTree
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


def random_search(
    objective: Callable[[Key, PyTree, PyTree, View], Float[Array, ""]],
    start: Callable[[Key, View], tuple[PyTree, PyTree]],
    decode: Callable[[PyTree, PyTree, View], tuple[Array, Array]],
    *,
    population: int,
    steps: int,
    cost: int = 1,
    project: Callable[[PyTree], PyTree] = lambda point: point,
    std: float | None = None,
    chunk: int | None = None,
) -> Search:
    """The best of independent points.

    Args:
      objective, start, decode, cost, project: as for `jleak.search.descend`.
      population: points a step.
      steps: how often as many are drawn.
      std: None for points that `start` draws, each anew; a number for N(start, std^2); may be traced.
      chunk: points evaluated at once; None for all.

    Raises:
      InputError: population, steps or chunk < 1; std not above 0.

    >>> search = random_search(lambda key, p, _, view: (p - view) ** 2,
    ...                        lambda key, view: (jax.random.uniform(key), ()),
    ...                        lambda p, fixed, view: (p, None), population=50, steps=20)
    >>> abs(float(search(jax.random.key(0), 0.3).x) - 0.3) < 0.01
    True
    """
    whole("population", population)
    whole("steps", steps)
    whole("chunk", 1 if chunk is None else chunk)
    number("std", 1.0 if std is None else std, above=0)

    def init(key, view):
        point, fixed = start(key, view)
        return Draws(point, fixed, point, jnp.array(jnp.inf), jnp.array(0))

    def drawn(key, origin, view):
        if std is None:
            return start(key, view)[0]
        return jax.tree.map(lambda leaf, z: leaf + std * z, origin, draws(jax.random.normal, key, origin))

    def step(key, t, state, view):
        del t
        keys = jax.random.split(stream(key, "draws"), population)
        points = jax.vmap(lambda k: project(drawn(k, state.origin, view)))(keys)
        losses, state = scored(objective, chunk, cost, key, points, state, view)
        return state, jnp.min(losses)

    return Search(init, step, reader(decode), steps)


def drawing(*, population: int, **settings: Any) -> Engine:
    """The engine that draws at random (`random_search`).

    >>> drawing(population=16).keywords
    {'population': 16}
    """
    whole("population", population)
    return functools.partial(random_search, population=population, **settings)
