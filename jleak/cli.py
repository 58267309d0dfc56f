"""The command line: `jleak audit | labels | bench-optimizers | train-model | train-prior | list | report`.

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
DRAWING = "How batches are drawn: random, balanced, distinct, one_class, uniform, non_iid."
BELIEVING = "What the attacker takes the batch size for: known (the true one), unknown, or a number."
LOSS = "The client's loss: cross_entropy, mse, sigmoid_mse, bce."
SEVERAL = "Repeat for several."
PUBLIC = "Data set of the server's own images; else half of --dataset."
RACING = "Starts race: after 1/8, 1/4 and 1/2 of the steps the better half goes on."
CONTENT = "The attacker's own loss at which it leaves a victim; 0 for never."
TRAINED = "Weights of the model, by `jleak train-model`; else it is untrained."
MEMORY = "GiB for the attacks, of each GPU or of the machine; default 75 % of what is free."
PRECISE = "Of the attacker's products on a GPU or TPU: float32, tensorfloat32, bfloat16."
BUDGET = "Gradient evaluations of the victim model, a victim and start."
GENERATOR = "The attacker's generator: a bundled one, or a file of `jleak train-prior`."
ANY = "digits, npz:PATH, folder:PATH or tfds:NAME."
HALF = "public (default): the half that victims of private:DATASET do not hold; or all."
ARGUED = "Arguments as NAME:argument=value."
AGAINST = f"Critic, or for vae the encoder: conv, mlp. {ARGUED}"
STARTS = "Starts a victim; the attacker keeps the one of lowest own loss."


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


@app.command("train-model")
def train_model(
    model: Annotated[str, typer.Option(help="Model, as NAME:argument=value,argument=value.")] = "lenet",
    dataset: Annotated[str | None, typer.Option(help="digits, npz:PATH, folder:PATH or tfds:NAME.")] = None,
    out: Annotated[Path | None, typer.Option(help="The weights; default MODEL.safetensors.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw, lion or sgd (momentum 0.9).")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; default 0.003.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine or step_decay.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of an L2 penalty; default 0.")] = None,
    loss_fn: Annotated[str | None, typer.Option(help="cross_entropy, mse, bce or sigmoid_mse.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step; default 32.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; default 10.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all, in place of --epochs.")] = None,
    augment: Annotated[bool, typer.Option("--augment", help="Mirror and crop images at random.")] = False,
    held_out: Annotated[float | None, typer.Option(help="Share kept for the accuracy; default 0.1.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every number.")] = None,
    save_every: Annotated[int, typer.Option(help="Also keep MODEL-STEP after each so many steps.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training to --out.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Train a model; its weights, as safetensors, are one flag of an audit: --weights.

    Without any option: LeNet on scikit-learn's digits. BatchNorm trains by the batch's statistics and keeps
    running ones, so that every mode of it can be attacked.
    """
    from jleak.report import training

    flags = {
        "model": model, "dataset": dataset, "optimizer": optimizer, "lr": lr, "schedule": schedule,
        "weight_decay": weight_decay, "loss_fn": loss_fn, "batch": batch, "epochs": epochs, "steps": steps,
        "augment": augment or None, "held_out": held_out, "seed": seed,
    }  # fmt: skip
    place = {"out": out, "save_every": save_every, "resume": resume}
    training.start(flags, **place, cache=None if no_cache else cache or "default")


@app.command("train-prior")
def train_prior(
    generator: Annotated[str | None, typer.Option(help=f"dcgan, mlp_gan, vae_decoder. {ARGUED}")] = None,
    dataset: Annotated[str | None, typer.Option(help=ANY)] = None,
    part: Annotated[str | None, typer.Option(help=HALF)] = None,
    out: Annotated[Path | None, typer.Option(help="The prior; default GENERATOR.safetensors.")] = None,
    objective: Annotated[str | None, typer.Option(help=f"wgan_gp, non_saturating, vae. {ARGUED}")] = None,
    critic: Annotated[str | None, typer.Option(help=AGAINST)] = None,
    conditional: Annotated[bool, typer.Option("--conditional", help="Draw any class on demand.")] = False,
    batch: Annotated[int | None, typer.Option(help="Images a step of the critic; default 64.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; default 100.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps in all, in place of --epochs.")] = None,
    ema: Annotated[float | None, typer.Option(help="Kept of the running average in a step; .999.")] = None,
    float16: Annotated[bool, typer.Option("--float16", help="Write float16, half the size.")] = False,
    licence: Annotated[str | None, typer.Option(help="Of the images; goes on the card.")] = None,
    note: Annotated[str | None, typer.Option(help="Goes on the card.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every number.")] = None,
    save_every: Annotated[int, typer.Option(help="Also keep GENERATOR-STEP after each so many steps.")] = 0,
    sheet_every: Annotated[int, typer.Option(help="Steps between sheets of samples; default a tenth.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training to --out.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Directory of the compilation cache.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compile everything anew.")] = False,
):
    """Train a generator of images, an attacker's prior: a safetensors file with a card, a sheet of samples.

    Without any option: a DCGAN by WGAN-GP on half of scikit-learn's digits. The other half, private:digits,
    is left to victims.
    """
    from jleak.report import priors

    flags = {
        "generator": generator, "dataset": dataset, "part": part, "objective": objective, "critic": critic,
        "conditional": conditional or None, "batch": batch, "epochs": epochs, "steps": steps, "ema": ema,
        "half": float16 or None, "licence": licence, "note": note, "seed": seed,
    }  # fmt: skip
    place = {"out": out, "save_every": save_every, "sheet_every": sheet_every, "resume": resume}
    priors.start(flags, **place, cache=None if no_cache else cache or "default")


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
