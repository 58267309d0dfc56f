"""Commands that show: what there is to name, what a run has found."""

import json
from pathlib import Path
from typing import Annotated

import typer

from jleak.check import InputError
from jleak.cli.app import app
from jleak.cli.texts import BY, WHERE


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
def report(
    run: Annotated[str, typer.Argument(help="A run's directory, or a sweep's directory or URL.")],
    by: Annotated[str | None, typer.Option(help=BY)] = None,
    where: Annotated[list[str] | None, typer.Option(help=WHERE)] = None,
):
    """Make the table, the pictures and report.html of a run or a sweep again, from its records."""
    from jleak.audit.sweep import place, store

    if store.begun(held := place.place(run)):
        from jleak.report.sweep import show

        show(held, [name.strip() for name in by.split(",")] if by else None, where or [])
        return
    if by or where:
        raise InputError(f"--by and --where are of sweeps, and {run} is none; leave them away")
    from jleak.report import session

    session.report(Path(run))
