"""Mutual information by critics: networks trained to tell pairs from what was not drawn together.

All of them train one critic on pairs and one on shuffled pairs, and say what both reach on pairs that
neither has seen. Where the critic is not the best there is, that is less than the information (but SMILE's,
which is no bound). No sample of n pairs supports more than about log n (McAllester and Stratos, "Formal
Limitations on the Measurement of Mutual Information", AISTATS 2020): the cap, log of the pairs held out.

What each also takes: `dims`, `kind`, `hidden`, `batch`, `steps`, `every`, `lr`, `decay` and `held`, as
`jleak.leakage.mutual_information.neural.train.trained`.
"""

from jaxtyping import Array, Float

from jleak.check import number
from jleak.leakage.mutual_information.estimate import Estimate
from jleak.leakage.mutual_information.neural import bounds
from jleak.leakage.mutual_information.neural.train import trained, with_training
from jleak.types import Key

__all__ = ["infonce", "mine", "nwj", "smile"]


@with_training
def mine(
    key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], *, ema: float = 0.01, **training
) -> Estimate:
    """sup_T E[T(x, g)] - log E[e^T(x', g)], x' drawn apart from g: MINE.

    Donsker and Varadhan's bound by a network, its gradient corrected by a running mean of e^T (Belghazi et
    al., "Mutual Information Neural Estimation", ICML 2018, section 3.2). Its variance grows as e^(2 I).

    Args:
      ema: the share of a batch in the running mean.

    Raises:
      InputError: as `trained`; `ema` not in (0, 1].

    >>> import jax
    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
    >>> found = mine(jax.random.key(1), x, x + noise / 2, hidden=(64, 64), batch=256, steps=200, lr=0.003)
    >>> bool(abs(found.nats - 0.8) < 0.2), bool(abs(found.null) < 0.1)  # log(5)/2 = 0.8
    (True, True)
    """
    number("ema", ema, above=0, most=1)
    return trained(key, x, g, bounds.mine(ema), **training)


@with_training
def infonce(key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], **training) -> Estimate:
    """E[log(e^T(x_i, g_i) / mean_j e^T(x_j, g_i))], at most log K of the K pairs it is measured on: InfoNCE.

    Which of K vectors x belongs to g (van den Oord, Li and Vinyals, "Representation Learning with Contrastive
    Predictive Coding", arXiv 2018, section 2.3). The steadiest of the four.

    Raises:
      InputError: as `trained`.

    >>> import jax
    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
    >>> found = infonce(jax.random.key(1), x, x + noise / 2, hidden=(64, 64), batch=256, steps=200, lr=0.003)
    >>> bool(abs(found.nats - 0.8) < 0.2), bool(abs(found.null) < 0.1)  # log(5)/2 = 0.8
    (True, True)
    """
    return trained(key, x, g, bounds.plain(bounds.contrastive), **training)


@with_training
def nwj(key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], **training) -> Estimate:
    """sup_T 1 + E[T(x, g)] - E[e^T(x', g)], x' drawn apart from g: NWJ.

    Nguyen, Wainwright and Jordan, "Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk
    Minimization", IEEE Transactions on Information Theory 2010; with T + 1 for T, so that no information is
    T = 0. Unlike MINE's, an unbiased estimate of a lower bound; its variance grows as e^(2 I) too.

    Raises:
      InputError: as `trained`.

    >>> import jax
    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
    >>> found = nwj(jax.random.key(1), x, x + noise / 2, hidden=(64, 64), batch=256, steps=200, lr=0.003)
    >>> bool(abs(found.nats - 0.8) < 0.2), bool(abs(found.null) < 0.1)  # log(5)/2 = 0.8
    (True, True)
    """
    return trained(key, x, g, bounds.plain(bounds.unnormalised), **training)


@with_training
def smile(
    key: Key, x: Float[Array, "m px"], g: Float[Array, "m pg"], *, clip: float = 5.0, **training
) -> Estimate:
    """E[T(x, g)] - log E[e^clip(T(x', g))] by a critic trained to classify, clipped to [-clip, clip]: SMILE.

    Song and Ermon, "Understanding the Limitations of Variational Mutual Information Estimators", ICLR 2020:
    less variance than MINE and NWJ for a bias, upwards where e^T beyond the clip counts. No bound either way.

    Args:
      clip: of the scores of what was not drawn together; the paper's 1, 5 or infinity.

    Raises:
      InputError: as `trained`; `clip` <= 0.

    >>> import jax
    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
    >>> found = smile(jax.random.key(1), x, x + noise / 2, hidden=(64, 64), batch=256, steps=200, lr=0.003)
    >>> bool(abs(found.nats - 0.8) < 0.2), bool(abs(found.null) < 0.1)  # log(5)/2 = 0.8
    (True, True)
    """
    number("clip", clip, above=0)
    return trained(key, x, g, bounds.smile(clip), **training)
