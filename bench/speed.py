"""Gradient matching: seconds a candidate and iteration beside breaching 0.1.2, how they grow, compilation.

One image of 32x32x3, 10 classes, known label: cosine, total variation, signed Adam, boxed. What is timed is
what `jleak audit` runs: `jleak.audit.trial.attack` on the programs of `jleak.audit.programs.attacker`, all
cores or devices. breaching runs its own attacker in a process of its own (`peers/breaching_worker.py`), in
turn with jleak, every core too. Each part writes a result file of its own.

    python bench/speed.py [--only peers|growth|compile|products ...] [--peer-python PATH] [--rounds 5]
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import quartiles, save
from peers.plans import PLANS, QUICK, Plan
from peers.process import breaching

from jleak import data
from jleak.audit import cache, lanes, programs, trial
from jleak.audit.case import Case
from jleak.audit.parts import model_of
from jleak.audit.programs import Attacker, Given
from jleak.audit.trial import Programs
from jleak.models import taps

IMAGES = data.from_arrays(
    np.random.default_rng(0).random((10, 32, 32, 3), np.float32), np.arange(10), name="uniform noise"
)
PAUSE = 0.5
"""Seconds of rest before a measurement: the threads of the other side spin on for a while."""


GROWTH = (16, 64, 256, 1024)
WORK = 2**15
"""Candidates x steps of every row of the growth."""


class Built(NamedTuple):
    """A case's attack, compiled.

    Attributes:
      case, attacker, given: what `jleak.audit.trial.attack` takes.
      parameters: the model's.
    """

    case: Case
    attacker: Attacker
    given: Given
    parameters: int


def case_of(model: str, candidates: int, width: int, steps: int) -> Case:
    """Inverting Gradients on one image, from so many starts."""
    return Case(
        dataset="npz:noise", model=model, attack="inverting", attack_args={"steps": steps},
        known_labels=True, victims=1, restarts=candidates, lanes=width,
    )  # fmt: skip


def built(case: Case) -> Built:
    """The attack of this case, ready to run."""
    model = model_of(case, IMAGES.shape, IMAGES.classes)
    truth = trial.clients(case, IMAGES, model, Programs())
    given = trial.view_of(case, truth)
    attacker, _ = programs.attacker(case, model, given)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(truth.params["params"]))
    return Built(case, attacker, given, parameters)


def clocked(run: Built) -> float:
    """Seconds a candidate and iteration of one run of all candidates."""
    time.sleep(PAUSE)
    clock = time.perf_counter()
    _, finite, _ = trial.attack(run.case, run.attacker, run.given, lambda share, loss: None)
    seconds = time.perf_counter() - clock
    if not finite.all():
        raise RuntimeError(f"{(~finite).sum()} of {finite.size} candidates diverged and were stopped early")
    return seconds / (run.case.restarts * run.case.attack_args["steps"])


def mebibytes(run: Built) -> dict[str, float]:
    """What the program that advances the search takes on a device: temporaries; arguments and results."""
    found = run.attacker.advance.memory_analysis()
    held = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    return {"temporary": round(found.temp_size_in_bytes / 2**20, 2), "held": round(held / 2**20, 2)}


def alternate(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What the tasks return, a round of all after the other (A B, B A, ...); a first one does not count."""
    for task in tasks.values():
        task()
    found = {name: [] for name in tasks}
    for i in range(rounds):
        for name in list(tasks) if i % 2 == 0 else reversed(tasks):
            found[name].append(tasks[name]())
    return found


def ratio(ours: list[float], theirs: list[float]) -> list[float]:
    """Quartiles of theirs over ours, round by round."""
    return quartiles([b / a for a, b in zip(ours, theirs, strict=True)])


def fastest(model: str, plan: Plan) -> tuple[Built, dict[str, dict]]:
    """The attack at the width that is fastest here, and what was found of each."""
    runs = {width: built(case_of(model, plan.candidates, width, plan.steps)) for width in plan.widths}
    seconds = {width: min(clocked(run) for _ in range(2)) for width, run in runs.items()}
    tried = {
        str(width): {"seconds": float(f"{seconds[width]:.4g}"), "mib": mebibytes(run)}
        for width, run in runs.items()
    }
    return runs[min(seconds, key=seconds.get)], tried


def peers(given: argparse.Namespace, plans: dict[str, Plan]) -> dict:
    """Seconds a candidate and iteration of jleak and breaching, in turn, and their ratio round by round."""
    with breaching(given.peer_python, given.precision) as (about, ask):
        if ask is None:
            print(f"breaching is left out: {about['missing']} in {given.peer_python}; see --peer-python")
        found = {model: beside(model, plans[model], ask, given.rounds) for model in given.models}
    return {"peer": about, "models": found}


def beside(model: str, plan: Plan, ask: Callable | None, rounds: int) -> dict:
    """One model's row of `peers`. breaching may be faster on one core than on all, so it has both."""
    run, tried = fastest(model, plan)

    def peer(threads):
        time.sleep(PAUSE)
        answer = ask(model, plan.iterations, threads)
        if answer["parameters"] != run.parameters:
            raise RuntimeError(f"{model}: {run.parameters} parameters, the peer's {answer['parameters']}")
        busy[threads].append(answer["processor_seconds"] / answer["seconds"])
        return answer["seconds"] / plan.iterations

    busy = {threads: [] for threads in sorted({1, lanes.cores()})} if ask else {}
    names = {f"breaching, threads={threads}": threads for threads in busy}
    theirs = {name: functools.partial(peer, threads) for name, threads in names.items()}
    seconds = alternate({"jleak": lambda: clocked(run)} | theirs, rounds)
    ratios = {
        name: quartiles([b / a for a, b in zip(seconds["jleak"], seconds[name], strict=True)])
        for name in theirs
    }
    return {
        "parameters": run.parameters,
        **plan._asdict(),
        "width": run.attacker.layout.width,
        "devices": run.attacker.layout.devices,
        "tried": tried,
        "seconds_per_candidate_iteration": {name: quartiles(s) for name, s in seconds.items()},
        "processor_seconds_over_seconds": {name: quartiles(busy[names[name]][1:])[1] for name in theirs},
        "over_jleak": ratios,
        "faster_peer_over_jleak": min(ratios.values(), key=lambda found: found[1], default=None),
    }


def growth(given: argparse.Namespace, plans: dict[str, Plan]) -> dict:
    """LeNet from 16 candidates to 1,024, as much work each: time and memory, and time against the first."""
    width = plans["lenet"].widths[0]
    work = WORK // 8 if given.quick else WORK
    counts = GROWTH[:2] if given.quick else GROWTH
    runs = {n: built(case_of("lenet", n, width, max(32, work // n))) for n in counts}
    seconds = alternate({str(n): lambda run=run: clocked(run) for n, run in runs.items()}, given.rounds)
    first = seconds[str(counts[0])]
    return {
        str(n): {
            "steps": run.case.attack_args["steps"],
            "width": run.attacker.layout.width,
            "seconds_per_candidate_iteration": quartiles(seconds[str(n)]),
            "over_the_first": ratio(first, seconds[str(n)]),
            "mib": mebibytes(run),
        }
        for n, run in runs.items()
    }


def products(given: argparse.Namespace, plans: dict[str, Plan]) -> dict:
    """ResNet-18 by inner products alone and with every candidate's gradient formed (`jleak.models.taps`)."""
    worth, runs, tried = taps.WORTH, {}, {}
    for form, least in (("products", worth), ("formed", sys.maxsize)):
        taps.WORTH = least
        runs[form], tried[form] = fastest("resnet18", plans["resnet18"])
    taps.WORTH = worth
    seconds = alternate({form: lambda run=run: clocked(run) for form, run in runs.items()}, given.rounds)
    rows = {
        form: {
            "width": run.attacker.layout.width,
            "seconds_per_candidate_iteration": quartiles(seconds[form]),
            "mib": mebibytes(run),
            "tried": tried[form],
        }
        for form, run in runs.items()
    }
    return rows | {"formed_over_products": ratio(*seconds.values())}


def compilation(given: argparse.Namespace, plans: dict[str, Plan]) -> dict:
    """Compile seconds of all programs of a case: with an empty cache, and (median of three) from the cache.

    Each in a process of its own.
    """
    found = {}
    for model in given.models:
        with tempfile.TemporaryDirectory() as folder:
            child = [sys.executable, __file__, "--models", model, "--compile-into", folder]
            child += ["--quick"] if given.quick else []
            runs = [
                json.loads(subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout)
                for _ in range(2 if given.quick else 4)
            ]
        again = {name: round(statistics.median(run[name] for run in runs[1:]), 2) for name in runs[0]}
        found[model] = {"cold": runs[0], "from_the_cache": again}
    return found


def compiled_once(model: str, folder: Path, plan: Plan) -> dict[str, float]:
    """Seconds of a case's programs by kind, and how many of them the cache had."""
    _, uses = cache.enable(folder)
    case = case_of(model, plan.candidates, plan.widths[0], plan.steps)
    net, known = model_of(case, IMAGES.shape, IMAGES.classes), Programs()
    truth = trial.clients(case, IMAGES, net, known)
    given = trial.view_of(case, truth)
    clients = known.seconds
    attacker, attack = programs.attacker(case, net, given)
    where = lanes.placing(attacker.layout, np.ones(case.restarts, bool))
    now = programs.arranged(attacker.layout, given, where.lane)
    states = lanes.put(attacker.layout, attacker.begin(now))
    rec, _ = attacker.finish(now, states, jnp.asarray(where.slot))
    trial.score(rec, truth.batches, known)
    spent = {"clients": clients, "attacker": attack, "score": known.seconds - clients}
    spent = {name: round(seconds, 2) for name, seconds in (spent | {"all": known.seconds + attack}).items()}
    return spent | {"hits": uses.hits, "misses": uses.misses}


PARTS = {"peers": peers, "growth": growth, "compile": compilation, "products": products}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = tuple(QUICK)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--models", nargs="+", choices=models, default=list(models), metavar="MODEL")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has breaching and torch")
    parser.add_argument("--rounds", type=int, default=5, help="2 or more")
    parser.add_argument("--quick", action="store_true", help="whether everything runs; prints, saves nothing")
    parser.add_argument(
        "--precision", choices=("default", "highest", "tensorfloat32", "bfloat16"), default="default",
        help="of float32 products, on both sides",
    )  # fmt: skip
    parser.add_argument("--compile-into", type=Path, help=argparse.SUPPRESS)  # a process of `compilation`
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds must be >= 2, which quartiles need, got {given.rounds}")
    return given


def main(given: argparse.Namespace) -> None:
    """The parts asked for, each into its file."""
    lanes.every_core()
    if given.precision != "default":
        jax.config.update("jax_default_matmul_precision", given.precision)
    plans = QUICK if given.quick else PLANS[jax.default_backend()]
    if given.compile_into:
        (model,) = given.models
        print(json.dumps(compiled_once(model, given.compile_into, plans[model])))
        return
    cache.enable()
    suffix = "" if given.precision == "default" else f"-{given.precision}"
    for part in given.only:
        results = PARTS[part](given, plans)
        if given.quick:
            print(json.dumps({part: results}, indent=1))
        else:
            save(f"speed-{part}{suffix}", {"arguments": " ".join(sys.argv[1:]), **results})


if __name__ == "__main__":
    main(arguments())
