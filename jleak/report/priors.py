"""What `jleak train-prior` shows while it works and when it is done."""

from pathlib import Path
from typing import Any

from jleak.audit import priors
from jleak.audit.config import Spec, parse_spec
from jleak.audit.priors import PriorTraining, Result
from jleak.report import sheet
from jleak.report.screen import peak, say, terminal
from jleak.report.session import caching
from jleak.report.training import followed, lengths

SPECS = ("generator", "objective", "critic")
"""Flags that are a name with arguments."""


def start(
    flags: dict[str, Any],
    *,
    out: Path | None,
    save_every: int,
    sheet_every: int,
    resume: bool,
    cache: Path | str | None,
) -> None:
    """Trains a prior in the terminal: progress, a sheet of samples on the way, where the file is.

    Args:
      flags: what was said, by the names of `PriorTraining`, or None; `SPECS` as one types them.
      out: the file of the prior; None for the generator's name.
      save_every: steps between two stages that are kept; 0 for none.
      sheet_every: steps between two sheets; 0 for a tenth of all steps.
      resume: whether to go on with a training that was stopped.
      cache: the compilation cache: a directory, "default", or None for none.

    Raises:
      InputError: bad input; nothing was lost.
    """
    screen, plan = terminal(), plan_of(flags)
    out = out or Path(f"{plan.generator}.safetensors")
    caching(cache)
    images, picture = priors.loaded(plan), out.with_suffix(".png")

    def work(tell):
        every = {"save_every": save_every, "sheet_every": sheet_every}
        return priors.run(
            plan,
            images,
            out,
            **every,
            resume=resume,
            tell=tell,
            show=lambda _, found: sheet.write(picture, found),
        )

    found = followed(screen, f"{plan.generator} on {plan.source}", out, work)
    say(screen, told(found))
    for path in (*found.stages, out):
        say(screen, f"prior     {path}")
    say(screen, f"samples   {picture}")


def plan_of(flags: dict[str, Any]) -> PriorTraining:
    """The training that the flags describe.

    Raises:
      InputError: an unknown name, a number out of bounds, epochs and steps at once.

    >>> plan_of({"generator": "mlp_gan:latent=8", "objective": None, "steps": 9}).generator_args["latent"]
    8
    """
    given = lengths(flags)
    for name in SPECS:
        if name in given:
            spec = Spec.model_validate(parse_spec(given[name]))
            given |= {name: spec.name, f"{name}_args": spec.args}
    return PriorTraining(**given)


def told(found: Result) -> str:
    """How long a training took, and of which images it was."""
    card = found.prior.card
    return (
        f"trained   on {card['images']} images of {card['dataset']}; licence: {card['licence']}\n"
        f"{found.steps} steps, {found.seconds:.1f} s without compiling; peak memory {peak():.1f} GiB"
    )
