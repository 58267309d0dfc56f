"""The report page of a run of optimisers."""

from collections.abc import Sequence
from typing import Any

from jleak.report.figures import Picture
from jleak.report.optimizers.console import significance, spent
from jleak.report.optimizers.rows import LEAST, Block
from jleak.report.page import rendered


def html(found: Sequence[Block], pictures: Sequence[Picture], made: dict[str, Any]) -> str:
    """The page of these leaderboards and pictures; `made` is the run's `audit.json`."""
    records = [record for block in found for line in block.lines for record in line.records]
    return rendered(
        "optimizers.html",
        pictures,
        made,
        blocks=found,
        first=records[0],
        datasets=" and ".join(dict.fromkeys(block.setting["dataset"] for block in found)),
        significance=significance,
        spent=spent,
        least=LEAST,
    )
