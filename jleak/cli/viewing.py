"""Commands that show: what there is to name, what a run has found."""

import json
from pathlib import Path
from typing import Annotated

import typer

from jleak.cli.app import app


@app.command("list")
def list_parts(
    as_json: Annotated[bool, typer.Option("--json", help="Print {kind: [names]} and nothing else.")] = False,
):
    """What there is to name: attacks, labels, defenses, metrics, models, data sets, ..."""
    from jleak import catalog

    if as_json:
        typer.echo(json.dumps(catalog.names(), indent=2))
        return
    from jleak.report import listing

    listing.show()


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's directory, such as runs/audit-20261120-2110.")]):
    """Make the table, the pictures and report.html of a run again, from its records."""
    from jleak.report import session

    session.report(run)
