"""Usable information: how much an attacker of a given family learns about an attribute from each layer.

With V a family of probes f that give probabilities (Xu et al., "A Theory of Usable Information under
Computational Constraints", ICLR 2020, definitions 1 and 2),

    H_V(Y|G) = inf_{f in V} E[-log f[G](Y)],   I_V(G -> Y) = H_V(Y|0) - H_V(Y|G),

and for one update and its value (Ethayarajh et al., "Understanding Dataset Difficulty with V-Usable
Information", ICML 2022) PVI(g -> y) = log f[g](y) - log f_0[0](y), whose mean is I_V. Layer by layer after Mo
et al., arXiv 2105.13929, whose protocol could not be read: splits, null and intervals are jleak's own. What
is measured is a lower bound of what the family can use, up to the sampling of the test rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jleak.check import InputError, whole
from jleak.leakage.layers import Rows
from jleak.leakage.usable.families import Family, LogProbs, frequencies, logistic
from jleak.leakage.usable.rows import Split, members
from jleak.tree import stream
from jleak.types import Key

NATS_A_BIT = float(np.log(2))


class Usable(NamedTuple):
    """What the probes of a family found out about the attribute, layer by layer, on the test rows.

    In nats but for `bits`; seeds averaged.

    Attributes:
      entropy_null: H_V(Y|0), of the training frequencies.
      entropy: H_V(Y|G_l).
      raw: their difference; below 0 where a probe misleads.
      value: the same, at least 0: I_V.
      bits: that in bits.
      ratio: `value` over `entropy_null`, in [0, 1].
      low, high: 95 % interval of `raw`: bootstrap of test rows (or matched sets) and seeds, percentiles.
        Batches that share records make it too narrow.
      permuted: `raw` of probes that learnt permuted labels, one a permutation.
      null: the 95th percentile of those: what a layer that says nothing may reach. NaN without permutations.
      p: share of permutations that reach `raw`, itself counted as one.
      pvi: of each test row, its mean is `raw`.
      probabilities: of each test row and value, mean over seeds.
    """

    entropy_null: Float[Array, ""]
    entropy: Float[Array, " layers"]
    raw: Float[Array, " layers"]
    value: Float[Array, " layers"]
    bits: Float[Array, " layers"]
    ratio: Float[Array, " layers"]
    low: Float[Array, " layers"]
    high: Float[Array, " layers"]
    permuted: Float[Array, "layers permutations"]
    null: Float[Array, " layers"]
    p: Float[Array, " layers"]
    pvi: Float[Array, "layers tests"]
    probabilities: Float[Array, "layers tests classes"]


def usable(
    key: Key,
    rows: Rows,
    y: Int[np.ndarray, " m"],
    split: Split,
    *,
    sets: Int[np.ndarray, " m"] | None = None,
    family: Family | None = None,
    seeds: int = 3,
    permutations: int = 20,
    bootstraps: int = 1000,
) -> Usable:
    """I_V(G_l -> Y) of every layer: probes trained, chosen and tested on three splits.

    Layers, seeds and permutations are lanes of one program.

    Args:
      key: of first weights, minibatches, permutations and bootstrap.
      rows: the updates, a matrix a layer (or a set of layers: `cumulative`); the results keep their order.
      y: the attribute of each update, whole numbers from 0.
      split: of each update, 0 training, 1 validation, 2 test.
      sets: of each update, the number of its matched set (`Draws.sets`): labels are permuted within sets,
        and the interval resamples whole ones. None: all of a split is one set, and rows are resampled.
      family: of the probes; None takes `logistic()`.
      seeds: trainings of each layer.
      permutations: trainings of each layer and seed on labels permuted in training and validation.
      bootstraps: resamplings behind the interval.

    Raises:
      InputError: labels that are not as many whole numbers as updates, a value without training rows, an
        empty split, sets that reach over two splits, rows that the family refuses.

    >>> y, split = np.arange(90) % 2, np.arange(90) // 2 % 3
    >>> rows = {"shows": jnp.asarray(y[:, None], float), "hides": jnp.ones((90, 1))}
    >>> found = usable(jax.random.key(0), rows, y, split, family=logistic(lr=0.1), permutations=2)
    >>> [round(ratio, 2) for ratio in found.ratio.tolist()]
    [1.0, 0.0]
    """
    whole("seeds", seeds)
    whole("permutations", permutations, least=0)
    whole("bootstraps", bootstraps)
    family = logistic() if family is None else family
    y = values(y, split)
    x = family.stack(rows, split)
    within = np.asarray(split) if sets is None else _sets(sets, split)
    shuffled = permuted(stream(key, "permutations"), y, within, count=permutations)
    tasks = jnp.concatenate([y[None], jnp.where(np.asarray(split) == 2, y, shuffled)])
    logs = family.predict(stream(key, "probes"), x, tasks, split, int(y.max()) + 1, seeds)
    return measured(stream(key, "bootstrap"), logs, y, split, sets=sets, bootstraps=bootstraps)


def measured(
    key: Key,
    logs: LogProbs,
    y: Int[np.ndarray, " m"],
    split: Split,
    *,
    sets: Int[np.ndarray, " m"] | None = None,
    bootstraps: int = 1000,
) -> Usable:
    """The measures, from log-probabilities of all rows; the first task is the attribute, others permutations.

    Raises:
      InputError: as `usable`.

    >>> logs = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]]))[None, None, None]
    >>> y, split = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 2])
    >>> round(float(measured(jax.random.key(0), logs, y, split).bits[0]), 3)  # log2 of 0.8 / 0.5
    0.678
    """
    whole("bootstraps", bootstraps)
    y = values(y, split)
    train, _, test = members(split)
    known = jnp.log(frequencies(jnp.asarray(y[train]), logs.shape[-1]))[y[test]]
    gains = logs[..., test, y[test]] - known
    means = gains.mean((2, 3))  # (layers, tasks)
    raw, others = means[:, 0], means[:, 1:]
    entropy_null = -known.mean()
    low, high = _interval(key, gains[:, 0], test if sets is None else _sets(sets, split)[test], bootstraps)
    value = jnp.maximum(raw, 0.0)
    return Usable(
        entropy_null=entropy_null,
        entropy=entropy_null - raw,
        raw=raw,
        value=value,
        bits=value / NATS_A_BIT,
        ratio=value / entropy_null,
        low=low,
        high=high,
        permuted=others,
        null=_null(others),
        p=_p(raw, others),
        pvi=gains[:, 0].mean(1),
        probabilities=jnp.exp(logs[:, 0][..., test, :]).mean(1),
    )


def nested(found: Sequence[Usable]) -> Usable:
    """The measures of the union of families, each layer by the family that gains most; never below one's own.

    H_V over a union is the least of its parts', so larger families never score lower. The null goes through
    the same choice: of each permutation, the family that gains most there.

    Raises:
      InputError: no family, or families measured on different layers or permutations.
    """
    shapes = {one.permuted.shape for one in found}
    if len(shapes) != 1:
        raise InputError(
            "families must be measured on the same layers with as many permutations, got (layers, "
            f"permutations) {sorted(shapes)}; measure each with the same rows and settings"
        )
    chosen = jnp.stack([one.raw for one in found]).argmax(0)

    def pick(*leaves: Array) -> Array:
        if not leaves[0].ndim:
            return leaves[0]  # of the attribute alone
        each = jnp.stack(leaves)
        return jnp.take_along_axis(each, chosen.reshape(1, -1, *[1] * (each.ndim - 2)), 0)[0]

    best = jax.tree.map(pick, *found)
    others = jnp.stack([one.permuted for one in found]).max(0)
    return best._replace(permuted=others, null=_null(others), p=_p(best.raw, others))


def values(y: Int[np.ndarray, " m"], split: Split) -> Int[np.ndarray, " m"]:
    """The attribute on the host, checked: whole numbers from 0, two values or more, all seen in training.

    Raises:
      InputError: they are not.
    """
    y, split = np.asarray(y), np.asarray(split)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.shape != split.shape or y.min() < 0:
        raise InputError(
            f"y must be one whole number >= 0 an update, {len(split)} by split, got {y.dtype} {y.shape}; "
            "number the values of the attribute from 0"
        )
    counts = np.bincount(y[members(split)[0]], minlength=y.max() + 1)
    if len(counts) < 2:
        raise InputError(
            "y must take two values at least, got only 0: there is nothing to infer; choose an attribute "
            "that varies"
        )
    if not counts.all():
        raise InputError(
            f"every value must occur in training, got none of value {int(counts.argmin())}; draw more "
            "batches, or number the values without gaps"
        )
    return y


def permuted(
    key: Key, y: Int[np.ndarray, " m"], sets: Int[np.ndarray, " m"], *, count: int
) -> Int[Array, "count m"]:
    """Labels permuted within each set, `count` times.

    >>> permuted(jax.random.key(0), np.array([5, 5, 7, 7]), np.array([0, 0, 1, 1]), count=2).tolist()
    [[5, 5, 7, 7], [5, 5, 7, 7]]
    """
    bits = jax.random.bits(key, (count, len(y)), "uint32")
    places = np.argsort(sets, kind="stable")
    y, sets = jnp.asarray(y), jnp.asarray(sets)
    return jax.vmap(lambda one: jnp.zeros_like(y).at[places].set(y[jnp.lexsort((one, sets))]))(bits)


def _sets(sets: np.ndarray, split: Split) -> np.ndarray:
    sets, split = np.asarray(sets), np.asarray(split)
    if sets.shape != split.shape or len(np.unique(sets)) != len(np.unique(np.stack([sets, split]), axis=1).T):
        raise InputError(
            f"sets must be one number an update, {len(split)}, each set within one split, got shape "
            f"{sets.shape}; take Draws.sets"
        )
    return sets


def _interval(
    key: Key, gains: Float[Array, "layers seeds tests"], sets: np.ndarray, count: int
) -> tuple[Array, Array]:
    """The 2.5th and the 97.5th percentile of the mean, sets of rows and seeds resampled."""
    place = np.unique(sets, return_inverse=True)[1]
    sizes = np.bincount(place)
    sums = jnp.zeros((*gains.shape[:2], len(sizes)), gains.dtype).at[..., place].add(gains)
    k_seeds, k_sets = jax.random.split(key)

    def draws(key, size):
        drawn = jax.random.randint(key, (count, size), 0, size)
        return jax.vmap(lambda places: jnp.bincount(places, length=size))(drawn)

    of_seed, of_set = draws(k_seeds, gains.shape[1]), draws(k_sets, len(sizes))
    means = jnp.einsum("lst,bs,bt->lb", sums, of_seed, of_set) / (of_set @ sizes * gains.shape[1])
    low, high = jnp.quantile(means, jnp.array([0.025, 0.975]), axis=1)
    return low, high


def _null(others: Float[Array, "layers permutations"]) -> Float[Array, " layers"]:
    if not others.shape[1]:
        return jnp.full(len(others), jnp.nan)
    return jnp.quantile(others, 0.95, axis=1)


def _p(raw: Float[Array, " layers"], others: Float[Array, "layers permutations"]) -> Float[Array, " layers"]:
    return (1 + (others >= raw[:, None]).sum(1)) / (1 + others.shape[1])
