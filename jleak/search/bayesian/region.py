"""Trust regions: where a local model is believed, and how that grows and shrinks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from jleak import linalg
from jleak.search.bayesian.process import Data, Kernel, begun, fitted, kernel, posterior, values
from jleak.tree import select
from jleak.types import Key

FIRST, LEAST, MOST = 0.8, 2.0**-7, 1.6
"""Lengths of a region, in the unit cube: the first, the one below which it begins anew, the greatest."""

WINS = 3
"""Rounds with a gain in a row after which a region's length doubles."""

GAIN = 1e-3
"""By which share of its best value a round must improve on it, to be one with a gain."""


class Region(NamedTuple):
    """A trust region and all that was evaluated for it; rows are used in turns.

    Attributes:
      x: points in [0, 1]^d; those of the design wait in the first rows until they are evaluated.
      y: their values; infinite where an evaluation failed.
      age: the round in which a row was evaluated, -1 before.
      length: the side of the region.
      wins: rounds with a gain in a row.
      losses: evaluations without one in a row.
      kernel, moments: the model's parameters and Adam's moments, from which the next fit begins.
    """

    x: Float[Array, "memory d"]
    y: Float[Array, " memory"]
    age: Int[Array, " memory"]
    length: Float[Array, ""]
    wins: Int[Array, ""]
    losses: Int[Array, ""]
    kernel: Kernel
    moments: PyTree


def region(key: Key, d: int, memory: int, design: int) -> Region:
    """A region before its first evaluation; its design is a Latin hypercube of so many points."""
    rank, within = jax.random.uniform(key, (2, design, d))
    x = jnp.zeros((memory, d)).at[:design].set((jnp.argsort(rank, axis=0) + within) / design)
    raw, zero = kernel(d), jnp.array(0)
    infinite, never = jnp.full(memory, jnp.inf), jnp.full(memory, -1)
    return Region(x, infinite, never, jnp.array(FIRST), zero, zero, raw, begun(raw))


def waiting(region: Region, design: int) -> Bool[Array, ""]:
    """Whether points of its design have not been evaluated."""
    return (region.age[:design] < 0).any()


def modelled(region: Region, steps: int) -> tuple[Region, Data, Float[Array, ""], Float[Array, ""]]:
    """The region with its model fitted further, the standardised data, their mean and standard deviation.

    Evaluations that failed say nothing of the function, and are left out.
    """
    known = (region.age >= 0) & jnp.isfinite(region.y)
    y = jnp.where(known, region.y, 0.0)
    count = jnp.maximum(known.sum(), 1)
    mean = y.sum() / count
    std = jnp.maximum(jnp.sqrt(jnp.sum(jnp.where(known, y - mean, 0.0) ** 2) / count), 1e-8)
    data = Data(region.x, jnp.where(known, (y - mean) / std, 0.0), known)
    raw, moments = fitted(region.kernel, region.moments, data, steps)
    return region._replace(kernel=raw, moments=moments), data, mean, std


def candidates(key: Key, region: Region, count: int) -> Float[Array, "count d"]:
    """Points of the region that differ from its best one in about 20 coordinates.

    The region's sides are in proportion to the lengthscales, its volume is length^d. A coordinate is drawn
    anew with probability min(20 / d, 1), at least one (Eriksson et al., section 2 and supplement).
    """
    d = region.x.shape[1]
    u = jax.random.uniform(key, (count, 2 * d + 1))  # one draw: compiling a generator costs most of a second
    centre = region.x[jnp.argmin(region.y)]
    logs = jnp.log(values(region.kernel).lengths)
    half = 0.5 * region.length * jnp.exp(logs - logs.mean())
    low, high = jnp.clip(centre - half, 0, 1), jnp.clip(centre + half, 0, 1)
    drawn = low + (high - low) * u[:, :d]
    which = u[:, d:-1] < min(20 / d, 1.0)
    one = jax.nn.one_hot((u[:, -1] * d).astype(int), d, dtype=bool)
    return jnp.where(which | (~which.any(1, keepdims=True) & one), drawn, centre)


def sampled(
    key: Key, region: Region, steps: int, count: int, draws: int
) -> tuple[Region, Float[Array, "count d"], Float[Array, "count draws"]]:
    """The region with its model fitted, candidates, and functions drawn from its posterior at them."""
    k_x, k_draw = jax.random.split(key)
    region, data, mean, std = modelled(region, steps)
    x = candidates(k_x, region, count)
    level, spread = posterior(region.kernel, data, x)
    jitter = 1e-4 * values(region.kernel).amplitude
    noise = jax.random.normal(k_draw, (count, draws))
    drawn = level[:, None] + linalg.cholesky(spread + jitter * jnp.eye(count)) @ noise
    return region, x, mean + std * jnp.where(jnp.isfinite(drawn), drawn, level[:, None])


def told(
    region: Region, mine: Bool[Array, " batch"], x: Array, y: Array, t: Int[Array, ""], design: int
) -> Region:
    """The region after a round in which those of the points that are `mine` were evaluated for it.

    They take the place of the oldest, never of the best. Three rounds with a gain in a row double the length;
    max(4, d) evaluations without one halve it. (The paper counts rounds of q evaluations: max(4, d) / q.)
    """
    d, batch = x.shape[1], len(x)
    best = jnp.min(region.y)
    age = jnp.where((region.y == best) & jnp.isfinite(best), t + 1, region.age)
    slots = jnp.argsort(age)[:batch]
    gained = (mine & (y < jnp.where(jnp.isfinite(best), best - GAIN * jnp.abs(best), jnp.inf))).any()
    counts = mine.any() & ~waiting(region, design)
    wins = jnp.where(gained, region.wins + 1, 0)
    losses = jnp.where(gained, 0, region.losses + mine.sum())
    grows, shrinks = wins >= WINS, losses >= max(4, d)
    length = jnp.where(grows, jnp.minimum(2 * region.length, MOST), region.length)
    paced = region._replace(
        length=jnp.where(shrinks, length / 2, length),
        wins=jnp.where(grows, 0, wins),
        losses=jnp.where(shrinks, 0, losses),
    )
    return select(counts, paced, region)._replace(
        x=region.x.at[slots].set(jnp.where(mine[:, None], x, region.x[slots])),
        y=region.y.at[slots].set(jnp.where(mine, y, region.y[slots])),
        age=region.age.at[slots].set(jnp.where(mine, t, region.age[slots])),
    )
