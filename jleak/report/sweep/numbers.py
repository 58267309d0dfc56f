"""Medians, quartiles and sums of groups of numbers, all groups at once."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from jleak.report.sweep.columns import Column


class Grouping(NamedTuple):
    """Records in groups.

    Attributes:
      ids: of each record, the number of its group.
      firsts: of each group, its first record.
    """

    ids: Int[np.ndarray, " records"]
    firsts: Int[np.ndarray, " groups"]

    @property
    def size(self) -> int:
        """How many groups."""
        return len(self.firsts)


def grouped(columns: list[Column], records: int) -> Grouping:
    """Records that agree in all columns together, the groups in the order of the columns' values.

    >>> grouped([Column("batch", [1, 2], np.array([1, 0, 1]))], 3)
    Grouping(ids=array([1, 0, 1]), firsts=array([1, 0]))
    """
    ids = np.zeros(records, np.int64)
    for column in columns:
        _, ids = np.unique(ids * len(column.values) + column.codes, return_inverse=True)
    return Grouping(ids, np.unique(ids, return_index=True)[1])


def finite(table: pa.Table, name: str, ids: Int[np.ndarray, " records"]) -> tuple[np.ndarray, np.ndarray]:
    """(group, number) of every finite number in a column of lists.

    >>> made = pa.table({"psnr": [[1.0, None], None, [3.0]]})
    >>> finite(made, "psnr", np.array([0, 0, 7]))
    (array([0, 7]), array([1., 3.]))
    """
    if name not in table.column_names:
        return np.zeros(0, np.int64), np.zeros(0)
    lists = pa.concat_arrays(table.column(name).chunks)
    numbers = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(float)
    kept = np.isfinite(numbers)
    return ids[pc.list_parent_indices(lists).to_numpy()][kept], numbers[kept]


def quantiles(
    ids: Int[np.ndarray, " n"], numbers: Float[np.ndarray, " n"], groups: int, at: tuple[float, ...]
) -> Float[np.ndarray, "groups at"]:
    """Quantiles of each group's numbers, interpolated as by `numpy.quantile`; NaN for a group without any.

    >>> quantiles(np.array([0, 0, 0, 2]), np.array([4.0, 1.0, 2.0, 5.0]), 3, (0.25, 0.5)).tolist()
    [[1.5, 2.0], [nan, nan], [5.0, 5.0]]
    """
    order = np.lexsort((numbers, ids))
    ordered = np.append(numbers[order], np.nan)
    ends = np.searchsorted(ids[order], np.arange(groups + 1))
    first, count = ends[:-1, None], np.diff(ends)[:, None]
    place = first + np.array(at) * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(first + count - 1, first))
    found = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    return np.where(count > 0, found, np.nan)


def sums(ids: Int[np.ndarray, " n"], numbers: np.ndarray, groups: int) -> Float[np.ndarray, " groups"]:
    """The sum of each group's numbers.

    >>> sums(np.array([0, 1, 1]), np.array([1, 2, 3]), 3).tolist()
    [1.0, 5.0, 0.0]
    """
    return np.bincount(ids, weights=numbers, minlength=groups)
