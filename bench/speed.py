"""Gradient matching: seconds a candidate and iteration beside breaching 0.1.2, how they grow, compilation.

One image of 32x32x3, 10 classes, known label: cosine, total variation, signed Adam, boxed. What is timed is
what `jleak audit` runs: `jleak.audit.pieces.attack` on the programs of `jleak.audit.programs.attacker`, all
cores or devices. breaching runs its own attacker in a process of its own (`peers/breaching_worker.py`), in
turn with jleak, every core too. Each part writes a result file of its own. Processes that share a device
compile side by side and measure in turn where all are given the same `--lock FILE`.

    python bench/speed.py [--only peers|growth|compile|products ...] [--peer-python PATH] [--rounds 5]
        [--models MODEL ...] [--conv FORM] [--precision NAME] [--candidates N] [--lock FILE]
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

import jax
import jax.numpy as jnp
import numpy as np
from common import matmul_flops, quartiles, save, turn
from peers.plans import PLANS, QUICK, Plan
from peers.process import breaching
from speed_runs import IMAGES, PAUSE, built, case_of, clocked, fastest, flops, mebibytes, significant

from jleak.audit import cache, lanes, programs, sides, trial
from jleak.audit.built import Programs
from jleak.audit.case import PRECISIONS
from jleak.audit.parts import model_of
from jleak.models import taps
from jleak.models.conv import FORMS

DEFAULTS = ("auto", "float32")
"""Settings that do not enter the name of a result."""

GROWTH = (16, 64, 256, 1024)
WORK = 2**15
"""Candidates x steps of every row of the growth."""


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


def peers(given: argparse.Namespace, plans: dict[str, Plan]) -> dict:
    """Seconds a candidate and iteration of jleak and breaching, in turn, and their ratio round by round."""
    with breaching(given.peer_python, given.precision) as (about, ask):
        if ask is None:
            print(f"breaching is left out: {about['missing']} in {given.peer_python}; see --peer-python")
        found = {model: beside(given, model, plans[model], ask) for model in given.models}
    return {"peer": about, "models": found}


def beside(given: argparse.Namespace, model: str, plan: Plan, ask: Callable | None) -> dict:
    """One model's row of `peers`. breaching has one core and all: either may be faster."""
    run, tried = fastest(model, plan, model_args={"conv": given.conv}, precision=given.precision)

    def peer(threads):
        time.sleep(PAUSE)
        answer = ask(model, plan.iterations, threads)
        if answer["parameters"] != run.parameters:
            raise RuntimeError(f"{model}: {run.parameters} parameters, the peer's {answer['parameters']}")
        busy[threads].append(answer["processor_seconds"] / answer["seconds"])
        return answer["seconds"] / plan.iterations

    threads = {1, lanes.cores()} if jax.default_backend() == "cpu" else {1}
    busy = {count: [] for count in sorted(threads)} if ask else {}
    names = {f"breaching, threads={count}": count for count in busy}
    theirs = {name: functools.partial(peer, count) for name, count in names.items()}
    with turn(given.lock):
        seconds = alternate({"jleak": lambda: clocked(run)} | theirs, given.rounds)
        with jax.default_matmul_precision(given.precision):
            peak = matmul_flops()
    rate = flops(run) / statistics.median(seconds["jleak"])
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
        "teraflops": {"jleak": significant(rate / 1e12), "matrix product": significant(peak / 1e12)},
        "fraction_of_the_matrix_product": significant(rate / peak),
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
    truth = sides.clients([case], IMAGES, net, known)
    given = sides.view_of([case], truth)
    clients = known.seconds
    attacker, attack = programs.attacker(case, net, given)
    where = lanes.placing(attacker.layout, np.ones(case.restarts, bool))
    now = programs.arranged(attacker.layout, given, where.lane)
    states = lanes.put(attacker.layout, attacker.begin(now))
    rec, _ = attacker.finish(now, states, jnp.asarray(where.slot))
    trial.score(case, net, truth, rec, known)
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
        "--precision", choices=PRECISIONS, default=PRECISIONS[0],
        help="of float32 products, on both sides",
    )  # fmt: skip
    parser.add_argument("--conv", default="auto", choices=FORMS, help="form of the convolutions, of peers")
    parser.add_argument("--candidates", type=int, help="in place of the plan's")
    parser.add_argument("--lock", type=Path, help="measure in turn with who is given the same file")
    parser.add_argument("--compile-into", type=Path, help=argparse.SUPPRESS)  # a process of `compilation`
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error(f"--rounds must be >= 2, which quartiles need, got {given.rounds}")
    return given


def main(given: argparse.Namespace) -> None:
    """The parts asked for, each into its file."""
    lanes.every_core()
    plans = QUICK if given.quick else PLANS[jax.default_backend()]
    if given.candidates:
        plans = {name: plan._replace(candidates=given.candidates) for name, plan in plans.items()}
    if given.compile_into:
        (model,) = given.models
        print(json.dumps(compiled_once(model, given.compile_into, plans[model])))
        return
    cache.enable()
    named = [] if set(given.models) == set(QUICK) else given.models
    suffix = "".join(f"-{name}" for name in (*named, given.conv, given.precision) if name not in DEFAULTS)
    for part in given.only:
        results = PARTS[part](given, plans)
        if given.quick:
            print(json.dumps({part: results}, indent=1))
        else:
            save(f"speed-{part}{suffix}", {"arguments": " ".join(sys.argv[1:]), **results})


if __name__ == "__main__":
    main(arguments())
