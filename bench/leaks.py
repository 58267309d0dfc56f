"""Which optimiser searches a generator best: one leak given to each at one budget of gradient evaluations.

    python bench/leaks.py mnist [--evaluations 5000] [--victims 5] [--seeds 2]
    python bench/leaks.py faces --prior faces32.safetensors      (bench/priors.py makes it)

What `jleak bench-optimizers` compares, on the problems named here, its leaderboards as one JSON file. Victims
are images that the prior has not learnt. `to_goal` is in evaluations; the goal of a victim is the loss to
which half the optimisers come (`jleak.report.optimizers.effort`).
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

from common import save

from jleak.audit import cache, driver, lanes, store
from jleak.audit.optimizers import OptimizersConfig, cases
from jleak.report.optimizers.rows import Line, blocks

LEAKS = {
    "digits": {"dataset": "private:digits", "priors": "digits", "models": "lenet"},
    "mnist": {"dataset": "npz:../shared/data/mnist_test.npz", "priors": "mnist", "models": "lenet"},
    "faces": {"dataset": "private:npz:../shared/data/lfw_faces32.npz", "models": "lenet"},
}
"""No prior of faces comes with jleak: it must be given."""

OPTIMIZERS = (
    *("adam", "adam:lr=0.03", "lbfgs", "random_search+adam:population=50", "cr_fm_nes+adam:population=50"),
    *(f"{name}:population={n}" for name in ("cr_fm_nes", "cma_es") for n in (20, 50)),
    *(f"{name}:population=50" for name in ("sep_cma_es", "snes", "lm_ma_es", "pgpe", "de", "pso", "turbo")),
    "random_search:population=50",
)
"""All at ggl's own settings, but for what stands here."""

DEFENSES = ["none", "gaussian:sigma=0.1", "prune:fraction=0.9"]


def told(line: Line) -> dict:
    """A line of a leaderboard: medians with quartiles."""
    spreads = {name: getattr(line, name) for name in ("loss", "psnr", "ms_gmsd", "mse_features")}
    return {
        "rank": round(line.rank, 2),
        "wins": line.wins,
        "p": None if math.isnan(line.p) else float(f"{line.p:.2g}"),
        "to_goal": round(line.effort) if math.isfinite(line.effort) else None,
        "evaluations": round(line.evaluations),
        "seconds": round(line.seconds, 3),
        **{name: [float(f"{u:.5g}") for u in (s.low, s.median, s.high)] for name, s in spreads.items()},
    }


def main() -> None:
    """The leaderboards of one leak under every defense, into its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("leak", choices=LEAKS)
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), metavar="NAME[:ARGUMENTS]")
    parser.add_argument("--defenses", nargs="+", default=DEFENSES, metavar="NAME[:ARGUMENTS]")
    parser.add_argument("--prior", default="", help="a file, in place of the leak's own")
    parser.add_argument("--model", default="", help="in place of the leak's own")
    parser.add_argument("--evaluations", type=int, default=5000)
    parser.add_argument("--victims", type=int, default=5, help="a seed")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--name", default="", help="added to the name of the result")
    given = parser.parse_args()
    if "priors" not in LEAKS[given.leak] and not given.prior:
        parser.error(f"{given.leak} needs a prior: --prior FILE, made by python bench/priors.py train")
    lanes.every_core()
    cache.enable()
    own = {"priors": given.prior, "models": given.model}
    settings = LEAKS[given.leak] | {name: value for name, value in own.items() if value}
    config = OptimizersConfig(
        **settings, optimizers=given.optimizers, defenses=given.defenses, knows="kind",
        evaluations=given.evaluations, victims=given.victims, seeds=list(range(given.seeds)),
    )  # fmt: skip
    plan = cases(config)
    images = driver.prepared(plan)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        store.make(run, {"command": "bench/leaks.py"})
        records = driver.run(plan, run, images, finished={}, report=progress, clocked=True)
        found = blocks(records, run)
    save(f"leaks-{given.leak}{given.name}", {
        "arguments": " ".join(sys.argv[1:]),
        "leaks": {block.title: {line.name: told(line) for line in block.lines} for block in found},
    })  # fmt: skip


def progress(stand: driver.Progress) -> None:
    """A line a finished case."""
    if stand.part == 0:
        args = stand.case.attack_args
        print(stand.done, "of", stand.total, args["optim"], stand.case.defense, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
