"""Search by evolution: a step is a generation, evaluated at once."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import number, one_of, whole
from jleak.search.engine import Engine, Search
from jleak.search.strategies import checked, strategy
from jleak.tree import select, stream
from jleak.types import Key, Reconstruction, View

RESTARTS = ("none", "stagnation")


class Evolution(NamedTuple):
    """The state of an evolution.

    Attributes:
      origin: the point where it began: 0 in the strategy's units.
      fixed: what was inferred at the start and is not optimised (labels).
      strategy: the strategy's state.
      best: the point of lowest loss among those evaluated; where it began, before the first finite one.
      loss: that loss; infinity before the first finite one.
      evaluations: objective evaluations so far.
      level: the lowest loss since the last restart.
      still: generations since that fell.
    """

    origin: PyTree
    fixed: PyTree
    strategy: PyTree
    best: PyTree
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]
    level: Float[Array, ""]
    still: Int[Array, ""]


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
    restarts: str = "none",
    patience: int | None = None,
) -> Search:
    """Evolution strategies on the attacker's objective.

    The strategy begins around the start, point = start + std u, u being what it works with, and is told the
    losses of a generation, all of one objective key; a loss that is not finite counts as infinite. Points
    are projected before they are evaluated; the strategy is told of those that it proposed. The loss of a
    step is the lowest of its generation.

    Args:
      objective, start, decode, cost, project: as for `jleak.search.descend`.
      strategy: of `jleak.search.STRATEGIES`; those that keep their population draw it from
        N(start, std^2), the start among it.
      population: candidates of a generation.
      steps: generations.
      std: standard deviation of the first generation; may be traced.
      lr: rate of the strategies that follow a gradient (ars, asebo, open_es, pgpe), in their current
        standard deviations; may be traced.
      chunk: candidates evaluated at once; None for all.
      restarts: `"none"`; `"stagnation"`, a new start once the lowest loss has not fallen by 1e-6 of itself
        for `patience` generations (TolHistFun of Auger and Hansen, CEC 2005). The population stays as it
        is, since shapes do; their doubling is `jleak.search.doubling`, on a schedule.
      patience: None for their 10 + ceil(30 d / population) in d dimensions.

    Raises:
      InputError: unknown strategy or restarts; a population that the strategy cannot have; steps, chunk or
        patience < 1; std or lr not above 0.

    >>> search = evolve(lambda key, p, _, view: jnp.sum((p - view) ** 2), lambda key, view: (0 * view, ()),
    ...                 lambda p, fixed, view: (p, None), strategy="cma_es", population=8, steps=60)
    >>> rec = search(jax.random.key(0), jnp.array([1.0, 2.0]))
    >>> [round(float(u), 3) for u in rec.x], int(rec.evaluations)
    ([1.0, 2.0], 480)
    """
    checked(strategy, population)
    for name, value in {"steps": steps, "chunk": chunk, "patience": patience}.items():
        whole(name, 1 if value is None else value)
    number("std", std, above=0)
    number("lr", lr, above=0)
    one_of("restarts", restarts, RESTARTS)
    fresh = functools.partial(begun, strategy, population, steps)
    losses_of = functools.partial(evaluated, objective, chunk)

    def init(key, view):
        point, fixed = start(key, view)
        infinite = jnp.array(jnp.inf)
        own = fresh(stream(key, "strategy"), point)
        return Evolution(point, fixed, own, point, infinite, jnp.array(0), infinite, jnp.array(0))

    def step(key, t, state, view):
        es, flat, shaped = units(strategy, population, steps, state.origin)
        asked, own = es.ask(stream(key, "ask"), t, state.strategy)
        points = jax.vmap(lambda u: project(shaped(flat + std * u)))(asked)
        losses = losses_of(key, points, state.fixed, view)
        fitness = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
        own = strong(es.tell(stream(key, "tell"), asked, fitness, own, lr))
        winner = jnp.argmin(fitness)
        found, better = fitness[winner], fitness[winner] < state.loss
        falls = found < state.level - 1e-6 * jnp.abs(state.level)
        after = Evolution(
            origin=state.origin,
            fixed=state.fixed,
            strategy=own,
            best=select(better, jax.tree.map(lambda leaf: leaf[winner], points), state.best),
            loss=jnp.where(better, found, state.loss),
            evaluations=state.evaluations + cost * population,
            level=jnp.where(falls, found, state.level),
            still=jnp.where(falls, 0, state.still + 1),
        )
        return (after if restarts == "none" else renewed(key, after, view, flat.size)), found

    def renewed(key, state, view, dim):
        point, _ = start(stream(key, "restart"), view)
        own = fresh(stream(key, "renewed"), point)
        new = state._replace(origin=point, strategy=own, level=jnp.array(jnp.inf), still=jnp.array(0))
        return select(state.still >= (patience or 10 + -(-30 * dim // population)), new, state)

    def read(state, view):
        return Reconstruction(*decode(state.best, state.fixed, view), state.loss, state.evaluations)

    return Search(init, step, read, steps)


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
    return strategy(name, population, flat.size, steps), wide, lambda u: shaped(u.astype(flat.dtype))


def begun(name: str, population: int, steps: int, key: Key, point: PyTree) -> PyTree:
    """The strategy's state at the start of a search from this point."""
    return strong(units(name, population, steps, point)[0].init(key))


def strong(tree: PyTree) -> PyTree:
    """The arrays with types of their own, which Python's numbers among them lack: loops want them alike."""
    return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.asarray(leaf).dtype), tree)


def evaluated(
    objective: Callable, chunk: int | None, key: Key, points: PyTree, fixed: PyTree, view: View
) -> Float[Array, " population"]:
    """The objective at every point, `chunk` at a time, all with one key."""

    def one(point):
        return objective(key, point, fixed, view)

    return jax.vmap(one)(points) if chunk is None else lax.map(one, points, batch_size=chunk)
