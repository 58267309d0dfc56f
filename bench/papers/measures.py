"""Measures of leakage against what two papers found with theirs, and what they cost.

    python bench/papers/measures.py metric      # (a): does mutual information rank what `inverting` recovers?
    python bench/papers/measures.py layers      # (b): which layers leak images, which an attribute? heat maps
    python bench/papers/measures.py aggregation # (b): batch size, local steps, dropout, DP-SGD
    python bench/papers/measures.py speed       # the full layer map of LeNet on 256 records
    python bench/papers/measures.py memory      # per-sample mutual information of ResNet-20

(a) Liu et al., ICASSP 2021 (arXiv 2102.13472); (b) Mo et al. (arXiv 2105.13929). Their numbers could not be
read: what is compared is what their abstracts state. Data from ../shared/data.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, save

from jleak import clients, data, losses, models
from jleak.audit import cache, lanes, store
from jleak.audit.measures.config import cases, measure_config_of
from jleak.audit.measures.driver import prepared, run
from jleak.leakage.jacobian import factor
from jleak.leakage.mutual_information.jacobian import jacobian_lanczos
from jleak.report.measures import figures, rows
from jleak.report.measures.scatter import correlation, named, points

DATA = Path(__file__).parents[3] / "shared" / "data"
LEARNING = {"name": "lenet", "args": {"activation_fn": "relu", "init": "lecun"}}
"""A LeNet that learns in some hundred steps; Zhu's initialisation and sigmoids do not."""

FACES = f"npz:{DATA / 'lfw_faces32.npz'}"
SETS = {
    "digits": {"dataset": "digits", "attribute": "bright"},
    "mnist": {"dataset": f"npz:{DATA / 'mnist_test.npz'}", "attribute": "bright"},
    "cifar10": {"dataset": f"npz:{DATA / 'cifar10_test.npz'}", "attribute": "bright"},
    "gender": {"dataset": FACES, "attribute": "smiling", "groups": "identity"},
    "smile": {"dataset": f"by:smiling:{FACES}", "attribute": "labelled", "groups": "identity"},
}
"""Data set and what is latent in it; the faces classify gender with a smile latent, and the other way."""

MODELS = {
    "lenet": LEARNING,
    "alexnet": {"name": "alexnet", "args": {}},
    "vgg11": {"name": "vgg11", "args": {}},
    "resnet20": {"name": "resnet20", "args": {}},
}
STAGES = [0, 300, 3000]


def measured(where: Path, **settings) -> list[rows.Block]:
    """The blocks of a run of these settings, kept in that directory, gone on with if it is there."""
    plan = cases(measure_config_of(settings))
    finished = store.finished(where, resume=True, kind="measure") if where.exists() else {}
    sets = prepared([case for case in plan if case.case_id not in finished])
    store.make(where, {"kind": "measure", "command": "bench", "cases": [case.to_json() for case in plan]})
    clock = time.perf_counter()

    def tell(stand):
        if not stand.part:
            print(f"{stand.done}/{stand.total} {time.perf_counter() - clock:.0f} s", flush=True)

    return rows.blocks(run(plan, where, sets, finished=finished, report=tell), where)


def metric(folder: Path, chosen: list[str]) -> None:
    """Rank correlation of measures with the error of `inverting`, over a grid of settings."""
    found, settings = [], []
    for name in chosen or ["digits", "mnist", "cifar10", "gender"]:
        blocks = measured(
            folder / f"metric-{name}",
            **{key: SETS[name][key] for key in ("dataset",)},
            models=[LEARNING],
            train_steps=STAGES,
            batches=[1, 2, 8],
            defenses=["none", "gaussian:sigma=0.01", "gaussian:sigma=0.1"],
            measures=["mutual_information:sigma=0.0001", "sensitivity", "mixing"],
            attacks=["inverting:steps=300"],
            count=2,
            records=6,
        )
        found += blocks
        settings += [name] * len(blocks)
    result = {"points": [told(name, block) for name, block in zip(settings, found, strict=True)]}
    result["correlations"] = {
        one.measure: {"rho": one.rho, "low": one.low, "high": one.high, "settings": len(one.middle)}
        for one in points(found)
    }
    result["predicted_mse"] = predicted(found)
    result["within"] = {}
    for name in dict.fromkeys(settings):
        own = [block for block, other in zip(found, settings, strict=True) if other == name]
        ranked = {one.measure: [one.rho, one.low, one.high] for one in points(own)}
        bound = predicted(own)
        result["within"][name] = ranked | {"predicted_mse": [bound[k] for k in ("rho", "low", "high")]}
    (picture,) = figures.scatters(found, made(folder))
    shutil.copy(picture.path, RESULTS / "measures-metric.png")
    save("measures-metric", result)


def predicted(found: list[rows.Block]) -> dict:
    """Rank correlation of the error that a linear Gaussian model leaves with the attack's, over settings."""
    pairs = [
        (np.median(named(block.measures, "mutual information").whole["mse"]), block.attacks[0].total.median)
        for block in found
    ]
    rho, low, high = correlation(*np.array(pairs).T)
    return {"rho": rho, "low": low, "high": high, "pairs": [[float(f"{v:.4g}") for v in p] for p in pairs]}


def told(name: str, block: rows.Block) -> dict:
    """A setting in one line."""
    first = block.records[0]
    fields = {key: first[key] for key in ("train_steps", "batch", "defense", "defense_args", "client")}
    numbers = {column.name: round(column.total.median, 6) for column in block.columns}
    return {"data": name, **fields, "accuracy": block.accuracy, **numbers}


def layers(folder: Path, chosen: list[str]) -> None:
    """A heat map of each model on each data set, untrained and trained."""
    for pair in chosen or [f"{model}-{name}" for name in SETS for model in MODELS]:
        model, name = pair.split("-")
        blocks = measured(
            folder / f"layers-{pair}",
            **SETS[name],
            models=[MODELS[model]],
            train_steps=[0, 300],
            train_lr=0.05,
            batches=[4],
            measures=[
                "sensitivity", "mutual_information:components=16", "usable_information:of=images",
                "usable_information:of=attribute,permutations=4,seeds=1", "subspace_distance",
            ],
            count=1,
            records=4,
            updates=600,
            lanes=2,
        )  # fmt: skip
        results = {}
        for block in blocks:
            stage = block.records[0]["train_steps"]
            picture = figures.layer_map(block, made(folder))
            (RESULTS / "measures").mkdir(exist_ok=True)
            shutil.copy(picture.path, RESULTS / "measures" / f"{pair}-{stage}.png")
            results[f"{stage} steps"] = {
                "layers": block.names,
                "accuracy": block.accuracy,
                **{c.name: [round(of.median, 5) for of in c.shown] for c in block.measures if c.shown},
            }
        save(f"measures-layers-{pair}", results)


def aggregation(folder: Path, chosen: list[str]) -> None:
    """What larger batches, local steps, dropout and DP-SGD do to the information of a LeNet's update."""
    result = {}
    for name in chosen or ["gender", "cifar10"]:
        measures = ["usable_information:of=images", "usable_information:of=attribute,permutations=4,seeds=1"]
        shared = {
            **SETS[name], "models": [LEARNING], "train_steps": [300], "count": 2, "records": 8,
            "measures": [*measures, "mutual_information"],
        }  # fmt: skip
        grid = {
            "batch": {"batches": [1, 4, 16]},
            "local": {"batches": [4], "clients": ["fedavg:steps=1,epochs=2", "fedavg:steps=1,epochs=8"]},
            "dropout": {"batches": [4], "clients": ["fedsgd_dropout:rate=0.5", "fedsgd_dropout:rate=0.9"]},
            "dp": {"batches": [4], "defenses": [f"dp_sgd:bound=1,noise={s}" for s in (0.1, 1.0)]},
        }
        for part, settings in grid.items():
            blocks = measured(folder / f"aggregation-{name}-{part}", **{**shared, **settings})
            result[f"{name}-{part}"] = [told(name, block) for block in blocks]
        save("measures-aggregation", result)


def speed(folder: Path, chosen: list[str]) -> None:
    """Seconds of the layer map of LeNet on 256 records, with an empty compilation cache and a full one."""
    seconds, results = [], {}
    with tempfile.TemporaryDirectory() as aside:
        cache.enable(Path(aside))
        for state in ("cold", "warm"):
            clock = time.perf_counter()
            (block,) = measured(
                Path(aside) / state, dataset="digits", models=[LEARNING], count=1, records=256, updates=256
            )
            seconds.append(time.perf_counter() - clock)
            results[state] = {"seconds": round(seconds[-1], 1)} | {
                column.name: round(column.seconds, 2) for column in block.columns
            }
    save("measures-speed", results | {"asked": 60})


def memory(folder: Path, chosen: list[str]) -> None:
    """Peak memory of this process: per-sample mutual information of ResNet-20, two images, by Lanczos.

    All 3,072 directions of the images; five steps of two probes, whose number the memory does not depend on.
    """
    images = data.load(SETS["cifar10"]["dataset"])
    model = models.resnet20(images.shape, images.classes)
    client = clients.fedsgd(model, losses.cross_entropy)
    vary = factor(jnp.asarray(data.pixels(images.x[:4000])), 3072)
    batch = data.draw(jax.random.key(0), images, 2)
    params = model.init(jax.random.key(1))

    @jax.jit
    def information(params, batch, vary):
        settings = {"sigma": 1e-4, "factor": vary, "probes": 2, "steps": 5}
        return jacobian_lanczos(jax.random.key(2), model, client, params, batch, **settings)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = jax.block_until_ready(information(params, batch, vary))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {"total": float(found.total), "samples": found.samples.tolist(), "error": float(found.error)}
    save(
        "measures-memory", {"before_gib": round(before, 2), "peak_gib": round(peak, 2), "asked_gib": 3} | told
    )


def made(folder: Path) -> Path:
    """A directory for pictures."""
    (folder / "pictures" / "figures").mkdir(parents=True, exist_ok=True)
    return folder / "pictures"


PARTS = {"metric": metric, "layers": layers, "aggregation": aggregation, "speed": speed, "memory": memory}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("chosen", nargs="*", help="data sets, or MODEL-DATA of `layers`; all by default")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/jleak-measures"), help="of finished cases")
    given = parser.parse_args()
    lanes.every_core()
    cache.enable(None)
    PARTS[given.part](given.folder, given.chosen)
