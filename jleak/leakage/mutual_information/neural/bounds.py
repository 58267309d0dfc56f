"""Bounds on mutual information that a critic's scores give, as functions of weighted pairs.

Scores T_ij = T(x_i, g_j) have the pairs on the diagonal, and elsewhere what was not drawn together. Weights w
of the pairs, which sum to 1, make the derivatives that the interval is of (`error`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

Scores = Float[Array, "n n"]
Weights = Float[Array, " n"]


class Bound(NamedTuple):
    """What a critic is trained and measured by.

    Attributes:
      value: `(scores, weights) -> nats`.
      loss: `(scores, memory) -> (loss, memory)`, of a batch.
      memory: what the loss begins with.
      score: `scores -> loss` by which the best of a training is told on data set aside; None: by the value.
    """

    value: Callable[[Scores, Weights], Float[Array, ""]]
    loss: Callable[[Scores, PyTree], tuple[Float[Array, ""], PyTree]]
    memory: PyTree = None
    score: Callable[[Scores], Float[Array, ""]] | None = None


def uniform(scores: Scores) -> Weights:
    """As much weight for each pair."""
    return jnp.full(len(scores), 1 / len(scores))


def log_mean_apart(scores: Scores, w: Weights) -> Float[Array, ""]:
    """log of the weighted mean of e^T over i != j.

    >>> scores = jnp.log(jnp.array([[100.0, 1.0], [3.0, 100.0]]))
    >>> jnp.exp(log_mean_apart(scores, uniform(scores))).round(3).item()
    2.0
    """
    own = jnp.eye(len(scores), dtype=bool)
    logs = jnp.log(w)
    weighted = jnp.where(own, -jnp.inf, scores + logs[:, None] + logs)
    return jax.nn.logsumexp(weighted) - jnp.log1p(-jnp.square(w).sum())


def donsker_varadhan(scores: Scores, w: Weights) -> Float[Array, ""]:
    """mean T_ii - log mean e^T_ij."""
    return w @ jnp.diag(scores) - log_mean_apart(scores, w)


def contrastive(scores: Scores, w: Weights) -> Float[Array, ""]:
    """mean_i log(e^T_ii / mean_j e^T_ji): which of n x belongs to g_i; at most log n."""
    return w @ (jnp.diag(scores) - jax.nn.logsumexp(scores + jnp.log(w)[:, None], 0))


def unnormalised(scores: Scores, w: Weights) -> Float[Array, ""]:
    """1 + mean T_ii - mean e^T_ij."""
    return 1 + w @ jnp.diag(scores) - jnp.exp(log_mean_apart(scores, w))


def mine(ema: float) -> Bound:
    """Donsker and Varadhan's, with the gradient of the log of a running mean in place of a batch's."""

    def loss(scores, memory):
        now = log_mean_apart(scores, uniform(scores))
        mean = jnp.logaddexp(jnp.log1p(-ema) + memory, jnp.log(ema) + lax.stop_gradient(now))
        return jnp.exp(now - mean) - jnp.diag(scores).mean(), mean

    return Bound(donsker_varadhan, loss, jnp.zeros(()))


def plain(value: Callable[[Scores, Weights], Float[Array, ""]]) -> Bound:
    """A bound that is trained by itself."""
    return Bound(value, lambda scores, memory: (-value(scores, uniform(scores)), memory))


def smile(clip: float) -> Bound:
    """Donsker and Varadhan's with e^T clipped, by a critic trained to tell pairs from what is none."""

    def value(scores, w):
        return w @ jnp.diag(scores) - log_mean_apart(jnp.clip(scores, -clip, clip), w)

    def loss(scores):
        apart = ~jnp.eye(len(scores), dtype=bool)
        wrong = jax.nn.softplus(scores).mean(where=apart)
        return wrong + jax.nn.softplus(-jnp.diag(scores)).mean()

    return Bound(value, lambda scores, memory: (loss(scores), memory), score=loss)


def error(value: Callable[[Scores, Weights], Float[Array, ""]], scores: Scores) -> Float[Array, ""]:
    """The standard error of a bound over pairs drawn anew, the critic being as it is.

    The infinitesimal jackknife: sqrt(sum_i u_i^2) / n of u, the derivative by the weight of each pair less
    their mean (Efron, "Nonparametric estimates of standard error", Biometrika 1981).

    >>> scores = jnp.diag(jnp.array([1.0, 2.0, 3.0, 6.0]))
    >>> mean = lambda scores, w: w @ jnp.diag(scores)
    >>> [round(found.item(), 4) for found in (error(mean, scores), jnp.std(jnp.diag(scores)) / 2)]
    [0.9354, 0.9354]
    """
    slope = jax.grad(value, argnums=1)(scores, uniform(scores))
    return slope.std() / jnp.sqrt(len(scores))
