"""The application that every command belongs to."""

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Audits what a shared gradient gives away: plays the curious server against your own defense.",
)
