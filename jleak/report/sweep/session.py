"""What the commands of sweeps do: check, run, go on, look, put together."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from jleak.audit import lanes
from jleak.audit.sweep import forecast, merging, run, store
from jleak.audit.sweep.config import SweepConfig, sweep_config_of
from jleak.audit.sweep.engines import ray
from jleak.audit.sweep.engines.ray import Cluster, Done
from jleak.audit.sweep.place import Place, place
from jleak.audit.sweep.run import Sweep
from jleak.audit.sweep.worker import Stand
from jleak.check import InputError
from jleak.report.kinds import audit_line
from jleak.report.screen import INTERRUPTED, say, terminal
from jleak.report.session import caching
from jleak.report.sweep.progress import Course, showing


class Way(NamedTuple):
    """How a sweep is run.

    Attributes:
      shard: `i/n`, this process's share of the batches.
      cluster: of Ray, where it runs there; else None.
      hosts: (coordinator, processes, index) of a pod, None where JAX finds them; None for one process.
      cache: the compilation cache: a directory, "default", or None for none.
    """

    shard: str = "0/1"
    cluster: Cluster | None = None
    hosts: tuple[str | None, int | None, int | None] | None = None
    cache: Path | str | None = "default"


def check(config: Path, settings: dict[str, Any]) -> None:
    """Says what a sweep would take: cases, programs, memory, time. Runs and compiles nothing.

    Raises:
      InputError: settings that cannot run.
    """
    lanes.every_core()
    asked = sweep_config_of(settings, config)
    sweep = run.prepared(asked)
    for told in forecast.lines(forecast.forecast(sweep)):
        say(terminal(), told)


def start(config: Path, settings: dict[str, Any], out: str, way: Way, command: str) -> None:
    """Begins a sweep, or goes on with one of the same settings.

    Raises:
      InputError: bad settings, or a place that holds another sweep.
    """
    asked, where = sweep_config_of(settings, config), place(out)
    described = run.described(asked)
    if store.begun(where) and store.settings(where)["settings"] != described:
        raise InputError(
            f"{out} holds a sweep of other settings; name another place with --out, or go on with it: "
            f"jleak sweep resume {out}"
        )
    going(where, asked, way, command)


def resume(out: str, way: Way) -> None:
    """Goes on with a sweep.

    Raises:
      InputError: there is none.
    """
    where = place(out)
    going(where, run.kept(where), way, str(store.settings(where)["command"]))


def going(where: Place, config: SweepConfig, way: Way, command: str) -> None:
    """Runs what is left of a sweep, as its way says."""
    screen = terminal()
    part = run.part_of(way.shard)
    if way.hosts:
        part = run.multihost(*way.hosts)
    else:
        lanes.every_core()
    caching(way.cache)
    sweep = run.prepared(config)
    store.begin(where, run.described(config), command=command, total=sweep.cases)
    finished = store.finished(where, damaged=lambda told: say(screen, f"jleak: {told}"))
    if finished:
        say(screen, f"{len(finished)} cases were finished before")
    if (note := sweep.means.budget.note()) != "":
        say(screen, note)
    clock = time.perf_counter()
    try:
        drive = clustered if way.cluster else here
        cases = drive(screen, where, sweep, part, finished, way)
    except KeyboardInterrupt:
        say(screen, f"\nstopped; finished batches are kept. Go on with:\n  jleak sweep resume {where.url}")
        raise SystemExit(INTERRUPTED) from None
    seconds = time.perf_counter() - clock
    built = sweep.means.cache
    say(
        screen,
        f"{cases} cases in {seconds:.0f} s ({cases / seconds:.1f} a second)"
        + (
            ""
            if way.cluster
            else f", {len(built.known)} programs compiled in {built.seconds:.0f} s, mostly beside it"
        )
        + f"\nrecords   {where.url}/records\nlook      jleak report {where.url} --by defense,attack",
    )


def here(
    screen: Console, where: Place, sweep: Sweep, part: tuple[int, int], finished: set[str], way: Way
) -> int:
    """Runs this process's share."""
    mine = run.share(sweep.batches, part)
    total, spent = sum(batch.count for batch in mine), [0]
    known = (case.case_id in finished for batch in mine if finished for case in batch.cases())
    begun = sum(known)
    with showing(screen, begun) as show:

        def listen(stand: Stand) -> None:
            spent[0] += stand.evaluations
            cases = begun + stand.cases + stand.part
            text = "waiting for other workers" if stand.waiting else audit_line(stand.case)
            show(Course(cases, total, spent[0], text, stand.loss))

        return run.drive(where, sweep, part, finished=finished, listen=listen)


def clustered(
    screen: Console, where: Place, sweep: Sweep, part: tuple[int, int], finished: set[str], way: Way
) -> int:
    """Has a Ray cluster run the share."""
    todo = range(len(sweep.batches))[part[0] :: part[1]]
    total = sum(sweep.batches[i].count for i in todo)
    spent, cases = [0], [0]
    with showing(screen, 0) as show:

        def listen(done: Done) -> None:
            spent[0] += done.evaluations
            cases[0] += sweep.batches[done.batch].count
            text = audit_line(sweep.batches[done.batch].settings[0].case)
            show(Course(cases[0], total, spent[0], text, float("nan")))

        url = where.root if where.local else where.url
        described = run.described(sweep.config)
        return ray.drive(url, described, todo, way.cluster, finished=finished, listen=listen)


def status(out: str) -> None:
    """Says how far a sweep is, and who works on it.

    Raises:
      InputError: there is none.
    """
    screen, where = terminal(), place(out)
    made, told = store.settings(where), []
    finished = store.finished(where, damaged=told.append, aside=False)
    for text in told:
        say(screen, f"jleak: {text}")
    say(screen, f"{len(finished)} of {made['cases']} cases finished, in {len(store.parts(where))} parts")
    for text in store.working(where):
        say(screen, text)
    if len(finished) < made["cases"]:
        say(screen, f"go on with: jleak sweep resume {out}")


def merge(outs: list[str], into: str, compact: bool) -> None:
    """Puts the records and images of several sweeps together.

    Raises:
      InputError: one of them is none, or damaged.
    """
    cases = merging.merge([place(out) for out in outs], place(into), compact=compact)
    say(terminal(), f"{cases} cases in {into}")
