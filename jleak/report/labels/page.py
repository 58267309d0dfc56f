"""The report page of label attacks."""

from collections.abc import Sequence
from typing import Any

from jleak.labels.size import MOST
from jleak.report.figures import Picture
from jleak.report.labels.console import estimated, imbalance, leaks, written
from jleak.report.labels.rows import SUSPICIOUS, Block
from jleak.report.page import rendered


def html(found: Sequence[Block], pictures: Sequence[Picture], made: dict[str, Any]) -> str:
    """The page of these blocks and pictures; `made` is the run's `audit.json`."""
    return rendered(
        "labels.html",
        pictures,
        made,
        blocks=found,
        sized=any(block.sized for block in found),
        first=found[0].records[0],
        datasets=" and ".join(dict.fromkeys(block.setting["dataset"] for block in found)),
        models=" and ".join(dict.fromkeys(block.setting["model"] for block in found)),
        suspicious=SUSPICIOUS,
        written=written,
        estimated=estimated,
        most=MOST,
        leaks=leaks,
        imbalance=imbalance,
    )
