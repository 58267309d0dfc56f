"""`jleak list` for people."""

import inspect
from typing import Any

from rich.console import Console
from rich.table import Table

from jleak import catalog
from jleak.check import REQUIRED, keywords
from jleak.report.rows import text


def show(screen: Console | None = None) -> None:
    """Prints every named part with its first line and its arguments."""
    screen = screen or Console()
    for kind, entries in catalog.KINDS.items():
        if not entries:
            screen.print(f"[bold]{kind}[/]  none yet\n")
            continue
        table = Table(title=kind, title_justify="left", title_style="bold", show_header=False, box=None)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column()
        for name in sorted(entries):
            factory = function(entries[name])
            text, args = line(factory), arguments(factory)
            table.add_row(name, text + (f"\n[dim]{args}[/]" if args else ""))
        screen.print(table)
        screen.print()


def function(entry: Any) -> Any:
    """The function behind a catalog entry."""
    for field in ("defense", "fn"):
        if hasattr(entry, "_fields") and field in entry._fields:
            return getattr(entry, field)
    return entry


def line(factory: Any) -> str:
    """The first line of the docstring, if it is the function's own."""
    text = inspect.getdoc(factory) or ""
    return text.splitlines()[0] if text else ""


def arguments(factory: Any) -> str:
    """The keyword-only arguments with their defaults.

    >>> def clip(*, bound, scope="global"): ...
    >>> arguments(clip)
    'bound, scope=global'
    """
    return ", ".join(
        name if default is REQUIRED else f"{name}={text(default)}"
        for name, default in keywords(factory).items()
    )
