"""From real numbers to label counts, and from counts to labels."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jleak.types import Counts, Key, Labels


def apportion(shares: Float[Array, " classes"], total: int) -> Counts:
    """The whole numbers of sum `total` nearest to `shares`, by largest remainder.

    Shares are first moved to the nearest ones (least squares) that are not negative and sum to `total`; then
    rounded down, and the largest remainders up (Hamilton's method). The first of equal remainders goes up.

    Args:
      shares: estimated counts, any real numbers; not finite ones count as 0.
      total: the known sum, static.

    >>> apportion(jnp.array([2.6, -0.3, 1.5, 0.2]), 4).tolist()
    [3, 0, 1, 0]
    """
    shares = jnp.where(jnp.isfinite(shares), shares, 0.0)
    # The same point of the simplex, without the rounding and the overflow of huge shares.
    shares = onto_simplex(jnp.maximum(shares - shares.max(), -total), total)
    whole = jnp.floor(shares)
    missing = total - whole.sum()
    return (whole + (ranks(whole - shares) < missing)).astype(jnp.int32)


def whole_labels(shares: Float[Array, "steps n"], n: float) -> Float[Array, "steps n"]:
    """The shares of `n` whole labels nearest to these, step by step (`apportion`).

    Where `n` is no whole number (of a batch size that is not the client's) they are left as they are.

    >>> whole_labels(jnp.array([[0.7, 0.4]]), 2.0).tolist()
    [[0.5, 0.5]]
    """
    if not float(n).is_integer():
        return shares
    return jax.vmap(lambda y: apportion(n * y, int(n)) / n)(shares)


def ranks(x: Float[Array, " n"]) -> Int[Array, " n"]:
    """The place of each entry among all, from the least, 0; the first of equal ones comes first.

    >>> ranks(jnp.array([0.3, -1.0, 0.3])).tolist()
    [1, 0, 2]
    """
    return jnp.argsort(jnp.argsort(x))


def onto_simplex(x: Float[Array, " n"], total: float) -> Float[Array, " n"]:
    """The nearest point to x with entries >= 0 that sum to `total`.

    Source: Duchi, Shalev-Shwartz, Singer, Chandra, ICML 2008, figure 1.

    >>> onto_simplex(jnp.array([3.0, 1.0, -1.0]), 2.0).tolist()
    [2.0, 0.0, 0.0]
    """
    falling = jnp.sort(x)[::-1]
    excess = (jnp.cumsum(falling) - total) / jnp.arange(1, x.size + 1)
    last = jnp.sum(falling > excess) - 1
    return jnp.maximum(x - excess[last], 0.0)


def greedy(
    values: Float[Array, " classes"], impact: Float[Array, "..."], counts: Counts, total: int
) -> Counts:
    """Adds to `counts`, until they sum to `total`, one label at a time: the class of the least value.

    Each label taken moves its class's value by `-impact` (impact < 0, so upwards). The second stage of LLG
    (Wainakh et al., PoPETs 2022). Counts that already sum to `total` or more stay as they are.

    Args:
      values: one number a class.
      impact: what one label adds to its class's value, for all classes or each.
      counts: the labels already taken; not subtracted from `values` here.
      total: the sum to reach, static.

    >>> greedy(jnp.array([-3.0, -1.0, 0.5]), -1.0, jnp.zeros(3, int), 4).tolist()
    [3, 1, 0]
    """
    impact = jnp.broadcast_to(impact, values.shape)

    def one(carry, _):
        values, counts = carry
        wanted = counts.sum() < total
        pick = jax.nn.one_hot(jnp.argmin(values), values.size, dtype=counts.dtype) * wanted
        return (values - pick * impact, counts + pick), None

    (_, counts), _ = lax.scan(one, (values, counts), length=total)
    return counts


def counts_of(labels: Labels, classes: int) -> Counts:
    """How often each class occurs.

    Args:
      labels: class numbers; those outside of 0 ... classes - 1 are not counted.
      classes: the number of classes, static.

    >>> counts_of(jnp.array([2, 0, 2]), 3).tolist()
    [1, 0, 2]
    """
    return jax.nn.one_hot(labels, classes, dtype=jnp.int32).sum(0)


def labels_of(counts: Counts, total: int) -> Labels:
    """`total` labels, in the order of the classes; a class counted beyond the total is cut off.

    Where the counts sum to less, the commonest class fills the rest.

    Args:
      counts: how often each class occurs, not negative.
      total: the number of labels, static.

    >>> labels_of(jnp.array([1, 0, 2]), 3).tolist()
    [0, 2, 2]
    """
    filled = counts + (total - counts.sum()).clip(0) * (jnp.arange(counts.size) == jnp.argmax(counts))
    return jnp.repeat(jnp.arange(counts.size), filled, total_repeat_length=total).astype(jnp.int32)


def sampled(key: Key, shares: Float[Array, " classes"], total: int) -> Counts:
    """Counts of `total` labels drawn independently with these probabilities.

    >>> int(sampled(jax.random.key(0), jnp.full(4, 0.25), 100).sum())
    100
    """
    return counts_of(jax.random.categorical(key, jnp.log(shares), shape=(total,)), shares.size)
