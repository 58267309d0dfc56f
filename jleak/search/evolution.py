"""Search by evolution: a step is a generation, evaluated at once."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import number, whole
from jleak.search.engine import Engine, Search
from jleak.search.pool import reader, scored
from jleak.search.strategies import checked
from jleak.search.strategies import strategy as strategy_of
from jleak.tree import select, stream
from jleak.types import Key, View


class Evolution(NamedTuple):
    """The state of an evolution.

    Attributes:
      origin: the point where it began: 0 in the strategy's units.
      fixed: what was inferred at the start and is not optimised (labels).
      strategy: the strategy's state.
      best: the point of lowest loss among those evaluated; where it began, before the first finite one.
      loss: that loss; infinity before the first finite one.
      evaluations: objective evaluations so far.
    """

    origin: PyTree
    fixed: PyTree
    strategy: PyTree
    best: PyTree
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


def evolve(
    objective: Callable[[Key, PyTree, PyTree, View], Float[Array, ""]],
    start: Callable[[Key, View], tuple[PyTree, PyTree]],
    decode: Callable[[PyTree, PyTree, View], tuple[Array, Array]],
    *,
    strategy: str,
    population: int,
    steps: int,
    cost: int = 1,
    project: Callable[[PyTree], PyTree] = lambda point: point,
    std: float = 1.0,
    lr: float = 0.1,
    chunk: int | None = None,
) -> Search:
    """Evolution strategies on the attacker's objective.

    The strategy begins around the start, point = start + std u, u being what it works with, and is told the
    losses of a generation, all of one objective key; a loss that is not finite counts as infinite, and a
    generation without a finite one is not told. Points are projected before they are evaluated, and the
    strategy is told of those that it proposed, at a price (`outside`). The loss of a step is the lowest of
    its generation.

    Args:
      objective, start, decode, cost, project: as for `jleak.search.descend`.
      strategy: of `jleak.search.STRATEGIES`; those that keep their population draw it from
        N(start, std^2), the start among it.
      population: candidates of a generation.
      steps: generations.
      std: standard deviation of the first generation; may be traced.
      lr: rate of the strategies that follow a gradient (ars, asebo, open_es, pgpe), in their current standard
        deviations; may be traced.
      chunk: candidates evaluated at once; None for all.

    Raises:
      InputError: unknown strategy; a population that it cannot have; steps or chunk < 1; std or lr not
        above 0.

    >>> search = evolve(lambda key, p, _, view: jnp.sum((p - view) ** 2), lambda key, view: (0 * view, ()),
    ...                 lambda p, fixed, view: (p, None), strategy="cma_es", population=8, steps=60)
    >>> rec = search(jax.random.key(0), jnp.array([1.0, 2.0]))
    >>> [round(float(u), 3) for u in rec.x], int(rec.evaluations)
    ([1.0, 2.0], 480)
    """
    checked(strategy, population)
    whole("steps", steps)
    whole("chunk", 1 if chunk is None else chunk)
    number("std", std, above=0)
    number("lr", lr, above=0)

    def init(key, view):
        point, fixed = start(key, view)
        es, _, _ = units(strategy, population, steps, point)
        own = strong(es.init(stream(key, "strategy")))
        return Evolution(point, fixed, own, point, jnp.array(jnp.inf), jnp.array(0))

    def step(key, t, state, view):
        es, origin, shaped = units(strategy, population, steps, state.origin)
        asked, own = es.ask(stream(key, "ask"), t, state.strategy)
        free = jax.vmap(lambda u: shaped(origin + std * u))(asked)
        points = jax.vmap(project)(free)
        losses, state = scored(objective, chunk, cost, key, points, state, view)
        fitness = losses + outside(free, points, losses)
        told = strong(es.tell(stream(key, "tell"), asked, fitness, own, lr))
        own = select(jnp.isfinite(losses).any(), told, own)
        return state._replace(strategy=own), jnp.min(losses)

    return Search(init, step, reader(decode), steps)


def evolving(strategy: str, *, population: int, **settings: Any) -> Engine:
    """The engine that evolves with this strategy (`evolve`).

    >>> evolving("snes", population=16).keywords
    {'strategy': 'snes', 'population': 16}
    """
    checked(strategy, population)
    return functools.partial(evolve, strategy=strategy, population=population, **settings)


def units(name: str, population: int, steps: int, origin: PyTree) -> tuple:
    """The strategy for points like `origin`, that point as a vector, and the way back from vectors."""
    flat, shaped = ravel_pytree(origin)
    wide = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    return strategy_of(name, population, flat.size, steps), wide, lambda u: shaped(u.astype(flat.dtype))


def outside(free: PyTree, points: PyTree, losses: Float[Array, " population"]) -> Float[Array, " population"]:
    """What points pay for lying where they are projected from, so that a search does not drift away there.

    Their squared distance from their projections, in units of its mean, times the standard deviation of the
    generation's losses: no weight to be set. Ours; unprojected points pay nothing. (With the walls of a box
    at half of where the minimum lies, CMA-ES ends 1e-6 above the least legal value, without it 0.4.)

    >>> free, points = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 2.0])
    >>> outside(free, points, jnp.array([0.0, 3.0, jnp.inf])).tolist()
    [0.0, 0.0, 4.5]
    """
    gaps = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2, range(1, a.ndim)), free, points)
    beyond = sum(jax.tree.leaves(gaps))
    return jnp.std(losses, where=jnp.isfinite(losses)) * beyond / jnp.maximum(jnp.mean(beyond), 1e-30)


def strong(tree: PyTree) -> PyTree:
    """The arrays with types of their own, which Python's numbers among them lack: loops want them alike."""
    return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree)
