"""Table 3 of GGL (Li et al., CVPR 2022) on our data: five attacks under four defenses, adaptive and not.

    python bench/papers/ggl.py [--data npz:PATH] [--prior mnist] [--model lenet] [--victims 8] [--seeds 2]

Victims and prior must not share images: by default MNIST's test images and the bundled prior, which learnt
the training images. Numbers are means over victims and seeds with half the 95 % interval (Student's t), in
the paper's conventions: MSE-I of images in [-1, 1], MSE-R of the victim model's features; `ms_gmsd` stands
where the paper has LPIPS and is another measure. The paper's own numbers (faces, ResNet-18) stand beside.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import save

from jleak.audit import cache, driver, lanes, store
from jleak.audit.case import Case

DEFENSES = {
    "noise": ("gaussian", {"sigma": 0.1}),
    "clip": ("clip", {"bound": 4.0}),
    "sparsify": ("prune", {"fraction": 0.9}),
    "soteria": ("soteria", {"fraction": 0.8}),
}
ATTACKS = {
    "dlg": ("dlg", {"steps": 300}),
    "idlg": ("idlg", {"steps": 300}),
    "inverting": ("inverting", {"steps": 2000}),
    "gradinversion": ("gradinversion", {"steps": 1000, "group": 1}),
    "ggl": ("ggl", {"evaluations": 2_500}),
    "ggl_cma_es": ("ggl", {"evaluations": 10_000, "optim": "cma_es", "population": 50}),
}
"""The attacks by the names of the rows; the second ggl has the paper's optimiser."""

PAPER = {
    "dlg": {"noise": 0.6479, "clip": 0.2097, "sparsify": 0.3335, "soteria": 0.3624},
    "idlg": {"noise": 0.6261, "clip": 0.1960, "sparsify": 0.3301, "soteria": 0.3269},
    "inverting": {"noise": 0.4880, "clip": 0.0543, "sparsify": 0.4103, "soteria": 0.3441},
    "gradinversion": {"noise": 0.5738, "clip": 0.1790, "sparsify": 0.2958, "soteria": 0.3179},
    "ggl": {"noise": 0.0780, "clip": 0.0760, "sparsify": 0.0768, "soteria": 0.0968},
}
"""MSE-I of its table 3, CelebA; of its GGL, the adaptive attack."""

METRICS = ("mse_pm1", "ms_gmsd", "mse_features", "psnr", "label_success")


def case(given: argparse.Namespace, attack: str, defense: str, knows: str, seed: int) -> Case:
    """One cell for one seed."""
    name, strength = DEFENSES[defense]
    factory, args = ATTACKS[attack]
    args = args | ({"prior": given.prior} if factory == "ggl" else {})
    return Case(
        dataset=given.data, model=given.model, attack=factory, attack_args=args, defense=name,
        defense_args=strength, knows=knows, victims=given.victims, restarts=given.restarts, seed=seed,
    )  # fmt: skip


def mean(values: list[float]) -> list[float]:
    """[mean, half the 95 % interval] of the finite ones."""
    found = [v for v in values if v is not None and math.isfinite(v)]
    half = stats.t.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / math.sqrt(len(found))
    return [float(f"{np.mean(found):.4g}"), float(f"{half:.2g}")]


def main() -> None:
    """The table, into its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="npz:../shared/data/mnist_test.npz")
    parser.add_argument("--prior", default="mnist")
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--victims", type=int, default=8, help="a seed")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--name", default="", help="added to the name of the result")
    given = parser.parse_args()
    lanes.every_core()
    cache.enable()
    cells = {
        (attack, defense, knows, seed): case(given, attack, defense, knows, seed)
        for attack in given.only
        for knows in ("nothing", "kind")
        for defense in DEFENSES
        for seed in range(given.seeds)
        if (defense, knows) != ("noise", "kind")  # nothing is done with the noise's level
    }
    images = driver.prepared(list(cells.values()))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        store.make(run, {"command": "bench/papers/ggl.py"})
        records = driver.run(list(cells.values()), run, images, finished={}, report=told)
    table = {}
    for (attack, defense, knows, _), record in zip(cells, records, strict=True):
        table.setdefault(f"{attack}, knows {knows}", {}).setdefault(defense, []).append(record)
    rows = {
        name: {
            defense: {metric: mean([v for r in of for v in r[metric]]) for metric in METRICS}
            for defense, of in row.items()
        }
        for name, row in table.items()
    }
    save(f"papers-ggl{given.name}", {
        "arguments": " ".join(sys.argv[1:]),
        "attacks": ATTACKS, "victims": given.victims * given.seeds, "restarts": given.restarts,
        "paper_mse_i": PAPER, "mean_and_half_interval": rows,
        "seconds": round(sum(r["seconds"] for r in records), 1),
    })  # fmt: skip


def told(progress: driver.Progress) -> None:
    """A line a finished case."""
    if progress.part == 0:
        print(json.dumps({"done": progress.done, "of": progress.total}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
