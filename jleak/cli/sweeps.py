"""Commands of sweeps: `jleak sweep check | run | resume | status | merge`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jleak.check import InputError
from jleak.cli.app import app
from jleak.cli.texts import MEMORY

sweep = typer.Typer(no_args_is_help=True, help="Run any number of cases on many devices and machines.")
app.add_typer(sweep, name="sweep")

SHARE = "This process's share i/n of the batches, i from 0: for Slurm arrays and Kubernetes indexed jobs."
ENGINE = "local: this process and all of its devices. ray: tasks of a Ray cluster."
ADDRESS = "Of a running Ray cluster: auto, HOST:PORT or ray://HOST:PORT; else a local one is begun."
HOSTS = "One process a host of a TPU or GPU pod (jax.distributed), each of which gets a share."
COORDINATOR = "HOST:PORT of the first process; where JAX does not find it itself."

File = Annotated[Path, typer.Argument(help="The sweep's YAML file.")]
Store = Annotated[str, typer.Argument(help="The sweep's directory or URL, such as runs/a or s3://bucket/a.")]
Shard = Annotated[str, typer.Option(help=SHARE)]
Engine = Annotated[str, typer.Option(help=ENGINE)]
Address = Annotated[str | None, typer.Option(help=ADDRESS)]
Cpus = Annotated[int, typer.Option(help="Cores of each Ray task.")]
Gpus = Annotated[float, typer.Option(help="GPUs of each Ray task.")]
Distributed = Annotated[bool, typer.Option("--distributed", help=HOSTS)]
Coordinator = Annotated[str | None, typer.Option(help=COORDINATOR)]
Processes = Annotated[int | None, typer.Option(help="How many processes there are, with --coordinator.")]
Index = Annotated[int | None, typer.Option(help="Which of them this is, from 0.")]
Cache = Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")]
Memory = Annotated[float | None, typer.Option(help=MEMORY)]


@sweep.command()
def check(file: File, memory: Memory = None):
    """Say what a sweep would take: cases, programs, memory, time. Compiles and runs nothing."""
    from jleak.report.sweep import session

    session.check(file, {} if memory is None else {"memory": memory})


@sweep.command()
def run(
    file: File,
    out: Annotated[str, typer.Option(help="The sweep's directory or URL.")],
    shard: Shard = "0/1",
    engine: Engine = "local",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0.0,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    processes: Processes = None,
    index: Index = None,
    memory: Memory = None,
    cache: Cache = None,
    no_cache: NoCache = False,
):
    """Run a sweep, or what is left of it. Any number of processes may run one into the same place."""
    from jleak.report.sweep import session

    way = _way(
        shard, engine, address, cpus, gpus, distributed, coordinator, processes, index, cache, no_cache
    )
    settings = {} if memory is None else {"memory": memory}
    session.start(file, settings, out, way, shlex.join(["jleak", *sys.argv[1:]]))


@sweep.command()
def resume(
    store: Store,
    shard: Shard = "0/1",
    engine: Engine = "local",
    address: Address = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0.0,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    processes: Processes = None,
    index: Index = None,
    cache: Cache = None,
    no_cache: NoCache = False,
):
    """Go on with a sweep that was stopped or killed; parts that are damaged are put aside and run again."""
    from jleak.report.sweep import session

    way = _way(
        shard, engine, address, cpus, gpus, distributed, coordinator, processes, index, cache, no_cache
    )
    session.resume(store, way)


@sweep.command()
def status(store: Store):
    """Say how far a sweep is, and who works on it."""
    from jleak.report.sweep import session

    session.status(store)


@sweep.command()
def merge(
    stores: Annotated[list[str], typer.Argument(help="Sweeps' directories or URLs.")],
    into: Annotated[str, typer.Option(help="Where the merged sweep goes: a new place, or one of them.")],
    compact: Annotated[
        bool, typer.Option("--compact", help="Write the records into few large parts.")
    ] = False,
):
    """Put sweeps, or the many parts of one, together. The sources stay as they are."""
    from jleak.report.sweep import session

    session.merge(stores, into, compact)


def _way(*flags: Any) -> Any:
    """How the flags say that a sweep is run."""
    shard, engine, address, cpus, gpus, distributed, coordinator, processes, index, cache, no_cache = flags
    if engine not in ("local", "ray"):
        raise InputError(f"--engine must be local or ray, got {engine!r}")
    if distributed and (engine == "ray" or shard != "0/1"):
        raise InputError("--distributed gives each process its share; leave --shard and --engine ray away")
    if engine == "local" and (address or gpus):
        raise InputError("--address and --gpus are of Ray; add --engine ray")
    from jleak.audit.sweep.engines.ray import Cluster
    from jleak.report.sweep.session import Way

    return Way(
        shard,
        Cluster(address, cpus, gpus) if engine == "ray" else None,
        (coordinator, processes, index) if distributed or coordinator else None,
        None if no_cache else cache or "default",
    )
