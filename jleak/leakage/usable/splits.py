"""Records for training, validation and test, and hands dealt from them: on the host, by key."""

import jax
import numpy as np
from jaxtyping import Int

from jleak.check import InputError
from jleak.leakage.usable.rows import SPLITS
from jleak.types import Key

SHARES = (0.6, 0.2, 0.2)
"""Of the records, and of the batches, that go to training, validation and test."""


def pools(
    key: Key, strata: Int[np.ndarray, " size"], *, groups: Int[np.ndarray, " size"] | None = None
) -> Int[np.ndarray, " size"]:
    """The split of each record, 0, 1 or 2, so that in each stratum 60, 20 and 20 % of them get one.

    Groups, or else records, go one by one, in random order, to the split that lacks most of what they have.

    Args:
      key: the same key splits alike on any machine.
      strata: whole numbers from 0 (labels, or labels times attributes).
      groups: whose record it is; one group is in one split, at the cost of exact shares.

    Raises:
      InputError: fewer than three groups.

    >>> np.bincount(pools(jax.random.key(0), np.zeros(10, int))).tolist()
    [6, 2, 2]
    """
    owners = np.arange(len(strata)) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    amount = int(owners.max(initial=-1)) + 1
    if amount < len(SPLITS):
        raise InputError(
            f"training, validation and test need a {'record' if groups is None else 'group'} each, got "
            f"{amount}; give more" + ("" if groups is None else ", or split by records: groups=None")
        )
    members = np.split(np.argsort(owners, kind="stable"), np.cumsum(np.bincount(owners))[:-1])
    lacking = np.outer(SHARES, np.bincount(strata))
    place = np.empty(len(strata), int)
    for owner in shuffled(key, amount):
        records = members[owner]
        chosen = int(np.argmax(lacking[:, strata[records]].sum(1)))
        place[records] = chosen
        np.subtract.at(lacking[chosen], strata[records], 1)
    return place


def apart(
    picks: Int[np.ndarray, "m n"],
    split: Int[np.ndarray, " m"],
    groups: Int[np.ndarray, " size"] | None = None,
) -> None:
    """Checks that no record, or no group, is in batches of two splits.

    Raises:
      InputError: one is; the message names it.

    >>> apart(np.array([[0, 1], [1, 2]]), np.array([0, 2]))
    Traceback (most recent call last):
    jleak.check.InputError: record 1 is in batches of training and test, so a probe would be tested on what \
it has learnt; draw each split's batches from records of its own (jleak.leakage.usable.draws)
    """
    what, owners = ("record", picks) if groups is None else ("group", np.asarray(groups)[picks])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = np.intersect1d(owners[split == one], owners[split == other])
        if both.size:
            raise InputError(
                f"{what} {both[0]} is in batches of {SPLITS[one]} and {SPLITS[other]}, so a probe would be "
                "tested on what it has learnt; draw each split's batches from records of its own "
                "(jleak.leakage.usable.draws)"
            )


def dealt(key: Key, deck: np.ndarray, sizes: Int[np.ndarray, " m"]) -> list[np.ndarray]:
    """Hands of these sizes, all cards of a hand different, from a deck shuffled anew when it runs out.

    >>> [sorted(hand.tolist()) for hand in dealt(jax.random.key(0), np.arange(3), [3, 3])]
    [[0, 1, 2], [0, 1, 2]]
    """
    hands, left, shuffles = [], np.empty(0, int), 0
    for size in sizes:
        if len(left) < size:
            fresh = shuffled(jax.random.fold_in(key, shuffles), len(deck))
            again = np.isin(fresh, left)  # what is still in hand comes last, so no hand has it twice
            left, shuffles = np.concatenate([left, fresh[~again], fresh[again]]), shuffles + 1
        hands.append(deck[left[:size]])
        left = left[size:]
    return hands


def shuffled(key: Key, size: int) -> Int[np.ndarray, " size"]:
    """0 to size - 1 in random order, on the host: sizes up to the same power of two share one program.

    >>> sorted(shuffled(jax.random.key(0), 3).tolist())
    [0, 1, 2]
    """
    bits = jax.random.bits(key, (1 << max(size - 1, 0).bit_length(),), "uint32")
    return np.argsort(np.asarray(bits)[:size], kind="stable")
