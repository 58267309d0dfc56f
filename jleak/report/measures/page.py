"""The report page of a run of measures."""

from collections.abc import Sequence
from typing import Any

from jleak.report.figures import Picture
from jleak.report.measures.console import correlated, counted, exposed_caption, number, of_number, told
from jleak.report.measures.rows import Block
from jleak.report.measures.scatter import points
from jleak.report.page import rendered
from jleak.report.rows import spread


def html(found: Sequence[Block], pictures: Sequence[Picture], made: dict[str, Any]) -> str:
    """The page of these maps and pictures; `made` is the run's `audit.json`."""
    first = found[0].records[0]
    return rendered(
        "measures.html",
        pictures,
        made,
        blocks=found,
        first=first,
        datasets=" and ".join(dict.fromkeys(block.records[0]["dataset"] for block in found)),
        predicted=points(found),
        number=number,
        told=told,
        of_number=of_number,
        exposed_caption=exposed_caption,
        correlated=correlated,
        counted=counted,
        spread=lambda values: spread(values.ravel()),
    )
