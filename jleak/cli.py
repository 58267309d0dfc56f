"""The command line: `jleak audit | list | report`.

Imports of anything heavy are inside the commands, so that `jleak --help` is quick.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads only hurt small eigenproblems

import typer

from jleak.check import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Audits what a shared gradient gives away: plays the curious server against your own defense.",
)

NAMED = "Repeat for several. Arguments as NAME:argument=value,argument=value."
KNOWING = "What the attacker knows of the defense: nothing, kind, all. Repeat for several."
DRAWING = "How batches are drawn: random, balanced, distinct, one_class."
STARTS = "Starts a victim; the attacker keeps the one of lowest own loss."


@app.command()
def audit(
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags override it.")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, npz:PATH, folder:PATH or tfds:NAME.")] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"Model under attack. {NAMED}")] = None,
    client: Annotated[list[str] | None, typer.Option(help=f"How clients train. {NAMED}")] = None,
    defense: Annotated[list[str] | None, typer.Option(help=f"What the client does. {NAMED}")] = None,
    attack: Annotated[list[str] | None, typer.Option(help=f"What the server does. {NAMED}")] = None,
    knows: Annotated[list[str] | None, typer.Option(help=KNOWING)] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several; fixes every number.")] = None,
    loss_fn: Annotated[str | None, typer.Option(help="The client's loss: cross_entropy, mse, bce.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in a client's batch.")] = None,
    draw: Annotated[str | None, typer.Option(help=DRAWING)] = None,
    victims: Annotated[int | None, typer.Option(help="Client batches a seed.")] = None,
    restarts: Annotated[int | None, typer.Option(help=STARTS)] = None,
    known_labels: Annotated[bool, typer.Option("--known-labels", help="Grant the labels.")] = False,
    out: Annotated[Path | None, typer.Option(help="The run; default runs/audit-DATE-TIME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out: keep finished cases.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Attack real images end to end: a table here, then records, pictures and a report in runs/.

    Without any option: scikit-learn's digits, LeNet and an MLP, four defenses, two attacks.
    """
    flags = {
        "dataset": dataset, "models": model, "clients": client, "defenses": defense, "attacks": attack,
        "knows": knows, "seeds": seed, "loss_fn": loss_fn, "batch": batch, "draw": draw, "victims": victims,
        "restarts": restarts, "known_labels": known_labels or None,
    }  # fmt: skip
    if resume and out is None:
        raise InputError("--resume needs the run to go on with; add --out RUN")
    settings = {name: value for name, value in flags.items() if value not in (None, [])}
    clock = time.perf_counter()
    from jleak.report import session

    session.audit(
        settings,
        config=config,
        out=out or Path("runs") / time.strftime("audit-%Y%m%d-%H%M%S"),
        resume=resume,
        cache=None if no_cache else cache or "default",
        clock=clock,
    )


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


def main() -> None:
    """Runs the command; a wrong input is one message and exit code 2."""
    sys.path.append(os.getcwd())  # where the user's own package.module:factory may be
    try:
        app()
    except InputError as error:
        typer.secho(f"jleak: {error}", fg="red", err=True)
        sys.exit(2)
