"""The report page: one self-contained HTML file."""

import base64
from collections.abc import Sequence
from typing import Any

import jinja2

from jleak.report import mixing
from jleak.report.console import certified, meanings, middle, quartiles, running
from jleak.report.figures import Picture
from jleak.report.rows import MARGIN, RECOVERED, Row, by_model, counted, leakiest


def html(rows: Sequence[Row], pictures: Sequence[Picture], made: dict[str, Any]) -> str:
    """The page of these rows and pictures; `made` is the run's `audit.json`."""
    return rendered(
        "report.html",
        pictures,
        made,
        groups=by_model(rows),
        worst=[worst(group) for _, group in by_model(rows)],
        first=rows[0].records[0],
        datasets=" and ".join(dict.fromkeys(row.setting["dataset"] for row in rows)),
        batches=sorted({row.setting["batch"] for row in rows}),
        mixed=mixing.lines(rows),
        proven=mixing.proven,
        meanings=meanings(rows),
        certified=certified,
        running=running,
        recovered=RECOVERED,
        margin=MARGIN,
    )


def rendered(template: str, pictures: Sequence[Picture], made: dict[str, Any], **what: Any) -> str:
    """A template of this package with these pictures and settings of the run, and whatever else it shows."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jleak.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.globals |= {"middle": middle, "quartiles": quartiles, "counted": counted}
    embedded = [(p, base64.b64encode(p.path.read_bytes()).decode()) for p in pictures]
    return environment.get_template(template).render(pictures=embedded, made=made, **what)


def worst(group: Sequence[Row]) -> list[Row]:
    """Of each defense the row that leaks most, by median PSNR."""
    defenses = dict.fromkeys(row.defense for row in group)
    return [leakiest([r for r in group if r.defense == d]) for d in defenses]
