"""Truth above reconstruction, of the answers that tell of the most and of the least leakage."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from jleak.audit.sweep import store
from jleak.audit.sweep.place import Place
from jleak.report import tiles
from jleak.report.sweep.answers import Answer, headings, named
from jleak.report.sweep.columns import PARTS
from jleak.report.tiles import Line

COLUMNS = 8
"""Victims of an answer."""

ENDS = 2
"""Answers of the most leakage, and as many of the least."""


class Victim(NamedTuple):
    """A victim of a case: its number there, and its PSNR, NaN if that is not finite."""

    case: str
    number: int
    psnr: float


def picture(
    where: Place, table: pa.Table, found: Sequence[Answer], by: Sequence[str], digits: Mapping[str, int]
) -> Figure | None:
    """The figure; None where no image was kept."""
    shown = [(answer, victims(table, answer.records)) for answer in ends(found)]
    images = store.images_of(where, {victim.case for _, some in shown for victim in some})
    if not images:
        return None
    lines: list[Line] = []
    for answer, some in shown:
        parts = [told(answer, heading, digits) for heading in headings(by)]
        below = [f"{victim.psnr:.1f} dB" if np.isfinite(victim.psnr) else "-" for victim in some]
        parts.append(f"median {answer.psnr.median:.1f} dB".replace(" ", "\N{NO-BREAK SPACE}"))
        truth, made = (
            [image(images, victim, kind) for victim in some] for kind in ("truth", "reconstruction")
        )
        lines += [Line("truth", truth, [""] * len(some)), Line("\n".join(parts), made, below)]
    return tiles.tiled(lines)


def told(answer: Answer, heading: str, digits: Mapping[str, int]) -> str:
    """What an answer has under a heading, with the heading where the value alone says little."""
    value = named(answer, heading, digits)
    return value if heading in PARTS else f"{heading}\N{NO-BREAK SPACE}{value}"


def ends(found: Sequence[Answer]) -> list[Answer]:
    """The answers of the most leakage, then those of the least, by the median PSNR; of equal ones one."""
    distinct = list({answer.psnr: answer for answer in reversed(found)}.values())[::-1]
    order = sorted(distinct, key=lambda a: np.nan_to_num(a.psnr.median, nan=-np.inf), reverse=True)
    return order if len(order) <= 2 * ENDS else [*order[:ENDS], *order[-ENDS:]]


def victims(table: pa.Table, records: Int[np.ndarray, " records"]) -> list[Victim]:
    """Victims from the worst to the best PSNR, at equal shares of all that there are.

    >>> made = pa.table({"case_id": ["a", "b"], "psnr": [[5.0, 1.0], [None]]})
    >>> [(v.case, v.number) for v in victims(made, np.array([0, 1]))]
    [('b', 0), ('a', 1), ('a', 0)]
    """
    some = table.take(records)
    lists = pa.concat_arrays(some.column("psnr").chunks)
    numbers = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(float)
    of = pc.list_parent_indices(lists).to_numpy()
    number = np.arange(len(of)) - np.searchsorted(of, of)
    order = np.argsort(np.nan_to_num(numbers, nan=-np.inf), kind="stable")
    places = sorted({round(i) for i in np.linspace(0, len(order) - 1, min(len(order), COLUMNS))})
    ids = some.column("case_id")
    return [Victim(ids[of[i]].as_py(), int(number[i]), float(numbers[i])) for i in order[places]]


def image(
    images: Mapping[str, Mapping[str, np.ndarray]], victim: Victim, kind: str
) -> Float[np.ndarray, "h w c"] | None:
    """The first image of a victim's batch, if it was kept."""
    return images[victim.case][kind][victim.number, 0] if victim.case in images else None
