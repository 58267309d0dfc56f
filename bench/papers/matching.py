"""Gradient matching: time to a good image, quality, and what the modes of BatchNorm change.

CIFAR-10 test images (npz of a folder, default ../shared/data), untrained weights unless a row says otherwise,
both cores. Weights, images and starts are drawn anew for every seed. PSNR in dB of the restart that the
attacker's own loss chose; an oracle's figures are named so. `labels=...` of a spec tells how labels are
inferred; the rows of `quality` know them unless they end in `-inferred`.

    python bench/papers/matching.py solution [--only dlg:labels=idlg inverting relative rgap] [--seeds 10]
    python bench/papers/matching.py quality [--only ROW...] [--weights FILE] [--resume]
    python bench/papers/matching.py batchnorm [--only gradinversion inverting]
    python bench/papers/matching.py peer --peer-python PATH [--only resnet18] [--images 4] [--steps 1000]

`quality` writes a result file a row, `batchnorm` one an attack, as soon as it is measured; rows of hours run
only where `--only` names them.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import save
from matching_peer import beside
from matching_runs import every_restart, keep_every_piece, row, solution, solved

from jleak import catalog
from jleak.audit import cache, driver, lanes, store
from jleak.audit.case import Case
from jleak.audit.config import Spec, parse_spec
from jleak.audit.trial import Programs
from jleak.models.conv import FORMS

RATES = {"lenet": 0.25e-3, "convnet64": 0.115, "resnet18": 0.11, "resnet20": 0.01}
"""Seconds an image and gradient evaluation, two quiet cores; only estimates are made of these."""

PEERS = {
    "source": "BASELINES.md section 3: MSE < 1e-3 (30 dB), one thread of a quiet machine, 10 seeds",
    "LLG repository, DLG": {"successes": "4 of 10", "seconds": [3.1, 8.2]},
    "breaching, deepleakage": {"successes": "5 of 10", "seconds": [3.7, 12]},
    "invertinggradients, L-BFGS, inferred label": {"successes": "8 of 10", "seconds": [5.7, 13]},
}
"""Quoted, not measured here."""

SOLVERS = ("dlg:labels=idlg", "inverting", "relative", "rgap")
MODES = ("eval", "batch", "batch+sent")
BATCHNORM = ("gradinversion", "inverting")


class Row(NamedTuple):
    """A row of the quality table.

    Attributes:
      model, attack, client: specs.
      batch, known, restarts: as the case.
      steps: of the attack.
      asked: the median PSNR that issue 4 asks for.
      trained: whether the weights are those of `--weights`.
      default: whether it runs without being named.
      lanes: restarts that a device advances at once.
    """

    attack: str = "inverting"
    model: str = "lenet:init=zhu"
    steps: int = 4800
    batch: int = 1
    known: bool = True
    restarts: int = 4
    client: str = "fedsgd"
    asked: float | None = None
    trained: bool = False
    default: bool = True
    lanes: int = 4


LBFGS = "inverting:optim=lbfgs,signed=false,tv=0.0,lr=1.0"
LARGE = {"restarts": 1, "lanes": 1, "default": False}
QUALITY = {
    "lenet-dlg": Row("dlg", steps=6000, asked=30),
    "lenet-dlg-300": Row("dlg", steps=300),
    "lenet-inverting": Row(asked=30),
    "lenet-inverting-lbfgs": Row(LBFGS, steps=2000, asked=30),
    "lenet-inverting-tv": Row("inverting:tv=0.01", asked=30),
    "lenet-batch4": Row(LBFGS, steps=2000, batch=4),
    "lenet-batch4-inferred": Row(LBFGS + ",labels=demix", steps=2000, batch=4, known=False),
    "lenet-batch8": Row(LBFGS, steps=2000, batch=8),
    "lenet-batch8-inferred": Row(LBFGS + ",labels=demix", steps=2000, batch=8, known=False),
    "lenet-fedavg4": Row("multistep", batch=4, client="fedavg:steps=4,lr=0.01"),
    "lenet-trained": Row(LBFGS, steps=2000, trained=True, default=False),
    "convnet64-inverting": Row(model="convnet64", asked=20, **LARGE),
    "convnet64-inverting-tv": Row("inverting:tv=0.01", model="convnet64", asked=20, **LARGE),
    "convnet64-batch4": Row(model="convnet64", batch=4, **LARGE),
    "convnet64-trained": Row(model="convnet64", trained=True, **LARGE),
    "resnet18-inverting": Row(model="resnet18", **LARGE),
    "resnet18-trained": Row(model="resnet18", trained=True, **LARGE),
}


def spec(kind, text):
    """The fields of a case for a name with arguments."""
    found = Spec.model_validate(parse_spec(text))
    return {kind: found.name, f"{kind}_args": found.args}


def steps_of(given, fields, steps):
    """The attack's fields with its number of steps, unless the spec says one."""
    return fields | {"attack_args": {"steps": given.steps or steps} | fields["attack_args"]}


def setting(given):
    """The fields that all cases share."""
    return {"dataset": f"npz:{given.data / 'cifar10_test'}.npz"}


def to_goal(given):
    """`solution`: seconds until the attacker's image has `--goal` dB, a victim at a time, labels inferred."""
    keep_every_piece(given.pieces)
    plan, rows = {}, {}
    for text in given.only or SOLVERS:
        fields = spec("attack", text)
        if fields["attack"] not in catalog.ATTACKS:
            rows[text] = {"skipped": f"attack {fields['attack']!r} is not in the catalog"}
            continue
        if given.steps:
            fields["attack_args"] = {"steps": given.steps} | fields["attack_args"]
        race = {"restarts": given.restarts or 8, "halving": given.halving, "stop": given.stop}
        shared = setting(given) | spec("model", "lenet:init=zhu") | race | {"victims": 1, "lanes": 4}
        plan[text] = [Case(**shared, **fields, seed=seed) for seed in range(given.seeds or 10)]
    images, programs = driver.prepared([case for cases in plan.values() for case in cases]), Programs()
    for text, cases in plan.items():
        warm = solved(cases[0], images[cases[0].dataset], programs, given.goal)
        records = [solved(case, images[case.dataset], programs, given.goal) for case in cases]
        rows[text] = solution(records, given.goal) | {"compile_seconds": warm["compile_seconds"]}
        rows[text]["settings"] = cases[0].to_json()
        told(f"{text}: {rows[text]['successes']}, {rows[text]['seconds_to_goal_median_of_successes']} s")
    yield suffix(given.only), {"peers": PEERS, "rows": rows}


def quality(given):
    """PSNR of the attacker's choice, `--images` batches over `--seeds` weights."""
    names = given.only or [name for name, r in QUALITY.items() if r.default]
    unknown = [name for name in names if name not in QUALITY]
    if unknown:
        given.refuse(f"unknown rows {unknown}; known: {', '.join(QUALITY)}")
    if any(QUALITY[name].trained for name in names) and not given.weights:
        given.refuse("a trained row needs --weights FILE, from `jleak train-model`")
    for name in names:
        yield (
            f"-{name}",
            {"row": name, "asked": QUALITY[name].asked} | measured(given, cases_of(given, name), name),
        )


def cases_of(given, name):
    """A row's cases, one a seed."""
    r = QUALITY[name]
    seeds, images = given.seeds or 5, given.images or 10
    victims = max(1, images // seeds)
    fields = setting(given) | steps_of(given, spec("attack", r.attack), r.steps)
    fields |= spec("model", r.model) | spec("client", r.client)
    fields |= {"weights": given.weights if r.trained else "", "batch": r.batch, "known_labels": r.known}
    fields |= {"restarts": given.restarts or r.restarts, "lanes": given.lanes or r.lanes, "victims": victims}
    fields["model_args"] = {"conv": given.conv} | fields["model_args"]
    return [Case(**fields, seed=seed) for seed in range(seeds)]


def batchnorm(given):
    """The modes on the same victims, batches of 4 so that statistics are not of one image; by attack."""
    for text in given.only or BATCHNORM:
        rows = {}
        for mode in given.modes:
            fields = setting(given) | steps_of(given, spec("attack", text), 1000)
            fields |= {"model": "resnet20", "model_args": {"width": 16, "batchnorm": mode}}
            fields |= {"weights": given.weights, "batch": 4, "known_labels": True, "lanes": 1}
            fields |= {"restarts": given.restarts or 1, "victims": given.images or 4}
            cases = [Case(**fields, seed=seed) for seed in range(given.seeds or 1)]
            rows[mode] = measured(given, cases, f"{text}, {mode}")
        yield suffix([text]), {"attack": text, "weights": given.weights or "untrained", "rows": rows}


def peer(given):
    """`inverting` and breaching's attack on the same images and weights, one restart each."""
    for name in given.only or ["resnet18"]:
        args = {"steps": given.steps or 1000}
        case = Case(
            **setting(given), **spec("model", name), attack="inverting", attack_args=args, known_labels=True,
            victims=given.images or 4, lanes=given.lanes or 1,
        )  # fmt: skip
        (images,) = driver.prepared([case]).values()
        yield suffix([name]), {"settings": case.to_json(), **beside(case, images, given.peer_python)}


def measured(given, cases, name):
    """One row: an estimate printed, then its cases run, each kept as soon as it is finished."""
    told(f"{name}: about {estimate(cases) / 60:.1f} minutes on two quiet cores, compilation aside")
    path = given.runs / f"matching-{given.part}-{slug(name)}"
    finished = store.finished(path, kind="matching", resume=given.resume)
    images, programs = driver.prepared(cases), Programs()
    store.make(
        path, {"kind": "matching", "command": " ".join(sys.argv), "cases": [c.to_json() for c in cases]}
    )
    records = driver.each(
        cases,
        lambda case, tell: (every_restart(case, images[case.dataset], programs, tell, given.lock), {}),
        keep=lambda before, record, arrays: store.add_record(path, before, record, arrays),
        finished=finished,
        report=lambda progress: None,
    )
    found = row(records) | {"settings": cases[0].to_json()}
    told(f"{name}: median {found['psnr_median']} dB, {found['seconds']} s")
    return found


def estimate(cases):
    """Seconds that the attackers of these cases take on two quiet cores."""
    total = 0.0
    for case in cases:
        args = case.attack_args
        runs = case.victims * case.restarts * args.get("steps", 1) * args.get("group", 1)
        total += runs * case.batch * RATES[case.model]
    return total


def uncommitted():
    """The library's files that differ from the revision which a result names."""
    git = ["git", "status", "--porcelain", "jleak"]
    said = subprocess.run(git, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    return [line[3:] for line in said.stdout.splitlines()]


def told(text):
    """A line with the time."""
    print(f"{time.strftime('%X')} {text}", flush=True)


def slug(text):
    """A name as part of a file's."""
    return re.sub(r"[^\w.-]+", "_", text)


def suffix(only):
    """What `--only` adds to the name of a result."""
    return "".join(f"-{slug(name)}" for name in only)


PARTS = {"solution": to_goal, "quality": quality, "batchnorm": batchnorm, "peer": peer}


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="rows of quality, or attacks")
    parser.add_argument("--seeds", type=int, help="draws of weights; default 10, quality 5, batchnorm 1")
    parser.add_argument("--images", type=int, help="batches in all (quality, 10) or a seed (batchnorm, 4)")
    parser.add_argument("--steps", type=int, help="in place of every row's own")
    parser.add_argument(
        "--restarts", type=int, help="default 8 for solution, 1 for batchnorm, else the row's"
    )
    parser.add_argument("--lanes", type=int, help="restarts at once on a device; default the row's")
    parser.add_argument("--conv", default="auto", choices=FORMS, help="form of the convolutions, of quality")
    parser.add_argument("--lock", type=Path, help="run in turn with who is given the same file")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has breaching and torch")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES, help="of batchnorm")
    parser.add_argument("--weights", default="", help="trained weights, for trained rows and batchnorm")
    parser.add_argument("--goal", type=float, default=30.0, help="dB")
    parser.add_argument("--pieces", type=int, default=32, help="how often the attacker's image is looked at")
    parser.add_argument("--halving", action=argparse.BooleanOptionalAction, default=True, help="of solution")
    parser.add_argument("--stop", type=float, default=0.0, help="of solution: loss at which it is content")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where records are kept")
    parser.add_argument("--resume", action="store_true", help="go on with what --runs holds")
    parser.add_argument("--name", default="", help="added to the names of results, as in --name=-quick")
    given = parser.parse_args()
    given.refuse = parser.error
    return given


if __name__ == "__main__":
    given = arguments()
    cache.enable()
    lanes.every_core()
    told_with = {"arguments": " ".join(sys.argv[1:]), "uncommitted": uncommitted()}
    for named, found in PARTS[given.part](given):
        save(f"matching-{given.part}{named}{given.name}", {**told_with, **found})
