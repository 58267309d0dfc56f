"""Label shares as the mean of their posterior: how far to believe what db says, and how far the prior.

With w the shares, P_k a class's mean probabilities and M = 1 - P^T, the bias gradient is db = -M w. What is
known of P leaves one thing open: the features that all classes have in common, hence a vector eta that shifts
all logits. To first order, with J_k = E_k[diag p - p p^T],

    db = -M w + sum_k w_k s_k J_k eta + noise,

s_k the share of class k's features that was taken from the common ones: near 1 where every class is in the
batch, near 0 for those in it where one is absent. For a calibrated model (E[y | x] = p) such a shift and
other shares move every gradient alike, E[(p - y) f(x)] for any f: no look at the update tells them apart, so
what is known beforehand must decide. That is

  - eta has the spread of dummy images' logits, times a share in doubt;
  - w is uniform in the mean, with t times the covariance of N labels drawn at random; t from 1 to N, weighted
    by how well it explains db (empirical Bayes);
  - a model trained by SGD is in balance: its mean probabilities over uniform labels are 1/n but for an
    `IMBALANCE` (the mean of the bias gradient); where every class is in the batch, this shows the shift.

All Gaussian, so that the mean of w is linear in db for each t. At t = 1, with eta known and a calibrated
model, it is w = 1/n - (db - its mean), whatever P is; as t grows it becomes the inversion of M. Derived here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import linalg

IMBALANCE = 0.02
"""Standard deviation of a class's mean probability about its share of the labels after training by SGD: .022
on CIFAR-10, LeNet, batches of 8 at rate .1, 1,000 to 10,000 steps (bench/NOTES.md)."""

BALANCED = 1e-3
"""Odds that a model is in such balance, before its lean is seen: of two classes an untrained model is so by
chance one time in twenty, and is then taken to be sure of what it does not know. Ours (bench/NOTES.md)."""

OWN = 0.8
"""Weight of a class's own mean probabilities against those of the batch: without the rest, a class whose
features came out so that p is 1 there would have any share. Chosen among 1, .95, .9, .8 on 30 models
(bench/NOTES.md)."""

PRIORS = 13
"""So many widths t of the prior are weighed, in geometric progression from 1 to the number of labels."""

LEAST = 1e-8
"""Least variance of an entry of db."""


class Classes(NamedTuple):
    """What de-mixing found of the classes.

    Attributes:
      w: their shares.
      p: probabilities of images of each class, (class, image, class).
      part: the share of each class's features that was taken from the common ones.
      doubt: covariance of the common logits' error.
    """

    w: Float[Array, " n"]
    p: Float[Array, "n k n"]
    part: Float[Array, " n"]
    doubt: Float[Array, "n n"]


def posterior(
    db: Float[Array, " n"], noise: Float[Array, ""], found: Classes, total: int
) -> Float[Array, " n"]:
    """The posterior mean of the shares; they sum to one, single ones may be below 0.

    Args:
      db: the bias gradient, a mean over images.
      noise: variance of an entry of it beyond that.
      found: of the classes.
      total: the number of labels.

    >>> p = jnp.broadcast_to(jnp.array([0.8, 0.2]), (2, 3, 2))
    >>> found = Classes(jnp.array([0.5, 0.5]), p, jnp.zeros(2), jnp.zeros((2, 2)))
    >>> db = jnp.array([0.75, 0.25]) @ p[:, 0] - jnp.array([0.75, 0.25])
    >>> [round(float(w), 3) for w in posterior(db, jnp.array(0.0), found, 4)]
    [0.75, 0.25]
    """
    n = db.size
    u, mean = jnp.full(n, 1 / n), found.p.mean(1)
    m = jnp.eye(n) - (OWN * mean + (1 - OWN) * found.w @ mean).T
    shift, doubt = balanced(found, total)
    slope = response(found.w * found.part, found.p)
    other = slope @ doubt @ slope.T + (noise + LEAST) * jnp.eye(n)
    gap = db + m @ u - slope @ shift
    signal = m @ (jnp.eye(n) - 1 / n) @ m.T / (n * total)

    def at(t):
        cov = t * signal + other + 1 / n  # the last for (1, ..., 1), in which db has nothing
        pull = m.T @ linalg.solve(cov, gap)
        return fit(gap, cov), u - t / (n * total) * (pull - pull.mean())

    weights, shares = jax.vmap(at)(jnp.geomspace(1.0, float(max(total, 2)), PRIORS))
    return jax.nn.softmax(weights) @ shares


def response(weights: Float[Array, " n"], p: Float[Array, "n k n"]) -> Float[Array, "n n"]:
    """sum_k weights_k J_k: how the weighted sum of the classes' probabilities answers to a shift of logits.

    >>> response(jnp.ones(1), jnp.array([[[0.5, 0.5]]])).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    return jnp.diag(weights @ p.mean(1)) - jnp.einsum("k,kia,kib->ab", weights / p.shape[1], p, p)


def balanced(found: Classes, total: int) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Mean and covariance of the logits' shift, given that the model be in balance.

    The classes' mean probabilities, averaged, are 1/n but for the imbalance, and for what is not known of a
    class with few images in the batch: the spread of probabilities, over one and their number. A model whose
    probabilities lean so far that any others explain it better (an untrained one) is not taken to be so.
    """
    n = found.w.size
    u = jnp.full(n, 1 / n)
    slope = response(u * found.part, found.p)
    seen = found.w @ found.p.mean(1)
    spread = jnp.diag(seen) - jnp.outer(seen, seen) - response(found.w, found.p)
    unsure = IMBALANCE**2 * jnp.eye(n) + jnp.sum(u**2 / (1 + total * found.w)) * spread
    cov, lean = slope @ found.doubt @ slope.T + unsure, u - found.p.mean((0, 1))
    apart = fit(lean, cov) - fit(lean, cov + (1 - 1 / n) / n * jnp.eye(n))
    trust = jax.nn.sigmoid(apart + jnp.log(BALANCED))
    gain = trust * linalg.solve(cov, slope @ found.doubt).T
    return gain @ lean, found.doubt - gain @ slope @ found.doubt


def fit(x: Float[Array, " n"], cov: Float[Array, "n n"]) -> Float[Array, ""]:
    """Logarithm of the normal density of x about 0, but for a constant.

    >>> fit(jnp.array([2.0]), jnp.eye(1)).item()
    -2.0
    """
    return -0.5 * (linalg.slogdet(cov)[1] + x @ linalg.solve(cov, x))
