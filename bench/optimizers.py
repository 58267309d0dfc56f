"""Optimisers that see no gradient, compared.

    python bench/optimizers.py strategies
    python bench/optimizers.py peers --peer-python /path/to/python          (one that has cma and nevergrad)

`strategies`: every strategy of jleak on the sphere, the axis-parallel ellipsoid of condition 1e6 and
Rosenbrock's function, in 64 and 128 dimensions, with a population of 32 and ten seeds: the evaluations to a
fixed value, the value after the whole budget, and what a generation of the strategy itself costs. `peers`:
the same of pycma and nevergrad. A file for each part and dimension.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import quartiles, save

from jleak.search import STRATEGIES, advance, begin, drawing, evolving


class Function(NamedTuple):
    """What is minimised: its value; standard deviations of the start and of the first generation; a goal."""

    value: Callable
    around: float
    std: float
    goal: float


def functions(dim: int) -> dict[str, Function]:
    """The three; the least value of each is 0, Rosenbrock's at (1, ..., 1), the others' at 0."""
    scales = 10.0 ** jnp.linspace(0, 6, dim)

    def rosenbrock(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return {
        "sphere": Function(lambda x: jnp.sum(x**2), 1.0, 1.0, 1e-6),
        "ellipsoid": Function(lambda x: jnp.sum(scales * x**2), 1.0, 1.0, 1.0),
        "rosenbrock": Function(rosenbrock, 0.5, 0.3, float(dim)),
    }


def summary(curves: np.ndarray, goal: float, population: int) -> dict:
    """Of curves (seeds, generations): evaluations to the goal where half the runs came to it; the last value.

    Quartiles, then; a run that did not come to it counts as infinite.
    """
    best = np.minimum.accumulate(curves, axis=1)
    hits = [int(np.argmax(run <= goal) + 1) * population if run[-1] <= goal else None for run in best]
    reached = sorted(hit for hit in hits if hit is not None)
    ranked = [*reached, *[None] * (len(hits) - len(reached))]
    middle = [ranked[round(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75)]
    return {"reached": len(reached), "evaluations_to_goal": middle, "last": quartiles(best[:, -1].tolist())}


def curves_of(name: str, function: Function, dim: int, given: argparse.Namespace) -> tuple[np.ndarray, float]:
    """Least losses (seeds, generations), and milliseconds a generation and seed, the function included."""
    settings = {"population": given.population}
    engine = drawing(std=function.std, **settings) if name == "random_search" else None
    engine = engine or evolving(name, std=function.std, **settings)
    search = engine(
        lambda key, x, fixed, view: function.value(x),
        lambda key, view: (function.around * jax.random.normal(key, (dim,)), ()),
        lambda x, fixed, view: (x, None),
        steps=given.generations[dim],
    )

    def run(key):
        return advance(search, key, begin(search, key, None), None, jnp.asarray(0), search.steps)[1]

    keys = jax.random.split(jax.random.key(0), given.seeds)
    program = jax.jit(jax.vmap(run)).lower(keys).compile()
    clock = time.perf_counter()
    losses = np.asarray(jax.block_until_ready(program(keys)))
    return losses, 1e3 * (time.perf_counter() - clock) / (given.seeds * search.steps)


def ours(dim: int, given: argparse.Namespace) -> dict:
    """jleak's strategies by function."""
    found = {}
    for name in given.names:
        for label, function in functions(dim).items():
            losses, cost = curves_of(name, function, dim, given)
            result = summary(losses, function.goal, given.population)
            found.setdefault(label, {})[name] = {**result, "ms_a_generation": round(cost, 4)}
            print(dim, label, name, json.dumps(found[label][name]), flush=True)
    return found


def peers(dim: int, given: argparse.Namespace) -> dict:
    """pycma's and nevergrad's by function, in a process of a Python that has them."""
    worker = [given.peer_python, "bench/peers/strategies_worker.py", "--dim", str(dim)]
    worker += ["--generations", str(given.generations[dim]), "--population", str(given.population)]
    worker += ["--seeds", str(given.seeds), "--only", *given.peers]
    lines = subprocess.run(worker, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    about, *runs = map(json.loads, lines)
    if "missing" in about:
        print(f"pycma and nevergrad are left out: {about['missing']}; see --peer-python")
        return {}
    found, goals = {"versions": about}, functions(dim)
    for label, name in dict.fromkeys((run["function"], run["peer"]) for run in runs):
        mine = [run for run in runs if (run["function"], run["peer"]) == (label, name)]
        result = summary(np.array([run["curve"] for run in mine]), goals[label].goal, given.population)
        cost = statistics.median(1e3 * run["seconds"] / given.generations[dim] for run in mine)
        found.setdefault(label, {})[name] = {**result, "ms_a_generation": round(cost, 4)}
        print(dim, label, name, json.dumps(found[label][name]), flush=True)
    return found


PARTS = {"strategies": ours, "peers": peers}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--names", nargs="+", default=[*sorted(STRATEGIES), "random_search"], metavar="NAME")
    parser.add_argument("--dims", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--population", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--peers", nargs="+", default=["pycma", "pycma_diagonal", "nevergrad_cma"])
    parser.add_argument("--peer-python", default=sys.executable, help="one that has cma and nevergrad")
    parser.add_argument("--quick", action="store_true", help="whether everything runs; prints, saves nothing")
    given = parser.parse_args()
    given.generations = {dim: 20 if given.quick else 500 + 125 * dim // 16 for dim in given.dims}
    return given


def main(given: argparse.Namespace) -> None:
    """The part asked for, a file a dimension."""
    for dim in given.dims:
        about = {"arguments": " ".join(sys.argv[1:]), "dimension": dim, "population": given.population}
        about |= {"seeds": given.seeds, "generations": given.generations[dim]}
        about["goals"] = {name: function.goal for name, function in functions(dim).items()}
        found = PARTS[given.part](dim, given)
        if found and not given.quick:
            which = [given.part, f"d{dim}", *(given.peers if given.part == "peers" else [])]
            save("-".join(["optimizers", *which]), {**about, **found})


if __name__ == "__main__":
    main(arguments())
