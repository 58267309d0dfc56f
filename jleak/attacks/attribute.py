"""Inference of an attribute of a batch from its update, by probes trained on updates of the attacker's own.

Melis et al., "Exploiting Unintended Feature Leakage in Collaborative Learning", S&P 2019, train a classifier
on updates of auxiliary batches with and without a property; layer by layer after Mo et al., arXiv 2105.13929.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jleak.check import InputError, number, whole
from jleak.leakage.layers import Rows
from jleak.leakage.usable import Family, cumulative, logistic, narrowed
from jleak.leakage.usable.information import values
from jleak.leakage.usable.rows import check_rows
from jleak.leakage.usable.splits import shuffled
from jleak.tree import stream
from jleak.types import Key

ALL = "all"
"""The name under which all layers together are attacked."""


class Inference(NamedTuple):
    """What the attacker thinks of every victim's attribute.

    Attributes:
      names: of the layers, and `ALL` last.
      probabilities: of each value.
      guess: the likeliest value.
    """

    names: tuple[str, ...]
    probabilities: Float[Array, "layers victims classes"]
    guess: Int[Array, "layers victims"]


def attribute(
    key: Key,
    known: Rows,
    y: Int[np.ndarray, " m"],
    victims: Rows,
    *,
    split: Int[np.ndarray, " m"] | None = None,
    family: Family | None = None,
    holdout: float = 0.25,
    seeds: int = 3,
    k: int = 256,
    how: str = "sketch",
) -> Inference:
    """The attribute of each victim's batch, from each layer of its update and from all of them together.

    The attacker computes updates of batches of its own, with and without the attribute, as the client would,
    and trains probes on them; the victims' updates are only ever put into the trained probes.

    Args:
      key: of sketches, the split, first weights and minibatches.
      known: the attacker's updates, a matrix a layer.
      y: their attribute, whole numbers from 0.
      victims: the victims' updates, with the same layers.
      split: of the attacker's updates, 0 to train on and 1 to choose by, best without a record in both; None
        draws it.
      family: of probes; None takes `logistic()`.
      holdout: share of the attacker's updates to choose by, where `split` is None.
      seeds: trainings whose probabilities are averaged.
      k, how: wider layers are narrowed to that (`jleak.leakage.usable.narrowed`), all together too.

    Raises:
      InputError: victims with other layers, labels or a split that do not match, a value that the attacker
        has no update of to train on, a number out of bounds.

    >>> import jax
    >>> y = jnp.arange(40) // 2 % 2
    >>> known = {"head": jnp.stack([2.0 * y - 1, jnp.ones(40)], 1)}
    >>> found = attribute(jax.random.key(0), known, y, {"head": jnp.array([[1.0, 1.0], [-1.0, 1.0]])},
    ...     family=logistic(lr=0.1))
    >>> found.names, found.guess.tolist()
    (('head', 'all'), [[1, 0], [1, 0]])
    """
    whole("seeds", seeds)
    family = logistic() if family is None else family
    _matching(known, victims)
    count = len(next(iter(victims.values())))
    part = _split(stream(key, "split"), len(y), holdout) if split is None else np.asarray(split)
    part = np.concatenate([part, np.full(count, 2)])
    y = np.concatenate([np.asarray(y), np.zeros(count, int)])  # the victims' is nobody's to look at
    y = values(y, part)
    rows = {name: jnp.concatenate([known[name], victims[name]]) for name in known}
    check_rows(rows, part)
    together = list(cumulative(stream(key, "all"), rows, part, k=k, how=how).values())[-1]
    rows = {**narrowed(stream(key, "layers"), rows, part, k=k, how=how), ALL: together}
    x = family.stack(rows, part)
    logs = family.predict(stream(key, "probes"), x, jnp.asarray(y)[None], part, int(y.max()) + 1, seeds)
    probabilities = jnp.exp(logs[:, 0, :, -count:]).mean(1)
    return Inference(tuple(rows), probabilities, probabilities.argmax(-1))


def _matching(known: Rows, victims: Rows) -> None:
    shapes = [{name: x.shape[1:] for name, x in rows.items()} for rows in (known, victims)]
    if shapes[0] != shapes[1] or not known or ALL in known:
        raise InputError(
            f"known and victims must have the same layers, none named {ALL!r}, got {shapes[0]} and "
            f"{shapes[1]}; take both from updates of one model"
        )


def _split(key: Key, size: int, holdout: float) -> Int[np.ndarray, " m"]:
    number("holdout", holdout, above=0, below=1)
    return (shuffled(key, size) < max(1, round(holdout * size))).astype(int)
