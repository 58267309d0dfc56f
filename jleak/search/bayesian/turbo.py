"""TuRBO: Bayesian optimisation in trust regions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from jleak.check import InputError, number, whole
from jleak.search.bayesian.region import LEAST, Region, region, sampled, told, waiting
from jleak.search.engine import Engine, Search
from jleak.search.pool import reader, scored
from jleak.tree import select, stream
from jleak.types import Key, View


class Turbo(NamedTuple):
    """The state of TuRBO.

    Attributes:
      origin: the start; points are shaped like it.
      fixed: what was inferred at the start (labels).
      regions: the trust regions, on a leading axis.
      best: the point of lowest loss among those evaluated; the start, before the first finite one.
      loss: that loss; infinity before the first finite one.
      evaluations: objective evaluations so far.
    """

    origin: PyTree
    fixed: PyTree
    regions: Region
    best: PyTree
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


class Settings(NamedTuple):
    """The settings of `turbo` that its parts need."""

    batch: int
    regions: int
    design: int | None
    memory: int
    candidates: int
    fits: int


def turbo(
    objective: Callable[[Key, PyTree, PyTree, View], Float[Array, ""]],
    start: Callable[[Key, View], tuple[PyTree, PyTree]],
    decode: Callable[[PyTree, PyTree, View], tuple[Array, Array]],
    *,
    steps: int,
    cost: int = 1,
    project: Callable[[PyTree], PyTree] = lambda point: point,
    batch: int = 10,
    regions: int = 1,
    limit: float = 2.0,
    design: int | None = None,
    memory: int = 512,
    candidates: int = 512,
    fits: int = 10,
    chunk: int | None = None,
) -> Search:
    """TuRBO: Thompson sampling from Gaussian processes, each in a trust region around its best point.

    Source: Eriksson, Pearce, Gardner, Turner and Poloczek, "Scalable Global Optimization via Local Bayesian
    Optimization", NeurIPS 2019 (arXiv 1910.01339); written from the paper. A step is a round of `batch`
    evaluations: points of the design of a region that has just begun, else the best candidates of all regions
    by a draw of each one's posterior. A region whose side falls below 2^-7 begins anew.

    Where it departs: shapes are fixed, so that a region remembers its last `memory` points; 512 candidates,
    drawn uniformly, in place of a Sobol sequence of min(100 d, 5000), since their joint posterior is
    factorised every round; `fits` Adam steps from the last round's kernel in place of 50 from the same one;
    the start is a point of the first design.

    Args:
      objective, start, decode, cost, project: as for `jleak.search.descend`.
      steps: rounds.
      batch: evaluations of a round.
      regions: trust regions at once: 1 for TuRBO-1, more for TuRBO-m.
      limit: points are searched in [-limit, limit]^d; may be traced.
      design: evaluations with which a region begins, rounded up to full rounds; None for 2 d, at most half
        of the memory.
      memory: points that a region's model is fitted to, rounded up to full rounds.
      candidates: of a region, in a round.
      fits: Adam's steps on a kernel, in a round.
      chunk: points evaluated at once; None for all.

    Raises:
      InputError: steps, batch, regions, candidates or chunk < 1, fits < 0, limit not above 0; fewer
        candidates than the batch; a memory below the design and a round.

    >>> search = turbo(lambda key, p, _, view: jnp.sum((p - view) ** 2), lambda key, view: (0 * view, ()),
    ...                lambda p, fixed, view: (p, None), steps=25, batch=4, memory=64, candidates=64)
    >>> rec = search(jax.random.key(0), jnp.array([1.0, -1.5]))
    >>> [round(float(u), 1) for u in rec.x], int(rec.evaluations)
    ([1.0, -1.5], 100)
    """
    whole("steps", steps)
    number("limit", limit, above=0)
    whole("chunk", 1 if chunk is None else chunk)
    given = checked(Settings(batch, regions, design, memory, candidates, fits))

    def init(key, view):
        point, fixed = start(key, view)
        flat, _ = ravel_pytree(point)
        own = opened(stream(key, "regions"), sized(given, flat.size), flat.size)
        own = own._replace(x=own.x.at[0, 0].set(jnp.clip(0.5 + flat / (2 * limit), 0, 1)))
        return Turbo(point, fixed, own, point, jnp.array(jnp.inf), jnp.array(0))

    def step(key, t, state, view):
        flat, shaped = ravel_pytree(state.origin)
        now = sized(given, flat.size)
        after, x, owner = proposed(stream(key, "propose"), t, state.regions, now)
        points = jax.vmap(lambda u: project(shaped((limit * (2 * u - 1)).astype(flat.dtype))))(x)
        losses, state = scored(objective, chunk, cost, key, points, state, view)
        after = renewed(stream(key, "renew"), learnt(after, owner, x, losses, t, now), now)
        return state._replace(regions=after), jnp.min(losses)

    return Search(init, step, reader(decode), steps)


def turboing(**settings: Any) -> Engine:
    """The engine that runs TuRBO with these settings (`turbo`).

    >>> turboing(regions=5).keywords
    {'regions': 5}
    """
    return functools.partial(turbo, **settings)


def checked(given: Settings) -> Settings:
    """The settings, if they can be.

    Raises:
      InputError: see `turbo`.
    """
    for name, value in given._replace(design=1 if given.design is None else given.design)._asdict().items():
        whole(name, value, least=0 if name == "fits" else 1)
    if given.candidates < given.batch:
        raise InputError(f"candidates must be >= batch={given.batch}, got candidates={given.candidates}")
    return given


def sized(given: Settings, d: int) -> Settings:
    """The settings for points of d entries: a design, and full rounds in it and in the memory.

    Raises:
      InputError: the memory cannot hold the design and a round.

    >>> sized(Settings(10, 1, None, 512, 512, 10), 128)[:4]
    (10, 1, 260, 520)
    """
    wanted = min(2 * d, given.memory // 2) if given.design is None else given.design
    design, memory = (-(-max(n, 1) // given.batch) * given.batch for n in (wanted, given.memory))
    if design + given.batch > memory:
        raise InputError(f"memory must hold the design of {design} and a round, got memory={given.memory}")
    return given._replace(design=design, memory=memory)


def opened(key: Key, now: Settings, d: int) -> Region:
    """All regions before their first evaluations."""
    keys = jax.random.split(key, now.regions)
    return jax.vmap(lambda k: region(k, d, now.memory, now.design))(keys)


def proposed(
    key: Key, t: Array, regions: Region, now: Settings
) -> tuple[Region, Float[Array, "batch d"], Int[Array, " batch"]]:
    """The points of a round and the regions that they are of; the regions with their models fitted."""
    wait = jax.vmap(lambda one: waiting(one, now.design))(regions)
    first = jnp.argmax(wait)

    def designed():
        begin = jnp.argmax(regions.age[first] < 0)
        x = lax.dynamic_slice_in_dim(regions.x[first], begin, now.batch)
        return regions, x, jnp.full(now.batch, first)

    def thompson():
        return select(wait.any(), designed(), thompson_sampled(key, regions, now))

    # no lane has a model before that round, and they share its number: the branch is not taken
    return lax.cond(t < now.regions * now.design // now.batch, designed, thompson)


def thompson_sampled(key: Key, regions: Region, now: Settings) -> tuple[Region, Array, Array]:
    """For each point of a round another draw of all posteriors, and the candidate that is lowest in it."""
    keys = jax.random.split(key, now.regions)
    draw = functools.partial(sampled, steps=now.fits, count=now.candidates, draws=now.batch)
    regions, x, drawn = jax.vmap(draw)(keys, regions)
    drawn = drawn.reshape(-1, now.batch)

    def lowest(free, column):
        winner = jnp.argmin(jnp.where(free, column, jnp.inf))
        return free.at[winner].set(False), winner

    _, winners = lax.scan(lowest, jnp.ones(len(drawn), bool), drawn.T)
    return regions, x.reshape(len(drawn), -1)[winners], winners // now.candidates


def learnt(regions: Region, owner: Array, x: Array, losses: Array, t: Array, now: Settings) -> Region:
    """The regions after a round."""
    mine = owner == jnp.arange(now.regions)[:, None]
    return jax.vmap(lambda one, own: told(one, own, x, losses, t, now.design))(regions, mine)


def renewed(key: Key, regions: Region, now: Settings) -> Region:
    """New regions in place of those that have become too small."""
    return jax.vmap(select)(regions.length < LEAST, opened(key, now, regions.x.shape[-1]), regions)
