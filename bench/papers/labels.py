"""Label attacks: success by data set, initialisation, batch size, draw, defense, training, local steps.

The sampling unit is the model: each row is so many independent models with one victim each, the same victims
for every attack. A cell is [mean, half width of the 95 % interval (Student) over models], in percent, of
|predicted and true labels in common| / |predicted|. `exact=false` names the rules as published. Data: the npz
files of a folder (default ../shared/data, see its README); auxiliary data: 20 images a class
(CIFAR-100: 5), disjoint from the victims'. One result file a part.

    python bench/papers/labels.py PART... [--data FOLDER] [--models 100] [--seed 0] [--rows REGEX]
"""

import argparse
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import save

from jleak.audit import cache, store
from jleak.audit.config import Spec, parse_spec
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.driver import prepared, run
from jleak.report.kinds import labels_line
from jleak.report.labels.rows import by_model, interval

SETS = {
    "cifar10": ("cifar10_test", "cifar10_train20k"),
    "cifar100": ("cifar100_test1k", ""),
    "mnist": ("mnist_test", "mnist_train"),
    "faces": ("lfw_faces32", ""),
}
"""name -> (victims' images, the server's). Where there is no second file, the first is cut into halves."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
FEW = ("random", "llg:exact=false", "llg_star", "llg_plus:exact=false", "llg_plus", "demix")
ALL = (*FEW, "llg", "llg_star:exact=false", "counts:pbar=natural", "counts:pbar=auxiliary", "ilrg")
DRAWS = {"IID": "uniform", "non-IID": "non_iid"}


def spec(kind, text):
    """The fields of a case for a name with arguments."""
    found = Spec.model_validate(parse_spec(text))
    return {kind: found.name, f"{kind}_args": found.args}


def setting(given, name, draw="uniform", model="lenet:init=zhu", **more):
    """The fields that all attacks of a row share."""
    victims, public = (f"npz:{given.data / file}.npz" if file else "" for file in SETS[name])
    return {
        "dataset": victims, "public": public, "draw": draw, "models": given.models, "seed": given.seed,
        "auxiliary": 5 if name == "cifar100" else 20,
        **spec("model", model), **more,
    }  # fmt: skip


def table(given, rows, attacks=FEW):
    """{row: {attack: [mean, half width]}} of these settings, kept case by case under `given.runs`.

    Of `ALL` attacks those beyond `FEW` only at batches of 8 and 128.
    """
    plan = {
        (row, a): LabelCase(**fields, **spec("attack", a))
        for row, fields in rows.items()
        if re.search(given.rows, row)
        for a in given.only or attacks
        if attacks is not ALL or given.only or a in FEW or fields["batch"] in (8, 128)
    }
    cases, path = list(plan.values()), given.runs / "-".join([*named(given), str(given.seed)])
    finished = store.finished(path, kind="labels", resume=given.resume)
    sets = prepared(cases)
    store.make(path, {"kind": "labels", "command": " ".join(sys.argv), "cases": [c.to_json() for c in cases]})
    records = run(cases, path, sets, finished=finished, report=told)
    found = {}
    for (row, attack), record in zip(plan, records, strict=True):
        cells = found.setdefault(row, {"imbalance": record["imbalance"][0]})
        cells[attack] = [round(100 * v, 1) for v in interval(by_model(record))]
        if record["accuracy"] is not None:
            cells["accuracy"] = round(100 * record["accuracy"], 1)
    return found


def named(given):
    """What the results of a part are called."""
    parts = [*given.only, *filter(None, [given.rows])]
    return ["labels", given.part, *(re.sub(r"\W+", "_", part).strip("_") for part in parts)]


def told(progress):
    """A line a finished case."""
    if not progress.part:
        case = progress.case
        print(f"{progress.done}/{progress.total} {labels_line(case)} {time.strftime('%X')}", flush=True)


def untrained(given):
    """Data sets x initialisations x draws x batch sizes; the published rules beside the repaired ones."""
    rows = {}
    for name in SETS:
        for init in ("zhu", "lecun"):
            for n in SIZES if name == "cifar10" else (1, 8, 32, 128):
                for draw, how in DRAWS.items():
                    rows[f"{name}, {init}, {draw}, B={n}"] = setting(
                        given, name, how, f"lenet:init={init}", batch=n
                    )
    return table(given, rows, ALL)


def models(given):
    """The other models of the catalog, CIFAR-10."""
    named = ("mlp", "mlp:activation_fn=relu", "convnet:width=16", "lenet:init=torch", "resnet20")
    rows = {f"{m}, IID, B={n}": setting(given, "cifar10", model=m, batch=n) for m in named for n in (8, 128)}
    return table(given, rows)


def defended(given):
    """Noise, pruning, clipping and DP-SGD-like noise, B = 8, IID."""
    named = [f"gaussian:sigma={s}" for s in (0.01, 0.1, 1.0)]
    named += [f"prune:fraction={f}" for f in (0.2, 0.4, 0.6, 0.8, 0.9, 0.99)]
    named += ["clip:bound=1.0", "dp_sgd:bound=1.0,noise=0.1", "dp_sgd:bound=1.0,noise=1.0"]
    rows = {}
    for name in ("cifar10", "cifar100"):
        for init in ("zhu", "lecun"):
            for defense in named:
                rows[f"{name}, {init}, {defense}"] = setting(
                    given, name, model=f"lenet:init={init}", batch=8, **spec("defense", defense)
                )
    return table(given, rows, (*FEW, "llg_star:exact=false"))


def training(given):
    """CIFAR-10, U(-.5, .5), every 500 steps of SGD with batches of 8 at rate 0.1, to 10,000."""
    rows = {}
    for steps in given.stages:
        for n in (8, 128):
            for draw, how in DRAWS.items():
                if n == 8 or steps in (0, 1000, 3000, 10_000):
                    rows[f"{steps} steps, {draw}, B={n}"] = setting(
                        given, "cifar10", how, batch=n, train_steps=steps
                    )
    return table(given, rows, (*FEW, "counts:pbar=auxiliary"))


LOCAL = ("random", "llg:exact=false", "llg_star:exact=false", "llg_plus:exact=false", "demix")


def local(given, steps=((1, 0.1), (10, 0.001), (10, 0.01), (10, 0.1), (100, 0.001)), attacks=LOCAL, **more):
    """FedAvg, mini-batches of 8, CIFAR-10: (local steps, rate), the published rules and `demix`."""
    rows = {}
    for init in ("zhu", "lecun"):
        for draw, how in DRAWS.items():
            for count, lr in steps:
                rows[f"{init}, {draw}, {count} steps, lr={lr}"] = setting(
                    given, "cifar10", how, f"lenet:init={init}", batch=8 * count,
                    **spec("client", f"fedavg:steps={count},lr={lr}"), **more,
                )  # fmt: skip
    return table(given, rows, attacks)


def followed(given):
    """FedAvg, 10 local steps at rate .1: `trajectory`, seconds a victim, so in a part of its own.

    One model at a time: its starts side by side fill the cache.
    """
    return local(given, ((10, 0.1),), ("random", "demix", "trajectory"), lanes=1)


def dropout(given):
    """FedSGD with dropout in front of the classifier, B = 8, CIFAR-10."""
    rows = {}
    for init in ("zhu", "lecun"):
        for draw, how in DRAWS.items():
            for rate in (0.2, 0.5):
                rows[f"{init}, {draw}, rate={rate}"] = setting(
                    given, "cifar10", how, f"lenet:init={init}", batch=8,
                    **spec("client", f"fedsgd_dropout:rate={rate}"),
                )  # fmt: skip
    return table(given, rows)


PARTS = {part.__name__: part for part in (untrained, models, defended, training, local, followed, dropout)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where records are kept")
    parser.add_argument("--resume", action="store_true", help="go on with what --runs holds")
    parser.add_argument("--only", nargs="+", default=[], metavar="ATTACK", help="these attacks alone")
    parser.add_argument("--rows", default="", metavar="REGEX", help="rows whose names match alone")
    parser.add_argument("--stages", nargs="+", type=int, default=range(0, 10_001, 500), metavar="STEPS")
    given = parser.parse_args()
    cache.enable()
    for part in given.parts:
        given.part = part
        found = {
            "arguments": " ".join(sys.argv[1:]), "models": given.models, "seed": given.seed,
            "rows": PARTS[part](given),
        }  # fmt: skip
        save("-".join([*named(given), *([f"seed{given.seed}"] if given.seed else [])]), found)
