"""The report page of label attacks."""

from collections.abc import Sequence
from typing import Any

from jleak.report.figures import Picture
from jleak.report.labels.console import imbalance, leaks, written
from jleak.report.labels.rows import SUSPICIOUS, Block
from jleak.report.page import rendered


def html(found: Sequence[Block], pictures: Sequence[Picture], made: dict[str, Any]) -> str:
    """The page of these blocks and pictures; `made` is the run's `audit.json`."""
    return rendered(
        "labels.html",
        pictures,
        made,
        blocks=found,
        first=found[0].records[0],
        datasets=" and ".join(dict.fromkeys(block.setting["dataset"] for block in found)),
        models=" and ".join(dict.fromkeys(block.setting["model"] for block in found)),
        suspicious=SUSPICIOUS,
        written=written,
        leaks=leaks,
        imbalance=imbalance,
    )
