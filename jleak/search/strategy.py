"""What an evolution strategy is here, and evosax's put into that form.

A strategy works in units of its own: the search begins at 0 with standard deviation 1
(`jleak.search.evolution` maps that to points). So it is made once for a population and a dimension, and the
numbers that may be traced, standard deviation and learning rate, stay out of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from jleak.tree import select, stream
from jleak.types import Key

LAST = 0.01
"""Where strategies that schedule their standard deviation let it end, as a share of the first."""


class Strategy(NamedTuple):
    """A strategy in its own units.

    Attributes:
      init: `key -> state`.
      ask: `(key, t, state) -> (points, state)`, the generation of step t, a point a row.
      tell: `(key, points, fitness, state, lr) -> state`; fitness without NaN, failures infinite.
    """

    init: Callable[[Key], PyTree]
    ask: Callable[[Key, Int[Array, ""], PyTree], tuple[Float[Array, "population dim"], PyTree]]
    tell: Callable[[Key, Array, Float[Array, " population"], PyTree, Any], PyTree]


class Grown(NamedTuple):
    """The state of a strategy that keeps its population.

    Attributes:
      state: evosax's.
      born: whether the first population has been evaluated.
    """

    state: PyTree
    born: Array


def made(name: str, population: int, dim: int, **options: Any) -> tuple[Any, Any]:
    """evosax's object of that name and its parameters. (evosax is imported late: a third of a second.)"""
    from evosax import algorithms

    es = getattr(algorithms, name)(population, jnp.zeros(dim), **options)
    return es, es.default_params


def distribution(es: Any, params: Any, **changed: Callable) -> Strategy:
    """A strategy that keeps a distribution; `changed` are functions in place of evosax's."""

    def init(key):
        return es.init(key, jnp.zeros(es.num_dims), params)

    def ask(key, t, state):
        del t
        return es.ask(key, state, params)

    def tell(key, points, fitness, state, lr):
        del lr
        return es.tell(key, points, fitness, state, params)[0]

    return Strategy(**{"init": init, "ask": ask, "tell": tell, **changed})


def grown(es: Any, params: Any) -> Strategy:
    """A strategy that keeps its population: the first is drawn around 0, which is its first member.

    evosax wants the first population's fitness to begin with; here it is the first generation.
    """

    def init(key):
        first = jax.random.normal(stream(key, "population"), (es.population_size, es.num_dims))
        unknown = jnp.full(es.population_size, jnp.inf)
        return Grown(es.init(key, first.at[0].set(0.0), unknown, params), jnp.array(False))

    def ask(key, t, state):
        del t
        points, asked = es.ask(key, state.state, params)
        points = jnp.where(state.born, points, state.state.population)
        return points, state._replace(state=select(state.born, asked, state.state))

    def tell(key, points, fitness, state, lr):
        del lr
        told, _ = es.tell(key, points, fitness, state.state, params)
        first = es.init(key, points, fitness, params)
        return Grown(select(state.born, told, first), jnp.array(True))

    return Strategy(init, ask, tell)


def sloped(es: Any, params: Any, *, raw: bool = False) -> Strategy:
    """A strategy that estimates a gradient and hands it to an optimiser whose rate is injected.

    The rate is `lr` standard deviations. Where the strategy computes with the fitness itself (`raw`),
    failures count as the worst of those that did not fail.
    """

    def tell(key, points, fitness, state, lr):
        now = state.opt_state
        rate = jnp.asarray(lr * jnp.mean(state.std), now.hyperparams["learning_rate"].dtype)
        now = now._replace(hyperparams={**now.hyperparams, "learning_rate": rate})
        fitness = bounded(fitness) if raw else fitness
        return es.tell(key, points, fitness, state.replace(opt_state=now), params)[0]

    return distribution(es, params, tell=tell)


def falling(steps: int) -> optax.Schedule:
    """From 1 to `LAST`, geometrically.

    >>> [round(float(falling(4)(t)), 3) for t in range(5)]
    [1.0, 0.316, 0.1, 0.032, 0.01]
    """
    return lambda t: LAST ** jnp.minimum(t / steps, 1.0)


def bounded(fitness: Float[Array, " population"]) -> Float[Array, " population"]:
    """Failures as the worst of the others, 0 where all failed.

    >>> bounded(jnp.array([1.0, jnp.inf, 3.0])).tolist(), bounded(jnp.array([jnp.inf])).tolist()
    ([1.0, 3.0, 3.0], [0.0])
    """
    works = jnp.isfinite(fitness)
    worst = jnp.max(fitness, initial=-jnp.inf, where=works)
    return jnp.where(works, fitness, jnp.where(works.any(), worst, 0.0))
