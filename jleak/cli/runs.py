"""Commands that run cases, keep their records and show them: audit, labels, measure, bench-optimizers."""

import time
from pathlib import Path
from typing import Annotated

import typer

from jleak.check import InputError
from jleak.cli.app import app
from jleak.cli.texts import (
    ANY,
    BELIEVING,
    BUDGET,
    CONTENT,
    DRAWING,
    GENERATOR,
    HOLDING,
    KNOWING,
    LATENT,
    LEARNT,
    LOOKED,
    LOSS,
    MEMORY,
    NAMED,
    PRECISE,
    PUBLIC,
    RACING,
    SEVERAL,
    STARTS,
    TRAINED,
    WHOSE,
)


@app.command()
def audit(
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags override it.")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, npz:PATH, folder:PATH or tfds:NAME.")] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"Model under attack. {NAMED}")] = None,
    weights: Annotated[str | None, typer.Option(help=TRAINED)] = None,
    client: Annotated[list[str] | None, typer.Option(help=f"How clients train. {NAMED}")] = None,
    defense: Annotated[list[str] | None, typer.Option(help=f"What the client does. {NAMED}")] = None,
    attack: Annotated[list[str] | None, typer.Option(help=f"What the server does. {NAMED}")] = None,
    knows: Annotated[list[str] | None, typer.Option(help=KNOWING)] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several; fixes every number.")] = None,
    loss_fn: Annotated[list[str] | None, typer.Option(help=f"{LOSS} {SEVERAL}")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Images in a client's batch. {SEVERAL}")] = None,
    draw: Annotated[list[str] | None, typer.Option(help=f"{DRAWING} {SEVERAL}")] = None,
    victims: Annotated[int | None, typer.Option(help="Client batches a seed.")] = None,
    restarts: Annotated[int | None, typer.Option(help=STARTS)] = None,
    halving: Annotated[bool, typer.Option("--halving", help=RACING)] = False,
    stop: Annotated[float | None, typer.Option(help=CONTENT)] = None,
    known_labels: Annotated[bool, typer.Option("--known-labels", help="Grant the labels.")] = False,
    memory: Annotated[float | None, typer.Option(help=MEMORY)] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISE)] = None,
    out: Annotated[Path | None, typer.Option(help="The run; default runs/audit-DATE-TIME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out: keep finished cases.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Attack real images end to end: a table here, then records, pictures and a report in runs/.

    Without any option: half of scikit-learn's digits, LeNet and an MLP, four defenses, three attacks.
    """
    flags = {
        "dataset": dataset, "models": model, "weights": weights, "clients": client, "defenses": defense,
        "attacks": attack, "knows": knows, "seeds": seed, "loss_fn": loss_fn, "batch": batch, "draw": draw,
        "victims": victims, "restarts": restarts, "halving": halving or None, "stop": stop,
        "known_labels": known_labels or None, "memory": memory, "precision": precision,
    }  # fmt: skip
    _run("audit", flags, config=config, out=out, resume=resume, cache=cache, no_cache=no_cache)


@app.command()
def labels(
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags override it.")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, npz:PATH, folder:PATH or tfds:NAME.")] = None,
    public: Annotated[str | None, typer.Option(help=PUBLIC)] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"Model under attack. {NAMED}")] = None,
    count: Annotated[int | None, typer.Option(help="Independent models a setting, the sample.")] = None,
    victims: Annotated[int | None, typer.Option(help="Client batches a model.")] = None,
    train_steps: Annotated[list[int] | None, typer.Option(help=f"SGD before the attack. {SEVERAL}")] = None,
    train_lr: Annotated[float | None, typer.Option(help="Learning rate of that training.")] = None,
    train_batch: Annotated[int | None, typer.Option(help="Images in a step of it.")] = None,
    client: Annotated[list[str] | None, typer.Option(help=f"How clients train. {NAMED}")] = None,
    defense: Annotated[list[str] | None, typer.Option(help=f"What the client does. {NAMED}")] = None,
    attack: Annotated[list[str] | None, typer.Option(help=f"Label attack. {NAMED}")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Images in a client's batch. {SEVERAL}")] = None,
    draw: Annotated[list[str] | None, typer.Option(help=f"{DRAWING} {SEVERAL}")] = None,
    assumed_batch: Annotated[list[str] | None, typer.Option(help=f"{BELIEVING} {SEVERAL}")] = None,
    auxiliary: Annotated[int | None, typer.Option(help="The server's images a class.")] = None,
    loss_fn: Annotated[str | None, typer.Option(help=LOSS)] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several; fixes every number.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run; default runs/labels-DATE-TIME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out: keep finished cases.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Recover the labels of one update a client, over many models: a table here, and a report in runs/.

    Without any option: a hundred untrained LeNets on scikit-learn's digits, batches of 1 to 128, six label
    attacks and random guessing.
    """
    flags = {
        "dataset": dataset, "public": public, "models": model, "count": count, "victims": victims,
        "train_steps": train_steps, "train_lr": train_lr, "train_batch": train_batch, "clients": client,
        "defenses": defense, "attacks": attack, "batches": batch, "draws": draw,
        "assumed_batches": assumed_batch, "auxiliary": auxiliary, "loss_fn": loss_fn, "seeds": seed,
    }  # fmt: skip
    _run("labels", flags, config=config, out=out, resume=resume, cache=cache, no_cache=no_cache)


@app.command()
def measure(
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags override it.")] = None,
    dataset: Annotated[str | None, typer.Option(help=ANY)] = None,
    public: Annotated[str | None, typer.Option(help=PUBLIC)] = None,
    measure: Annotated[list[str] | None, typer.Option(help=f"What is measured. {NAMED}")] = None,
    attack: Annotated[list[str] | None, typer.Option(help=f"To compare the measures with. {NAMED}")] = None,
    restarts: Annotated[int | None, typer.Option(help=STARTS)] = None,
    attribute: Annotated[str | None, typer.Option(help=LATENT)] = None,
    groups: Annotated[str | None, typer.Option(help=WHOSE)] = None,
    protocol: Annotated[str | None, typer.Option(help=HOLDING)] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"Model that clients train. {NAMED}")] = None,
    count: Annotated[int | None, typer.Option(help="Independent models a setting; default 2.")] = None,
    train_steps: Annotated[list[int] | None, typer.Option(help=f"SGD steps before. {SEVERAL}")] = None,
    train_lr: Annotated[float | None, typer.Option(help="Learning rate of that training.")] = None,
    train_batch: Annotated[int | None, typer.Option(help="Images in a step of it.")] = None,
    client: Annotated[list[str] | None, typer.Option(help=f"How clients train. {NAMED}")] = None,
    defense: Annotated[list[str] | None, typer.Option(help=f"What the client does. {NAMED}")] = None,
    batch: Annotated[list[int] | None, typer.Option(help=f"Images in a client's batch. {SEVERAL}")] = None,
    records: Annotated[int | None, typer.Option(help=LOOKED)] = None,
    updates: Annotated[int | None, typer.Option(help=LEARNT)] = None,
    loss_fn: Annotated[str | None, typer.Option(help=LOSS)] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several; fixes every number.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run; default runs/measure-DATE-TIME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out: keep finished cases.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Measure without attacking what each layer of an update gives away: a map of the layers, and a report.

    Without any option: sensitivity, mutual information, usable information of images and of an attribute,
    subspace distance and mixing, of two untrained LeNets on scikit-learn's digits.
    """
    flags = {
        "dataset": dataset, "public": public, "measures": measure, "attacks": attack, "restarts": restarts,
        "attribute": attribute, "groups": groups, "protocol": protocol, "models": model, "count": count,
        "train_steps": train_steps, "train_lr": train_lr, "train_batch": train_batch, "clients": client,
        "defenses": defense, "batches": batch, "records": records, "updates": updates, "loss_fn": loss_fn,
        "seeds": seed,
    }  # fmt: skip
    _run("measure", flags, config=config, out=out, resume=resume, cache=cache, no_cache=no_cache)


@app.command("bench-optimizers")
def bench_optimizers(
    config: Annotated[Path | None, typer.Option(help="YAML file of settings; flags override it.")] = None,
    optimizer: Annotated[list[str] | None, typer.Option(help=f"What searches. {NAMED}")] = None,
    evaluations: Annotated[int | None, typer.Option(help=f"{BUDGET} Default 2000.")] = None,
    prior: Annotated[list[str] | None, typer.Option(help=f"{GENERATOR} {SEVERAL}")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, npz:PATH, folder:PATH or tfds:NAME.")] = None,
    model: Annotated[list[str] | None, typer.Option(help=f"Model under attack. {NAMED}")] = None,
    weights: Annotated[str | None, typer.Option(help=TRAINED)] = None,
    defense: Annotated[list[str] | None, typer.Option(help=f"What the client does. {NAMED}")] = None,
    knows: Annotated[list[str] | None, typer.Option(help=KNOWING)] = None,
    victims: Annotated[int | None, typer.Option(help="Clients a seed.")] = None,
    restarts: Annotated[int | None, typer.Option(help=STARTS)] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Repeat for several; fixes every number.")] = None,
    memory: Annotated[float | None, typer.Option(help=MEMORY)] = None,
    out: Annotated[Path | None, typer.Option(help="The run; default in runs/, by date.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out: keep finished cases.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Give one leak to several optimisers of a generator's latents: a leaderboard, curves and a report.

    Without any option: scikit-learn's digits and their prior, LeNet, six optimisers, with and without noise.
    """
    flags = {
        "optimizers": optimizer, "evaluations": evaluations, "priors": prior, "dataset": dataset,
        "models": model, "weights": weights, "defenses": defense, "knows": knows, "victims": victims,
        "restarts": restarts, "seeds": seed, "memory": memory,
    }  # fmt: skip
    _run("bench-optimizers", flags, config=config, out=out, resume=resume, cache=cache, no_cache=no_cache)


def _run(kind, flags, *, config, out, resume, cache, no_cache) -> None:
    """Runs the command of that kind with what its flags say."""
    if resume and out is None:
        raise InputError("--resume needs the run to go on with; add --out RUN")
    clock = time.perf_counter()
    from jleak.report import session

    session.start(
        kind,
        {name: value for name, value in flags.items() if value not in (None, [])},
        config=config,
        out=out or Path("runs") / time.strftime(f"{kind}-%Y%m%d-%H%M%S"),
        resume=resume,
        cache=None if no_cache else cache or "default",
        clock=clock,
    )
