"""The same images, weights, iterations and restarts given to breaching 0.1.2, through npz files."""

import tempfile
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matching_runs import every_restart, parts, quiet
from peers.layout import FLAT, one, torch_tensors
from peers.process import breaching

from jleak.audit import lanes
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of
from jleak.audit.sides import Truth
from jleak.data import Images
from jleak.distances import tensor_order
from jleak.metrics import psnr
from jleak.types import Model


def beside(case: Case, images: Images, python: str) -> dict[str, Any]:
    """PSNR of jleak's and breaching's images of the same victims, batches of one, one restart each.

    Each has its own start and its own defaults (the peer's total variation is not ours, PEERS.md 2.1).
    """
    programs = Programs()
    model = model_of(case, images.shape, images.classes)
    ours = every_restart(case, images, programs, quiet)
    truth, _, _ = parts(case, images, programs)
    with tempfile.TemporaryDirectory() as folder, breaching(python, case.precision) as (about, ask):
        if ask is None:
            raise SystemExit(f"breaching is missing: {about['missing']}; give --peer-python")
        clock = time.perf_counter()
        answers = [
            ask(
                case.model,
                case.attack_args["steps"],
                lanes.cores(),
                given=written(folder, case, model, truth, i),
            )
            for i in range(case.victims)
        ]
        spent = time.perf_counter() - clock
        found = [np.load(answer["found"])["x"].transpose(0, 2, 3, 1) for answer in answers]
    theirs = [float(psnr(jnp.clip(x, 0, 1), truth.batches.x[i])[0]) for i, x in enumerate(found)]
    return {
        "peer": about,
        "images": case.victims,
        "iterations": case.attack_args["steps"],
        "psnr": {"jleak": rounded(ours["psnr"]), "breaching": rounded(theirs)},
        "psnr_median": {"jleak": median(ours["psnr"]), "breaching": median(theirs)},
        "jleak_over_breaching_db": median(np.subtract(ours["psnr"], theirs)),
        "seconds": {"jleak": ours["seconds"], "breaching": round(spent, 1)},
        "largest_difference_of_the_gradients": max(answer["gradient_error"] for answer in answers),
        "load": ours["load"],
    }


def written(folder: str, case: Case, model: Model, truth: Truth, i: int) -> str:
    """The file that gives breaching the i-th victim's weights, image, label and gradient."""
    order = tensor_order(model)
    weights = torch_tensors(truth.params["params"], order, FLAT[case.model])
    update = torch_tensors(one(truth.updates, i), order, FLAT[case.model])
    path = str(Path(folder) / f"{i}.npz")
    x, y = truth.batches.x[i], truth.batches.y[i]
    named = {f"w{t}": w for t, w in enumerate(weights)} | {f"g{t}": g for t, g in enumerate(update)}
    np.savez(path, x=np.asarray(x).transpose(0, 3, 1, 2), y=np.asarray(y, np.int64), **named)
    return path


def rounded(values: list[float]) -> list[float]:
    """To a hundredth."""
    return [round(value, 2) for value in values]


def median(values: Any) -> float:
    """To a hundredth."""
    return round(float(np.median(values)), 2)
