"""Batches with and without an attribute, matched in everything else, for probes to learn from.

Records go to training, validation and test before any batch is drawn, so that a probe is never tested on a
record, or a person, that it was trained on; and batches come in matched sets that hold the same task labels
under every value of the attribute, so that labels, which any gradient shows, do not count as the attribute.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from jleak.check import InputError, number, one_of, whole
from jleak.leakage.usable.rows import SPLITS
from jleak.leakage.usable.splits import SHARES, apart, dealt, pools
from jleak.tree import stream
from jleak.types import Key

HOW = ("homogeneous", "presence")
"""What a batch's attribute is; see `draws`."""


class Draws(NamedTuple):
    """Batches, for training, validation and test.

    Attributes:
      picks: the records of each batch, as positions in the data set. All of a batch differ.
      value: each batch's attribute: under `homogeneous` the place of the value among the sorted ones that
        occur; under `presence` 1 where the batch has it, else 0.
      split: 0 training, 1 validation, 2 test. No record, or group, is in two of them.
      sets: each batch's matched set, counted from 0; the batches of one stand next to each other.
    """

    picks: Int[np.ndarray, "m n"]
    value: Int[np.ndarray, " m"]
    split: Int[np.ndarray, " m"]
    sets: Int[np.ndarray, " m"]


def draws(
    key: Key,
    labels: Int[np.ndarray, " size"],
    attribute: Int[np.ndarray, " size"],
    *,
    count: int,
    n: int,
    how: str = "homogeneous",
    share: float = 0.5,
    present: int = 1,
    groups: Int[np.ndarray, " size"] | None = None,
) -> Draws:
    """`count` batches of `n` records, as many of each value, in sets of one batch a value.

    The batches of a set stand next to each other and have the same labels, entry by entry. Within a split
    the least used records go first.

    Args:
      key: the same key draws the same batches on any machine.
      labels: of the task, one a record.
      attribute: of each record, whole numbers.
      count: of batches; a multiple of the number of values.
      n: records a batch.
      how: `homogeneous`: all records of a batch share the value. `presence`: of those with it `share` of
        the records, at least one, have the value `present`; of the others none.
      share: see `how`.
      present: see `how`.
      groups: whose record it is, one number a record; records of one group stay in one split.

    Raises:
      InputError: a constant attribute, one that `present` never occurs in, too few records of a label
        under a value for a batch in some split, a `count` that does not divide, arrays that do not match.

    >>> labels, attribute = np.arange(400) % 4, np.arange(400) // 4 % 2
    >>> found = draws(jax.random.key(0), labels, attribute, count=20, n=8)
    >>> found.picks.shape, np.bincount(found.split).tolist()
    ((20, 8), [12, 4, 4])
    >>> bool((labels[found.picks[0]] == labels[found.picks[1]]).all()), attribute[found.picks[1]].tolist()
    (True, [1, 1, 1, 1, 1, 1, 1, 1])
    """
    one_of("how", how, HOW)
    whole("n", n)
    number("share", share, above=0, most=1)
    labels, attribute = _whole("labels", labels), _whole("attribute", attribute)
    kinds, values = _kinds(attribute, how, present)
    _same_length(labels=labels, attribute=attribute, groups=groups)
    _, marks = np.unique(labels, return_inverse=True)
    place = pools(stream(key, "pools"), kinds * (marks.max() + 1) + marks, groups=groups)
    sets, holders = _sets(count, values), max(1, round(share * n)) if how == "presence" else n
    picks = []
    for split, size in enumerate(sets):
        cells = _cells(place == split, kinds, values, marks)
        picks.append(_drawn(stream(key, SPLITS[split]), cells, size, n, holders, SPLITS[split]))
    found = Draws(
        np.concatenate(picks),
        np.tile(np.arange(values), sum(sets)),
        np.repeat(np.arange(len(sets)), np.array(sets) * values),
        np.repeat(np.arange(sum(sets)), values),
    )
    apart(found.picks, found.split, groups)
    return found


def batches(
    key: Key,
    labels: Int[np.ndarray, " size"],
    *,
    count: int,
    n: int,
    groups: Int[np.ndarray, " size"] | None = None,
) -> Draws:
    """Batches of any records, split alike: for what asks about the images themselves. `value` is 0.

    Raises:
      InputError: fewer records in a split than a batch takes.

    >>> batches(jax.random.key(0), np.arange(100) % 10, count=10, n=4).picks.shape
    (10, 4)
    """
    whole("n", n)
    labels = _whole("labels", labels)
    _same_length(labels=labels, groups=groups)
    place = pools(stream(key, "pools"), np.unique(labels, return_inverse=True)[1], groups=groups)
    sets, picks = _sets(count, 1), []
    for split, size in enumerate(sets):
        records = np.flatnonzero(place == split)
        picks.append(_drawn(stream(key, SPLITS[split]), [[records]], size, n, n, SPLITS[split]))
    split = np.repeat(np.arange(len(sets)), sets)
    found = Draws(np.concatenate(picks), np.zeros(count, int), split, np.arange(count))
    apart(found.picks, found.split, groups)
    return found


def _cells(within: np.ndarray, kinds: np.ndarray, values: int, marks: np.ndarray) -> list[list[np.ndarray]]:
    """The records of each value and label."""
    labels = range(marks.max() + 1)
    return [[np.flatnonzero(within & (kinds == a) & (marks == c)) for c in labels] for a in range(values)]


def _drawn(
    key: Key, cells: list[list[np.ndarray]], sets: int, n: int, holders: int, name: str
) -> Int[np.ndarray, "m n"]:
    """The batches of one split: sets of one a value, from the records of each value and label.

    Under `presence`, `holders` < n: of a set's batch 1 that many records come from value 1, the rest from 0.
    """
    sizes = np.array([[len(records) for records in row] for row in cells])
    shared = sizes.min(0)
    rest = np.maximum(sizes[0] - np.minimum(shared, holders), 0)
    _enough(shared.sum(), holders, rest.sum(), n - holders, name)
    of_label = np.arange(len(shared))
    marks = np.concatenate(
        [
            dealt(stream(key, part), np.repeat(of_label, amount), np.full(sets, take))
            for part, amount, take in (("holders", shared, holders), ("rest", rest, n - holders))
        ],
        axis=1,
    )
    # who holds the value, in a random place of the batch; the whole batch where it is homogeneous
    order = np.argsort(np.asarray(jax.random.bits(stream(key, "order"), (sets, n), "uint32")), 1, "stable")
    marks, holds = np.take_along_axis(marks, order, 1), order < holders
    values = len(cells)
    source = np.where(holds[:, None], np.arange(values)[:, None], 0)  # (sets, values, n)
    marks = np.broadcast_to(marks[:, None], source.shape)
    picks = np.empty(source.shape, int)
    for a in range(values):
        for c in of_label:
            wanted = ((source == a) & (marks == c)).reshape(-1, n)
            hands = dealt(jax.random.fold_in(stream(key, f"value {a}"), int(c)), cells[a][c], wanted.sum(1))
            picks.reshape(-1, n)[wanted] = np.concatenate(hands) if wanted.any() else []
    return picks.reshape(-1, n)


def _enough(shared: int, holders: int, rest: int, others: int, name: str) -> None:
    for has, needs in ((shared, holders), (rest, others)):
        if has < needs:
            raise InputError(
                f"the {name} records must have {needs} that every value of the attribute can match label by "
                f"label for a batch, got {has}; use a smaller n, more records of the rarer value in every "
                "label, fewer labels, or an attribute that labels do not determine"
            )


def _kinds(attribute: np.ndarray, how: str, present: int) -> tuple[np.ndarray, int]:
    """Each record's place among the values, and how many values there are."""
    values, kinds = np.unique(attribute, return_inverse=True)
    if len(values) < 2:
        raise InputError(
            f"the attribute must take two values at least, got {values.tolist()} only: there is nothing to "
            "infer; choose an attribute that varies, or add records without it"
        )
    if how == "homogeneous":
        return kinds, len(values)
    if present not in values:
        raise InputError(
            f"present must be a value of the attribute, got present={present}; it takes {values.tolist()}"
        )
    return (attribute == present).astype(int), 2


def _sets(count: int, values: int) -> list[int]:
    """Matched sets of each split."""
    whole("count", count, least=len(SPLITS) * values, hint="every split needs a batch of every value")
    if count % values:
        raise InputError(
            f"count must be a multiple of {values}, the number of attribute values, got count={count}; "
            f"use {count - count % values}"
        )
    sets = count // values
    held = [max(1, round(share * sets)) for share in SHARES[1:]]
    return [sets - sum(held), *held]


def _whole(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InputError(
            f"{name} must be one whole number a record, got {array.dtype} {array.shape}; cast them to int"
        )
    return array.astype(int)


def _same_length(**arrays: np.ndarray | None) -> None:
    sizes = {name: np.shape(array) for name, array in arrays.items() if array is not None}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in sizes.items())
        raise InputError(f"there must be one of each a record, got {listed}; give arrays of one data set")
