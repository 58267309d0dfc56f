"""What a sweep's records answer: one row a group of them, its numbers over all of its victims."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from jleak.report.rows import RECOVERED, Spread, wilson
from jleak.report.sweep import numbers
from jleak.report.sweep.choosing import written
from jleak.report.sweep.columns import FIELDS, Column, of_part, varying
from jleak.report.sweep.numbers import Grouping

QUARTILES = (0.5, 0.25, 0.75)
LISTS = ("psnr", "ssim", "mse", "label_success", "constant_psnr", "snr")
"""Numbers by victim that an answer takes."""

NEEDED = (*FIELDS, *LISTS, "status", "evaluations", "seconds", "device", "versions", "host", "revision")
"""Columns of the store that answers and page take, besides `case_id`."""


CLIENT = ("dataset", "model", "weights", "loss_fn", "client", "batch", "draw", "victims", "seed")
"""Settings, with their arguments, that make a victim: cases that agree in these attack the same batches."""


class Answer(NamedTuple):
    """What a group of records says.

    Attributes:
      key: the settings that it has in common and that tell it apart, by name.
      strengths: numbers of its defense that it has in common and that are not in `key`.
      cases: how many.
      victims: how many clients' batches, each once, however many of the cases attack it.
      psnr: median and quartiles over victims, as all that follow of those with a finite number.
      ssim, mse, constant, snr: medians over victims; `constant` is the PSNR of the best constant image.
      labels: share of labels recovered, and its 95 % interval (Wilson) for so many victims; a victim without
        number counts as none.
      recovered: likewise, the share of victims of at least `RECOVERED` dB.
      evaluations: gradient evaluations of the victim model, a victim and case.
      seconds: of the attack, a case.
      lost: victims whose PSNR is not finite: in no median, and not recovered.
      faults: how many records have each status that is not `ok`.
      pooled: settings in which its records differ, and the values that they have.
      records: which records they are.
    """

    key: dict[str, Any]
    strengths: dict[str, float]
    cases: int
    victims: int
    psnr: Spread
    ssim: float
    mse: float
    constant: float
    snr: float
    labels: Spread
    recovered: Spread
    evaluations: float
    seconds: float
    lost: int
    faults: dict[str, int]
    pooled: dict[str, list[Any]]
    records: Int[np.ndarray, " cases"]


def answers(table: pa.Table, there: Mapping[str, Column], by: Sequence[str]) -> list[Answer]:
    """One answer a group of records that agree in all of `by`, in the order of these settings' values.

    Args:
      table: records, at least one, with the columns `NEEDED`.
      there: their settings (`jleak.report.sweep.columns.columns`).
      by: names of settings.
    """
    groups = numbers.grouped([there[name] for name in by], len(table))
    pooled = pools(groups, there, [name for name in varying(there) if name not in by])
    faults, strong = faulty(table, groups), strengths(groups, there, by)
    members = np.split(np.argsort(groups.ids, kind="stable"), np.cumsum(np.bincount(groups.ids))[:-1])
    found = []
    for group, values in enumerate(measured(table, groups, there)):
        first = groups.firsts[group]
        found.append(
            Answer(
                key={name: there[name].values[there[name].codes[first]] for name in by},
                strengths=strong[group],
                cases=len(members[group]),
                faults=faults[group],
                pooled=pooled[group],
                records=members[group],
                **values,
            )
        )
    return found


def measured(table: pa.Table, groups: Grouping, there: Mapping[str, Column]) -> list[dict[str, Any]]:
    """The numbers of each group, by the names of an `Answer`."""
    ids, size = groups.ids, groups.size
    batch, victims = (table.column(name).to_numpy() for name in ("batch", "victims"))
    finite = {name: numbers.finite(table, name, ids) for name in LISTS}
    of = {name: numbers.quantiles(*finite[name], size, QUARTILES) for name in LISTS}
    attacked, total = (numbers.sums(ids, count, size) for count in (victims, victims * batch))
    once = clients(groups, there)
    each, images = (numbers.sums(ids[once], n[once], size) for n in (victims, victims * batch))
    right = numbers.sums(*labelled(table, ids, batch), size)
    recovered = numbers.sums(finite["psnr"][0], finite["psnr"][1] >= RECOVERED, size)
    lost = attacked - np.bincount(finite["psnr"][0], minlength=size)
    spent = numbers.sums(ids, table.column("evaluations").to_numpy(), size) / attacked
    took = numbers.sums(ids, table.column("seconds").to_numpy(), size) / np.bincount(ids)
    return [
        {
            "victims": int(each[g]),
            "psnr": Spread(*map(float, of["psnr"][g])),
            **{name: float(of[name][g][0]) for name in ("ssim", "mse", "snr")},
            "constant": float(of["constant_psnr"][g][0]),
            "labels": share(right[g] / total[g], images[g]),
            "recovered": share(recovered[g] / attacked[g], each[g]),
            "evaluations": float(spent[g]),
            "seconds": float(took[g]),
            "lost": int(lost[g]),
        }
        for g in range(size)
    ]


def clients(groups: Grouping, there: Mapping[str, Column]) -> Int[np.ndarray, " victims"]:
    """Records of which each attacks other victims than the rest of its group."""
    names = [name for name in there if name.partition(".")[0] in CLIENT]
    same = numbers.grouped([there[name] for name in names], len(groups.ids))
    return np.unique(groups.ids * same.size + same.ids, return_index=True)[1]


def labelled(table: pa.Table, ids: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(group, labels found) of each victim: a record holds the share of its batch."""
    records, found = numbers.finite(table, "label_success", np.arange(len(table)))
    return ids[records], found * batch[records]


def share(found: float, trials: float) -> Spread:
    """A share of so many with its 95 % interval.

    >>> [round(end, 3) for end in share(1.0, 8)]
    [1.0, 0.676, 1.0]
    """
    return Spread(float(found), *map(float, wilson(found * trials, trials)))


def pools(groups: Grouping, there: Mapping[str, Column], names: Sequence[str]) -> list[dict[str, list]]:
    """Of each group, those of these settings in which its records differ; no argument is no value."""
    found: list[dict[str, list]] = [{} for _ in range(groups.size)]
    for name in names:
        values = there[name].values
        pairs = np.unique(groups.ids * len(values) + there[name].codes)
        for group, code in (divmod(pair, len(values)) for pair in pairs.tolist()):
            if values[code] is not None:
                found[group].setdefault(name, []).append(values[code])
    return [{name: v for name, v in one.items() if len(v) > 1} for one in found]


def strengths(groups: Grouping, there: Mapping[str, Column], by: Sequence[str]) -> list[dict[str, float]]:
    """Of each group, the real numbers of its defense that all of its records share and `by` does not name."""
    if "defense" not in by:
        return [{}] * groups.size
    found: list[dict[str, float]] = [{} for _ in range(groups.size)]
    for name in of_part("defense", there):
        codes = there[name].codes
        same = np.ones(groups.size, bool)
        np.logical_and.at(same, groups.ids, codes == codes[groups.firsts][groups.ids])
        for group in np.flatnonzero(same):
            value = there[name].values[codes[groups.firsts[group]]]
            if isinstance(value, float) and name not in by:
                found[group][name] = value
    return found


def faulty(table: pa.Table, groups: Grouping) -> list[dict[str, int]]:
    """Of each group, how many records have each status that is not `ok`."""
    found: list[dict[str, int]] = [{} for _ in range(groups.size)]
    status = pa.concat_arrays(table.column("status").chunks).dictionary_encode()
    names = status.dictionary.to_pylist()
    pairs = groups.ids * len(names) + status.indices.to_numpy()
    for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
        group, name = divmod(int(pair), len(names))
        if names[name] != "ok":
            found[group][names[name]] = int(count)
    return found


def headings(by: Sequence[str]) -> list[str]:
    """What tells answers apart, a part's arguments with the part where it is among them.

    >>> headings(["defense", "defense.sigma", "knows", "attack.lr"])
    ['defense', 'knows', 'attack.lr']
    """
    return [name for name in by if "." not in name or name.partition(".")[0] not in by]


def named(answer: Answer, heading: str, digits: Mapping[str, int] | None = None) -> str:
    """What an answer has under a heading: a part with its arguments, or a value.

    Args:
      answer: the answer.
      heading: one of `headings`.
      digits: of real numbers, by setting; all of them if it is not given.
    """

    def told(name: str, value: Any) -> str:
        return rounded(value, (digits or {}).get(name))

    args = {name: answer.key[name] for name in of_part(heading, answer.key)}
    if heading == "defense":
        args = answer.strengths | args
    texts = [f"{name.partition('.')[2]}={told(name, v)}" for name, v in args.items() if v is not None]
    return " ".join([told(heading, answer.key[heading]), *texts])


def rounded(value: Any, size: int | None) -> str:
    """A value with so many digits, if it is a real number; None for all of them.

    >>> rounded(0.0215443469, 3), rounded(0.0215443469, None), rounded(True, 3)
    ('0.0215', '0.0215443469', 'true')
    """
    return f"{value:.{size}g}" if size and isinstance(value, float) else written(value)


def digits(there: Mapping[str, Column]) -> dict[str, int]:
    """How many digits of a setting's real numbers tell them apart, three at least.

    >>> digits({"a": Column("a", [0.0215443469, 0.1], np.array([0, 1]))})
    {'a': 3}
    """
    found = {}
    for name, column in there.items():
        real = [value for value in column.values if isinstance(value, float)]
        sizes = (n for n in range(3, 17) if len({f"{value:.{n}g}" for value in real}) == len(set(real)))
        found[name] = next(sizes, 17)
    return found
