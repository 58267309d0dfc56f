"""One case of gradient matching, compiled, timed as `jleak audit` runs it, and what it costs.

Inverting Gradients on one image of 32x32x3, 10 classes, known label; pixels are noise.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from peers.plans import Plan

from jleak import data
from jleak.audit import pieces, programs, sides
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of
from jleak.audit.programs import Attacker, Given

IMAGES = data.from_arrays(
    np.random.default_rng(0).random((10, 32, 32, 3), np.float32), np.arange(10), name="uniform noise"
)
PAUSE = 0.5
"""Seconds of rest before a measurement: the threads of the other side spin on for a while."""


class Built(NamedTuple):
    """A case's attack, compiled.

    Attributes:
      case, attacker, given: what `jleak.audit.pieces.attack` takes.
      parameters: the model's.
    """

    case: Case
    attacker: Attacker
    given: Given
    parameters: int


def case_of(model: str, candidates: int, width: int, steps: int, **more) -> Case:
    """Inverting Gradients on one image, from so many starts."""
    return Case(
        dataset="npz:noise", model=model, attack="inverting", attack_args={"steps": steps},
        known_labels=True, victims=1, restarts=candidates, lanes=width, **more,
    )  # fmt: skip


def built(case: Case) -> Built:
    """The attack of this case, ready to run."""
    model = model_of(case, IMAGES.shape, IMAGES.classes)
    truth = sides.clients([case], IMAGES, model, Programs())
    given = sides.view_of([case], truth)
    attacker, _ = programs.attacker(case, model, given)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(truth.params["params"]))
    return Built(case, attacker, given, parameters)


def clocked(run: Built) -> float:
    """Seconds a candidate and iteration of one run of all candidates."""
    time.sleep(PAUSE)
    clock = time.perf_counter()
    _, finite, _ = pieces.attack(run.case, run.attacker, run.given, lambda share, loss: None)
    seconds = time.perf_counter() - clock
    if not finite.all():
        raise RuntimeError(f"{(~finite).sum()} of {finite.size} candidates diverged and were stopped early")
    return seconds / (run.case.restarts * run.case.attack_args["steps"])


def mebibytes(run: Built) -> dict[str, float]:
    """What the program that advances the search takes on a device: temporaries; arguments and results."""
    found = run.attacker.advance.memory_analysis()
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return {"temporary": round(found.temp_size_in_bytes / 2**20, 2), "held": round(held / 2**20, 2)}


def significant(number: float) -> float:
    """To four digits."""
    return float(f"{number:.4g}")


def flops(run: Built) -> float:
    """Operations of one candidate's iteration, by XLA's count of the program before it is optimised."""
    model = model_of(run.case, IMAGES.shape, IMAGES.classes)
    (key, _), shared = (leaf[0] for leaf in programs.apart(run.given)[1]), programs.apart(run.given)[0]
    search, key, view = programs.run_of(run.case, model, run.case.attack_args["steps"], shared, (key, 0))
    state = jax.eval_shape(search.init, key, view)
    return jax.jit(search.step).lower(key, jnp.asarray(0), state, view).cost_analysis()["flops"]


def fastest(model: str, plan: Plan, **more) -> tuple[Built, dict[str, dict]]:
    """The attack at the width that is fastest here, and what was found of each; one alone is not tried."""
    runs = {width: built(case_of(model, plan.candidates, width, plan.steps, **more)) for width in plan.widths}
    seconds = {
        width: min(clocked(run) for _ in range(2)) if len(runs) > 1 else 0 for width, run in runs.items()
    }
    tried = {
        str(width): {"seconds": significant(seconds[width]), "mib": mebibytes(run)}
        for width, run in runs.items()
    }
    return runs[min(seconds, key=seconds.get)], tried
