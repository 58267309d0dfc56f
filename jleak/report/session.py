"""What a command shows while it works and when it is done."""

import json
import resource
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jleak.audit import cache as compilation
from jleak.audit import store
from jleak.audit.config import cases, config_of
from jleak.audit.driver import Progress as Stand
from jleak.audit.driver import run
from jleak.check import InputError
from jleak.report import console as tables
from jleak.report import figures, page
from jleak.report.rows import rows

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def audit(
    settings: dict[str, Any],
    *,
    config: Path | None,
    out: Path,
    resume: bool,
    cache: Path | str | None,
    clock: float,
) -> None:
    """Runs an audit in the terminal: progress, table, records, pictures, report.

    Args:
      settings: what the flags say; over those of `config`.
      config: a YAML file, or None.
      out: the run's directory.
      resume: whether to go on with what `out` holds.
      cache: the compilation cache: a directory, "default", or None for none.
      clock: when the command started, by `time.perf_counter`.

    Raises:
      InputError: bad input; nothing was lost.
    """
    screen = terminal()
    plan = cases(config_of(settings, config))
    where, uses = (None, compilation.Uses()) if cache is None else compilation.enable(directory(cache))
    command = shlex.join(["jleak", *sys.argv[1:]])
    finished = store.open_run(out, {"command": command, "cases": [c.to_json() for c in plan]}, resume=resume)
    if finished:
        kept = sum(case.case_id in finished for case in plan)
        apart = len(finished) - kept
        screen.print(
            f"{kept} of {len(plan)} cases were finished before"
            + (f"; {apart} more have other settings: kept in the records, not in this table" if apart else "")
        )
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=screen,
        ) as bars:
            records = run(plan, out, finished=finished, report=shown(bars, len(plan)))
    except KeyboardInterrupt:
        done = len(store.read_records(out))
        again = command if "--resume" in command else f"{command} --resume"
        again += "" if "--out" in command else f" --out {out}"
        screen.print(
            f"\nstopped; {done} finished cases are kept in {out}. Go on with:\n  {again}", soft_wrap=True
        )
        raise SystemExit(INTERRUPTED) from None
    attacked = time.perf_counter() - clock
    present(screen, out, records)
    taken = f"{uses.hits} of {uses.hits + uses.misses} programs taken from the compilation cache ({where})"
    total = time.perf_counter() - clock
    screen.print(
        f"{total:.0f} s in all, {attacked:.0f} s of it attacks and compiling; peak memory {peak():.1f} GiB; "
        f"{taken if where else 'compilation cache off'}",
        soft_wrap=True,
    )


def report(path: Path) -> None:
    """Makes table, pictures and page of a finished run again.

    Raises:
      InputError: the directory is no run, or holds no finished case.
    """
    records = store.read_records(path)
    if not records:
        raise InputError(f"{path} holds no finished case; go on with: jleak audit --resume --out {path}")
    present(terminal(), path, records)


def present(screen: Console, path: Path, records: list[dict[str, Any]]) -> None:
    """The table on the screen; pictures and page on the disk."""
    found = rows(records)
    for table in tables.tables(found, screen.width):
        screen.print(table)
    pictures = figures.draw(found, path)
    made = json.loads((path / "audit.json").read_text())
    store.write_aside(path / "report.html", page.html(found, pictures, made).encode())
    screen.print(
        f"records   {path / 'records.jsonl'}\nfigures   {path / 'figures'}\nreport    {path / 'report.html'}",
        soft_wrap=True,
        highlight=False,
    )


def shown(bars: Progress, total: int):
    """A listener of the driver that moves a bar; one line a case where there is no terminal."""
    task = bars.add_task("attacking", total=total)
    seen = set()

    def listen(stand: Stand) -> None:
        case = stand.case
        text = f"{case.model} {case.defense:8} {case.attack:10} seed {case.seed}"
        bars.update(task, completed=stand.done, description=f"{text} {100 * stand.part:3.0f} %")
        if not bars.console.is_terminal and stand.done not in seen and stand.part == 0:
            seen.add(stand.done)
            bars.console.print(f"{stand.done}/{stand.total} {text}", highlight=False)

    return listen


def terminal() -> Console:
    """The screen; a file or a pipe counts as a wide one."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=tables.WIDE)


def directory(cache: Path | str) -> Path | None:
    """The cache's directory, None for the default one."""
    return None if cache == "default" else Path(cache)


def peak() -> float:
    """Peak memory of this process in GiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
