"""Generative gradient leakage beside the loop of GGL's reference code: speed, and what CMA-ES reaches.

The reference asks nevergrad for candidates and evaluates them one at a time in PyTorch; `peers/ggl_worker.py`
does as much, in a process of its own. jleak runs what `jleak audit --attack ggl` runs. The generator is that
of GGL's faces, 1.73 million parameters; images are 32x32x3, the label is known.

    python bench/ggl.py [--only speed|reach ...] [--peer-python PATH] [--models lenet resnet18] [--rounds 5]

speed: seconds an evaluation of both in turn, all cores, and of 25,000 evaluations on LeNet; random weights.
reach: on the same victims, weights and generator (`--prior`), the loss that nevergrad's CMA has after 25,000
evaluations, and after how many jleak has it; one seed a victim.
"""

import argparse
import functools
import json
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from common import quartiles, save
from peers.layout import FLAT, one, torch_tensors
from peers.process import ggl
from speed_runs import PAUSE, Built, built, significant

from jleak import data, priors
from jleak.audit import cache, lanes, pieces, programs, shapes, sides
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of
from jleak.distances import tensor_order
from jleak.priors import Prior, card

MODELS = ("lenet", "resnet18")
ROUNDS = {"lenet": (200, 10), "resnet18": (6, 1)}
"""Generations of jleak and rounds of the peer in one measurement, 50 evaluations each."""

FULL = 25_000
"""Evaluations of the reference's default: 500 rounds of 50."""


def random_prior(folder: str) -> str:
    """The file of a generator of GGL's shape with random weights."""
    made = priors.dcgan((32, 32, 3))
    path = Path(folder) / "random.safetensors"
    told = card("dcgan", made.shape, data="none: random weights")
    priors.save(path, Prior(made, made.init(jax.random.key(0)), told))
    return str(path)


def case_of(model: str, prior: str, evaluations: int, restarts: int, **more) -> Case:
    """GGL on one image."""
    args = {
        "prior": prior,
        "evaluations": evaluations,
        "population": 50,
        "optim": "cma_es",
        **more.pop("attack_args", {}),
    }
    fixed = {"dataset": "npz:noise", "known_labels": True, "victims": 1, "lanes": 1}
    return Case(model=model, attack="ggl", attack_args=args, restarts=restarts, **(fixed | more))


def clocked(run: Built) -> float:
    """Seconds an evaluation, over all restarts."""
    time.sleep(PAUSE)
    clock = time.perf_counter()
    rec, _, _ = pieces.attack(run.case, run.attacker, run.given, lambda share, loss: None)
    return (time.perf_counter() - clock) / int(rec.evaluations.sum())


def speed(given: argparse.Namespace) -> dict:
    """Seconds an evaluation of jleak, a restart a core, and of the peer, with one thread and all."""
    with tempfile.TemporaryDirectory() as folder, ggl(given.peer_python) as (about, ask):
        prior = random_prior(folder)
        rows = {model: beside(given, model, prior, ask) for model in given.models}
        whole = {
            f"{restarts} restarts": clock_whole(case_of("lenet", prior, FULL // restarts, restarts))
            for restarts in sorted({1, lanes.cores()})
        }
    return {"peer": about, "models": rows, "25,000 evaluations on LeNet": whole}


def beside(given: argparse.Namespace, model: str, prior: str, ask) -> dict:
    """One model's row."""
    generations, rounds = ROUNDS[model]
    run = built(case_of(model, prior, 50 * generations, lanes.cores()))

    def peer(threads):
        time.sleep(PAUSE)
        answer = ask(model, rounds, threads)
        return answer["seconds"] / answer["evaluations"]

    tasks = {"jleak": functools.partial(clocked, run)}
    if ask:
        tasks |= {f"peer, threads={n}": functools.partial(peer, n) for n in sorted({1, lanes.cores()})}
    seconds = {name: [] for name in tasks}
    for i in range(given.rounds + 1):
        for name in list(tasks) if i % 2 else reversed(tasks):
            spent = tasks[name]()
            if i:  # the first round warms up
                seconds[name].append(spent)
    ratios = {
        name: quartiles([b / a for a, b in zip(seconds["jleak"], seconds[name], strict=True)])
        for name in tasks
        if name != "jleak"
    }
    return {
        "generator_parameters": sum(leaf.size for leaf in jax.tree.leaves(run.given.prior["params"])),
        "seconds_per_evaluation": {name: quartiles(s) for name, s in seconds.items()},
        "over_jleak": ratios,
        "faster_peer_over_jleak": min(ratios.values(), key=lambda found: found[1], default=None),
    }


def clock_whole(case: Case) -> list[float]:
    """Quartiles of the seconds of the whole attack, compiled, over five runs."""
    run = built(case)
    clocked(run)
    return quartiles([clocked(run) * case.restarts * case.attack_args["evaluations"] for _ in range(5)])


def reach(given: argparse.Namespace) -> dict:
    """Losses of nevergrad's CMA after 25,000 evaluations, and jleak's evaluations to the same loss."""
    images = data.load(given.data)
    programs.PIECES = 500
    rows = []
    with tempfile.TemporaryDirectory() as folder, ggl(given.peer_python) as (about, ask):
        if ask is None:
            raise SystemExit(f"the peer is missing: {about['missing']}; give --peer-python")
        prior = given.prior or random_prior(folder)
        cached = Programs()
        for seed in range(given.seeds):
            row = {"seed": seed} | compared(case_of(
                "lenet", prior, FULL, 1, dataset=given.data, seed=seed,
                attack_args={"optim": given.optim, "population": given.population},
            ), images, cached, folder, ask)  # fmt: skip
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    needed = [row["evaluations_to_it"] for row in rows]
    reached = [n for n in needed if n is not None]
    return {
        "peer": about,
        "prior": prior if given.prior else "random weights",
        "optim": given.optim,
        "population": given.population,
        "reached": f"{len(reached)} of {len(rows)}",
        "evaluations_to_it": quartiles(reached) if len(reached) > 1 else reached,
        "rows": rows,
    }


def compared(case: Case, images, cached: Programs, folder: str, ask) -> dict:
    """One victim given to both."""
    model = model_of(case, images.shape, images.classes)
    truth = sides.clients([case], images, model, cached)
    view = sides.view_of([case], truth)
    attacker = cached.take(shapes.attacker_settings(case), lambda: programs.attacker(case, model, view))
    _, _, course = pieces.attack(case, attacker, view, lambda share, loss: None)
    losses = course["losses"][:, 0, 0]
    spent = FULL // len(losses) * np.arange(1, len(losses) + 1)
    order = tensor_order(model)
    tensors = {
        **{f"w{i}": w for i, w in enumerate(torch_tensors(truth.params["params"], order, FLAT[case.model]))},
        **{f"g{i}": g for i, g in enumerate(torch_tensors(one(truth.updates, 0), order, FLAT[case.model]))},
        **torch_generator(view.prior),
        "y": np.asarray(truth.batches.y[0], np.int64),
    }
    path = str(Path(folder) / f"{case.seed}.npz")
    np.savez(path, **tensors)
    theirs = ask(case.model, FULL // 50, 1, given=path, seed=case.seed)["lowest"][-1]
    first = np.flatnonzero(losses <= theirs)
    return {
        "nevergrad": significant(theirs),
        "jleak": significant(float(losses[-1])),
        "evaluations_to_it": int(spent[first[0]]) if len(first) else None,
    }


def torch_generator(params) -> dict[str, np.ndarray]:
    """The generator's variables by torch's names, in its layout: `peers/ggl_worker.py`."""
    weights, stats = (jax.tree.map(np.asarray, params[kind]) for kind in ("params", "batch_stats"))
    width = weights["stage1"]["conv"]["kernel"].shape[0]

    def channels_first(leaf):  # of the dense layer's outputs, (4, 4, width) here and (width, 4, 4) there
        return np.moveaxis(leaf.reshape(*leaf.shape[:-1], 4, 4, width), -1, -3).reshape(leaf.shape)

    found = {
        "dense.0.weight": channels_first(weights["stage0"]["dense"]["kernel"]).T,
        "dense.0.bias": channels_first(weights["stage0"]["dense"]["bias"]),
        **normed("dense.1", weights["stage0"]["norm"], stats["stage0"]["norm"], channels_first),
    }
    for i, stage in enumerate(("stage1", "stage2", "stage3")):
        found[f"rest.{3 * i}.weight"] = weights[stage]["conv"]["kernel"].transpose(0, 3, 1, 2)
        found[f"rest.{3 * i}.bias"] = weights[stage]["conv"]["bias"]
        if "norm" in weights[stage]:
            found |= normed(f"rest.{3 * i + 1}", weights[stage]["norm"], stats[stage]["norm"])
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def normed(name: str, weights: dict, stats: dict, laid=lambda leaf: leaf) -> dict[str, np.ndarray]:
    """A BatchNorm's four vectors by torch's names."""
    return {
        f"{name}.weight": laid(weights["scale"]),
        f"{name}.bias": laid(weights["bias"]),
        f"{name}.running_mean": laid(stats["mean"]),
        f"{name}.running_var": laid(stats["var"]),
    }


PARTS = {"speed": speed, "reach": reach}


def main() -> None:
    """The parts asked for, each into its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has nevergrad and torch")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10, help="victims of reach")
    parser.add_argument("--prior", default="", help="of reach; else random weights")
    parser.add_argument("--data", default="npz:../shared/data/cifar10_test.npz", help="of reach")
    parser.add_argument("--optim", default="cma_es", help="of reach")
    parser.add_argument("--population", type=int, default=50, help="of reach")
    given = parser.parse_args()
    lanes.every_core()
    cache.enable()
    for part in given.only:
        save(f"ggl-{part}", {"arguments": " ".join(sys.argv[1:]), **PARTS[part](given)})


if __name__ == "__main__":
    main()
