"""A critic trained on some pairs, chosen on others, measured on the rest; another, on shuffled pairs."""

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from jleak.check import InputError, number, whole
from jleak.leakage.fit import Fit, fit
from jleak.leakage.mutual_information.estimate import (
    Dims,
    Estimate,
    Pairs,
    estimate,
    normal_scores,
    pairs,
    shuffled,
)
from jleak.leakage.mutual_information.neural.bounds import Bound, error, uniform
from jleak.leakage.mutual_information.neural.critic import Critic, critic
from jleak.types import Key

MOST = 32
"""Components of each side by default."""

LEAST = 64
"""Pairs set aside for the choice, and for the measurement, at least: what the interval needs."""

WARMUP = 0.1
"""The share of the steps over which the learning rate grows; it falls as a cosine over the others."""

NORM = 5.0
"""To which a gradient is clipped."""


class Split(NamedTuple):
    """Pairs to train on, to choose by, and to measure on."""

    train: tuple[Float[Array, "m dx"], Float[Array, "m dg"]]
    choose: tuple[Float[Array, "held dx"], Float[Array, "held dg"]]
    test: tuple[Float[Array, "held dx"], Float[Array, "held dg"]]


def trained(
    key: Key,
    x: Float[Array, "m px"],
    g: Float[Array, "m pg"],
    bound: Bound,
    *,
    dims: Dims = None,
    kind: str = "separable",
    hidden: tuple[int, ...] = (128, 128),
    batch: int = 512,
    steps: int = 2000,
    every: int = 50,
    lr: float = 1e-3,
    decay: float = 1.0,
    held: int = 4096,
) -> Estimate:
    """The bound on pairs that its critic has not seen.

    AdamW, its learning rate warmed up and then falling. The critic begins at 0 everywhere, where the bound is
    0, and the best on the pairs set aside is kept: where nothing is learnt, that is the first, with 0 for
    estimate and width of the interval. Components are taken by their normal scores: those of gradients
    have tails so heavy that e^T of a few pairs would be all that a bound is made of.

    Args:
      key: for the split, the shuffle, the critics and their batches.
      x, g: rows that belong together.
      bound: by which the critic is trained and measured.
      dims: components of each; None: all, up to 32.
      kind: of critic: `separable`, or `joint`, with a smaller batch and fewer held.
      hidden: widths of the critic's networks.
      batch: pairs a step; each x with all their g.
      steps, every, lr, decay: of the training; `every` so many steps the critic is compared with the best so
        far. `decay`, of the weights, is for few pairs or little information, which critics learn by heart.
      held: pairs set aside to choose by, and as many more to measure on: at most a quarter of all each.

    Raises:
      InputError: as `pairs`; fewer than 4 * 64 rows; an argument out of range.

    >>> from jleak.leakage.mutual_information.neural import bounds
    >>> x = jax.random.normal(jax.random.key(0), (2000, 2))
    >>> g = x + jax.random.normal(jax.random.key(1), x.shape)
    >>> found = trained(jax.random.key(2), x, g, bounds.plain(bounds.contrastive), hidden=(8,), steps=200)
    >>> bool(abs(found.nats - jnp.log(2)) < 0.15), bool(abs(found.null) < 0.05)
    (True, True)
    """
    whole("batch", batch, least=2, hint="a pair needs another to be told from")
    sample = pairs(x, g, dims, most=MOST)
    sample = sample._replace(x=normal_scores(sample.x), g=normal_scores(sample.g))
    held = _held(held, len(x))
    network = critic(kind, sample.x.shape[1], sample.g.shape[1], hidden=hidden)
    learn = functools.partial(fit, optimizer=_optimizer(lr, decay, steps), steps=steps, every=every)
    order, other, key = jax.random.split(key, 3)
    sample = mixed(order, sample)

    def measured(key, g):
        parts = split(sample.x, g, held)
        params = learnt(key, network, bound, parts, learn, batch=batch)
        scores = network.apply(params, *parts.test)
        return bound.value(scores, uniform(scores)), 1.96 * error(bound.value, scores)

    both = jnp.stack([sample.g, shuffled(other, sample.g)])
    nats, errors = jax.vmap(measured)(jax.random.split(key), both)
    return estimate(sample, nats[0], errors[0], nats[1], errors[1], jnp.log(held))


def learnt(
    key: Key, network: Critic, bound: Bound, parts: Split, learn: Callable[..., Fit], *, batch: int
) -> PyTree:
    """The parameters of the critic that is best on the pairs to choose by."""
    first, key = jax.random.split(key)

    def loss(key, params, memory):
        picks = jax.random.randint(key, (batch,), 0, len(parts.train[0]))
        return bound.loss(network.apply(params, *(side[picks] for side in parts.train)), memory)

    def score(params):
        scores = network.apply(params, *parts.choose)
        return bound.score(scores) if bound.score else -bound.value(scores, uniform(scores))

    return learn(key, network.init(first), loss, score, memory=bound.memory).params


def _held(held: int, rows: int) -> int:
    held = min(whole("held", held), rows // 4)
    if held < LEAST:
        raise InputError(
            f"held-out pairs must be >= {LEAST}, got {held} of {rows} rows; "
            f"draw at least {4 * LEAST} pairs and hold {LEAST} or more"
        )
    return held


def _optimizer(lr: float, decay: float, steps: int) -> optax.GradientTransformation:
    number("lr", lr, above=0)
    number("decay", decay, least=0)
    begin = max(1, int(WARMUP * whole("steps", steps)))
    rates = optax.warmup_cosine_decay_schedule(0.0, lr, begin, steps + 1)
    return optax.chain(optax.clip_by_global_norm(NORM), optax.adamw(rates, weight_decay=decay))


def mixed(key: Key, sample: Pairs) -> Pairs:
    """The pairs in random order."""
    order = jax.random.permutation(key, len(sample.x))
    return sample._replace(x=sample.x[order], g=sample.g[order])


def split(x: Float[Array, "m dx"], g: Float[Array, "m dg"], held: int) -> Split:
    """The last pairs to measure on, as many before them to choose by.

    >>> [len(part[0]) for part in split(jnp.ones((10, 1)), jnp.ones((10, 1)), 2)]
    [6, 2, 2]
    """
    ends = (slice(None, -2 * held), slice(-2 * held, -held), slice(-held, None))
    return Split(*((x[end], g[end]) for end in ends))


def with_training(fn: Callable) -> Callable:
    """`fn(key, x, g, *, ..., **training)`, which shows what `trained` takes as its own.

    >>> from jleak.check import keywords
    >>> @with_training
    ... def fn(key, x, g, *, ema=0.01, **training): ...
    >>> list(keywords(fn))[:3]
    ['ema', 'dims', 'kind']
    """
    own = [one for one in inspect.signature(fn).parameters.values() if one.kind is not one.VAR_KEYWORD]
    training = [one for one in inspect.signature(trained).parameters.values() if one.kind is one.KEYWORD_ONLY]
    fn.__signature__ = inspect.Signature([*own, *training], return_annotation=Estimate)
    return fn
