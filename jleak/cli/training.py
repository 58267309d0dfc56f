"""Commands that train: a model to attack, a prior to attack with."""

from pathlib import Path
from typing import Annotated

import typer

from jleak.cli.app import app
from jleak.cli.texts import AGAINST, ANY, ARGUED, HALF


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
