"""pycma and nevergrad on the functions of `bench/optimizers.py`: a line of JSON for each run.

Runs in a Python that has cma, nevergrad and numpy, and knows nothing of jleak. The functions, starts and
populations are those of that script, written anew.

    python bench/peers/strategies_worker.py --dim 64 --generations 1000 --population 32 --seeds 10
"""

import argparse
import json
import sys
import time
import warnings

warnings.simplefilter("ignore")

try:
    import cma
    import nevergrad
    import numpy as np
except ImportError as error:
    print(json.dumps({"missing": str(error)}))
    sys.exit(0)


def function(name, dim):
    """(function, standard deviation of the start, of the first generation)."""
    scales = 10.0 ** np.linspace(0, 6, dim)
    return {
        "sphere": (lambda x: float(np.sum(x**2)), 1.0, 1.0),
        "ellipsoid": (lambda x: float(np.sum(scales * x**2)), 1.0, 1.0),
        "rosenbrock": (
            lambda x: float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)), 0.5, 0.3
        ),
    }[name]  # fmt: skip


def pycma(value, start, std, given, seed, diagonal):
    """Best values so far, a number a generation."""
    options = {"popsize": given.population, "seed": seed + 1, "verbose": -9, "CMA_diagonal": diagonal}
    options |= {"tolfun": 0, "tolfunhist": 0, "tolx": 0, "tolstagnation": 10**9, "maxiter": 10**9}
    es, curve = cma.CMAEvolutionStrategy(start, std, options), []
    for _ in range(given.generations):
        points = es.ask()
        fitness = [value(x) for x in points]
        es.tell(points, fitness)
        curve.append(min(fitness))
    return curve


def never(value, start, std, given, seed, name):
    """The same of nevergrad's, asked a population at a time (its own where it takes no other)."""
    space = nevergrad.p.Array(init=start).set_mutation(sigma=std)
    space.random_state.seed(seed)
    budget = given.generations * given.population
    es = nevergrad.optimizers.registry[name](space, budget=budget, num_workers=given.population)
    curve = []
    for _ in range(given.generations):
        asked = [es.ask() for _ in range(given.population)]
        fitness = [value(one.value) for one in asked]
        for one, found in zip(asked, fitness, strict=True):
            es.tell(one, found)
        curve.append(min(fitness))
    return curve


RUNS = {
    "pycma": lambda *args: pycma(*args, False),
    "pycma_diagonal": lambda *args: pycma(*args, True),
    "nevergrad_cma": lambda *args: never(*args, "CMA"),
    "nevergrad_de": lambda *args: never(*args, "DE"),
    "nevergrad_pso": lambda *args: never(*args, "PSO"),
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--dim", type=int, required=True)
parser.add_argument("--generations", type=int, required=True)
parser.add_argument("--population", type=int, required=True)
parser.add_argument("--seeds", type=int, default=10)
parser.add_argument("--functions", nargs="+", default=["sphere", "ellipsoid", "rosenbrock"])
parser.add_argument("--only", nargs="+", default=list(RUNS))
given = parser.parse_args()
print(json.dumps({"cma": cma.__version__, "nevergrad": nevergrad.__version__}), flush=True)
for name in given.functions:
    for peer in given.only:
        for seed in range(given.seeds):
            value, around, std = function(name, given.dim)
            start = around * np.random.default_rng(seed).normal(size=given.dim)
            clock = time.perf_counter()
            curve = np.minimum.accumulate(RUNS[peer](value, start, std, given, seed))
            seconds = time.perf_counter() - clock
            run = {"peer": peer, "function": name, "seed": seed, "seconds": seconds, "curve": curve.tolist()}
            print(json.dumps(run), flush=True)
