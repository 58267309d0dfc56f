"""The table in the terminal: as many columns as fit, the most telling first."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jleak.report import console as report
from jleak.report.console import STYLES, captioned, middle
from jleak.report.rows import RECOVERED, Spread, lost
from jleak.report.sweep.answers import Answer, headings, named, rounded

PAD = 3
"""Columns of screen between two columns of a table."""

NARROW = 100
"""Columns of screen below which quartiles and intervals are left out."""

FEW = 4
"""Values of a pooled setting that are told; of more, the first and the last."""


class Measure(NamedTuple):
    """A column of numbers.

    Attributes:
      heading: above it.
      cell: an answer's text.
      keep: the higher, the longer it stays as the screen gets narrow.
      told: whether to show it for these answers.
    """

    heading: str
    cell: Callable[[Answer], str]
    keep: int
    told: Callable[[Sequence[Answer]], bool] = lambda found: True


def median(number: float, form: str) -> str:
    """A number, or a dash where nothing was finite.

    >>> median(12.345, ".1f"), median(math.nan, ".1f")
    ('12.3', '-')
    """
    return "-" if math.isnan(number) else f"{number:{form}}"


def brief(measure: Measure) -> Measure:
    """A column without quartiles and intervals, where it has them.

    >>> MEASURES[2].heading, brief(MEASURES[2]).cell(type("", (), {"psnr": Spread(20.0, 10.0, 30.0)}))
    ('PSNR dB', '20.0')
    """
    return measure._replace(cell=lambda answer: measure.cell(answer).partition(" [")[0])


def quartiles(spread: Spread) -> str:
    """Decibels with their quartiles.

    >>> quartiles(Spread(20.0, 10.0, 30.0))
    '20.0 [10.0, 30.0]'
    """
    return f"{middle(spread, '.1f')} {report.quartiles(spread, '.1f')}".strip()


def percent(spread: Spread) -> str:
    """A share with its interval.

    >>> percent(Spread(0.5, 0.25, 0.75))
    '50 % [25, 75]'
    """
    return f"{100 * spread.median:.0f} % [{100 * spread.low:.0f}, {100 * spread.high:.0f}]"


MEASURES = (
    Measure("cases", lambda a: str(a.cases), 6),
    Measure("victims", lambda a: str(a.victims), 5),
    Measure("PSNR dB", lambda a: quartiles(a.psnr), 9),
    Measure("recovered", lambda a: percent(a.recovered), 8),
    Measure("labels", lambda a: percent(a.labels), 7),
    Measure("SSIM", lambda a: median(a.ssim, ".2f"), 4),
    Measure("MSE", lambda a: median(a.mse, ".0e"), 3),
    Measure("SNR dB", lambda a: median(a.snr, ".1f"), 3),
    Measure("constant dB", lambda a: median(a.constant, ".1f"), 1),
    Measure("evals", lambda a: f"{a.evaluations:.0f}", 2),
    Measure("s", lambda a: f"{a.seconds:.2g}", 2),
    Measure("not finite", lambda a: str(a.lost or ""), 7, lambda found: any(a.lost for a in found)),
    Measure("not ok", lambda a: str(sum(a.faults.values()) or ""), 8, lambda f: any(a.faults for a in f)),
    Measure("pooled", lambda a: pooled(a), 7, lambda found: any(a.pooled for a in found)),
)
"""The numbers of a table, in order."""


def pooled(answer: Answer) -> str:
    """Over how many values of which settings an answer is pooled.

    >>> pooled(type("", (), {"pooled": {"defense.sigma": [0.1, 1.0], "knows": ["nothing", "kind"]}}))
    '2 sigma, 2 knows'
    """
    return ", ".join(f"{len(v)} {name.partition('.')[2] or name}" for name, v in answer.pooled.items())


def table(found: Sequence[Answer], by: Sequence[str], digits: Mapping[str, int], width: int) -> Group:
    """The answers as a table below what they are about and above what they are pooled over.

    Args:
      found: the answers.
      by: what tells them apart.
      digits: of real numbers, by setting (`jleak.report.sweep.answers.digits`).
      width: columns of the screen; numbers that do not fit are left out.
    """
    names = headings(by)
    labels = [[named(answer, name, digits) for name in names] for answer in found]
    left = [max(len(n), *(len(row[i]) for row in labels)) for i, n in enumerate(names)]
    shown = fitting(found, width - sum(left) - PAD * len(left), narrow=width < NARROW)
    out = Table(box=SIMPLE_HEAD)
    for name in names:
        out.add_column(name, overflow="fold")
    for measure in shown:
        out.add_column(measure.heading, justify="right", no_wrap=True)
    before = [""] * len(names)
    for answer, label in zip(found, labels, strict=True):
        fresh = next((i for i, name in enumerate(label) if name != before[i]), len(names))
        if fresh == 0 and len(names) > 1 and any(before):
            out.add_section()
        told = ["" if i < fresh and i + 1 < len(names) else name for i, name in enumerate(label)]
        out.add_row(*map(Text, told), *(Text(m.cell(answer), style=style(m, answer)) for m in shown))
        before = label
    return captioned(title(found, by), out, "\n".join(notes(found, shown, digits)))


def style(measure: Measure, answer: Answer) -> str:
    """How a number is set off: decibels by what they say of the median victim."""
    if measure.heading in ("not finite", "not ok"):
        return "red"
    return STYLES[verdict(answer)] if measure.heading in ("PSNR dB", "recovered") else ""


def verdict(answer: Answer) -> str:
    """What the median victim lost, as `jleak.report.rows.Row.verdict`.

    >>> verdict(type("", (), {"psnr": Spread(31.0, 1.0, 40.0), "constant": 10.0}))
    'recovered'
    """
    return lost(answer.psnr.median, answer.constant)


def fitting(found: Sequence[Answer], room: int, *, narrow: bool) -> list[Measure]:
    """The numbers that fit so many columns of screen, those to keep most; one at least."""
    told = [brief(measure) if narrow else measure for measure in MEASURES if measure.told(found)]
    need = {m.heading: PAD + max(len(m.heading), *(len(m.cell(a)) for a in found)) for m in told}
    shown = list(told)
    while len(shown) > 1 and sum(need[m.heading] for m in shown) + PAD > room:
        shown.remove(min(shown, key=lambda m: m.keep))
    return shown


def title(found: Sequence[Answer], by: Sequence[str]) -> str:
    """What is asked.

    >>> title([], ["defense", "attack"])
    'What leaks, by defense, attack: 0 cases'
    """
    cases = sum(answer.cases for answer in found)
    return f"What leaks{', by ' if by else ''}{', '.join(headings(by))}: {cases} cases"


def notes(found: Sequence[Answer], shown: Sequence[Measure], digits: Mapping[str, int]) -> list[str]:
    """What a reader must know: which numbers these are, over what they are pooled, what went wrong."""
    lines = [
        f"PSNR: median [quartiles] over victims; recovered: victims of at least {RECOVERED:.0f} dB, labels: "
        "share found, both with the 95 % interval (Wilson).",
        *told_pools(found, digits),
        *told_faults(found),
    ]
    there = {m.heading for m in shown}
    left = [m.heading for m in MEASURES if m.told(found) and m.heading not in there]
    if left:
        lines.append(f"A wider screen, and report.html, show {', '.join(left)}, too.")
    return lines


def told_pools(found: Sequence[Answer], digits: Mapping[str, int]) -> list[str]:
    """What the answers are pooled over, in a sentence."""
    values: dict[str, list[Any]] = {}
    for answer in found:
        for name, some in answer.pooled.items():
            values[name] = values.get(name, []) + [v for v in some if v not in values.get(name, [])]
    if not values:
        return []
    told = "; ".join(f"{name} ({listed(some, digits.get(name))})" for name, some in values.items())
    return [f"Pooled, so that a row mixes different settings: {told}. Name them in --by to tell them apart."]


def listed(values: Sequence[Any], size: int | None = None) -> str:
    """A few values, or from which to which.

    >>> listed([0.1, 1.0]), listed([1, 2, 3, 4, 5])
    ('0.1, 1', '5 from 1 to 5')
    """
    told = [rounded(value, size) for value in values]
    return ", ".join(told) if len(told) <= FEW else f"{len(told)} from {told[0]} to {told[-1]}"


def told_faults(found: Sequence[Answer]) -> list[str]:
    """How many victims have no finite PSNR, and how many records each status that is not ok."""
    lost, faults = sum(answer.lost for answer in found), {}
    for answer in found:
        for status, count in answer.faults.items():
            faults[status] = faults.get(status, 0) + count
    lines = [f"{lost} victims' PSNR is not finite: in no median, and not recovered."] if lost else []
    return lines + [f"{count} records: {status}." for status, count in sorted(faults.items())]
