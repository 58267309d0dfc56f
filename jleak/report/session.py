"""What a command shows while it works and when it is done."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jleak.audit import cache as compilation
from jleak.audit import lanes, store
from jleak.audit.driver import Progress as Stand
from jleak.audit.settings import Setting
from jleak.check import InputError
from jleak.report.kinds import KINDS
from jleak.report.screen import INTERRUPTED, peak, say, terminal


def start(
    name: str,
    settings: dict[str, Any],
    *,
    config: Path | None,
    out: Path,
    resume: bool,
    cache: Path | str | None,
    clock: float,
) -> None:
    """Runs an audit, of images or of labels, in the terminal: progress, table, records, pictures, report.

    Args:
      name: the kind of run, of `KINDS`.
      settings: what the flags say; over those of `config`.
      config: a YAML file, or None.
      out: the run's directory.
      resume: whether to go on with what `out` holds.
      cache: the compilation cache: a directory, "default", or None for none.
      clock: when the command started, by `time.perf_counter`.

    Raises:
      InputError: bad input; nothing was lost.
    """
    screen, kind = terminal(), KINDS[name]
    lanes.every_core()
    plan, means = kind.plan(settings, config)
    finished = store.finished(out, resume=resume, kind=name)
    where, uses = caching(cache)  # before the first compilation, or JAX does not look again
    images = kind.prepared([case for case in plan if case.case_id not in finished], **means)
    command = shlex.join(["jleak", *sys.argv[1:]])
    store.make(out, {"kind": name, "command": command, "cases": [case.to_json() for case in plan]})
    notes = [before(plan, finished) if finished else "", *(mean.note() for mean in means.values())]
    for note in filter(None, notes):
        say(screen, note)
    try:
        with progress(screen) as bars:
            listen = shown(bars, len(plan), kind.line)
            records = kind.run(plan, out, images, finished=finished, report=listen, **means)
        attacked = time.perf_counter() - clock
        present(screen, out, records)
    except KeyboardInterrupt:
        say(screen, stopped(out, command))
        raise SystemExit(INTERRUPTED) from None
    taken = f"{uses.hits} of {uses.hits + uses.misses} programs taken from the compilation cache ({where})"
    say(
        screen,
        f"{time.perf_counter() - clock:.0f} s in all, {attacked:.0f} s of it attacks and compiling; "
        f"peak memory {peak():.1f} GiB; {taken if where else 'compilation cache off'}",
    )


def progress(screen: Console) -> Progress:
    """The bar of a run."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
    )


def caching(cache: Path | str | None) -> tuple[Path | None, compilation.Uses]:
    """The compilation cache as asked for (see `start`): where it is, and a count of its uses."""
    if cache is None:
        compilation.disable()
        return None, compilation.Uses()
    return compilation.enable(None if cache == "default" else Path(cache))


def before(plan: Sequence[Setting], finished: Mapping[str, Any]) -> str:
    """What a resumed run has already."""
    kept = sum(case.case_id in finished for case in plan)
    apart = len(finished) - kept
    text = f"{kept} of {len(plan)} cases were finished before"
    return text + (
        f"; {apart} more have other settings: kept in the records, not in this table" if apart else ""
    )


def stopped(out: Path, command: str) -> str:
    """What is kept after an interruption, and how to go on."""
    done = len(store.read_records(out))
    return f"\nstopped; {done} finished cases are kept in {out}. Go on with:\n  {again(out, command)}"


def again(out: Path, command: str) -> str:
    """The command that goes on with a run.

    >>> again(Path("runs/a"), "jleak audit --batch 2")
    'jleak audit --batch 2 --resume --out runs/a'
    """
    words = shlex.split(command)
    more = [] if "--resume" in words else ["--resume"]
    if not any(word == "--out" or word.startswith("--out=") for word in words):
        more += ["--out", str(out)]
    return " ".join([command, *map(shlex.quote, more)])


def report(path: Path) -> None:
    """Makes table, pictures and page of a finished run again.

    Raises:
      InputError: the directory is no run, or holds no finished case.
    """
    records = store.read_records(path)
    if not records:
        made = store.read_settings(path)
        command = str(made.get("command", f"jleak {store.kind_of(made)}"))
        raise InputError(f"{path} holds no finished case; go on with: {again(path, command)}")
    present(terminal(), path, records)


def present(screen: Console, path: Path, records: list[dict[str, Any]]) -> None:
    """The table on the screen; pictures and page on the disk."""
    kind = KINDS[store.kind_of(records[0])]
    found = kind.rows(records, path)
    for table in kind.tables(found, screen.width):
        screen.print(table)
    made = store.read_settings(path)
    try:
        pictures = kind.draw(found, path)
        store.write_aside(path / "report.html", kind.html(found, pictures, made).encode())
    except OSError as error:
        raise InputError(
            f"pictures and report cannot be written: {error}; the records are kept. Make room, then: "
            f"jleak report {path}"
        ) from error
    say(
        screen,
        f"records   {path / 'records.jsonl'}\nfigures   {path / 'figures'}\nreport    {path / 'report.html'}",
    )


def shown(bars: Progress, total: int, line: Callable[[Any], str]):
    """A listener of the driver that moves a bar; one line a case where there is no terminal."""
    task = bars.add_task("attacking", total=total)
    seen = set()

    def listen(stand: Stand) -> None:
        text = line(stand.case)
        share = f" {100 * stand.part:.0f} %" if stand.part else ""
        bars.update(task, completed=stand.done, description=text + share)
        if not bars.console.is_terminal and stand.done not in seen and stand.part == 0:
            seen.add(stand.done)
            say(bars.console, f"{stand.done}/{stand.total} {text}")

    return listen
