"""Cases of gradient matching, measured in ways that an audit's record does not hold.

`solved`: how long until the attacker holds a good image. `every_restart`: what its choice among the restarts
is worth. Both drive `jleak.audit`'s own clients, programs, loop and scores.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import turn

from jleak.audit import pieces, programs, results, shapes, sides, trial
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of
from jleak.audit.pieces import Tell
from jleak.audit.programs import Attacker, Given
from jleak.audit.sides import Truth
from jleak.audit.store import Record
from jleak.data import Images


def keep_every_piece(count: int) -> None:
    """Cuts searches into so many pieces, and has the attacker's choice read after each."""
    programs.PIECES = pieces.SNAPSHOTS = count


def solved(case: Case, images: Images, cache: Programs, goal: float) -> Record:
    """Runs one case against the clock.

    The truth is looked at after the attack, and only to say when its image was good enough (an oracle's
    clock); the attacker goes on to the end of its budget or to its own stopping rule. Seconds hold starting,
    every restart, every piece and every reading of the result; compilation is apart.
    """
    before = cache.seconds
    truth, given, attacker = parts(case, images, cache)
    held = []
    clock = time.perf_counter()
    pieces.attack(case, attacker._replace(finish=noting(attacker.finish, held)), given, quiet)
    spent = time.perf_counter() - clock
    model = model_of(case, images.shape, images.classes)
    found = [trial.score(case, model, truth, rec, cache).numbers for _, rec in held]
    quality = [float(numbers["psnr"].mean()) for numbers in found]
    first = next((i for i, value in enumerate(quality) if value >= goal), None)
    return {
        "seed": case.seed,
        "seconds_to_goal": None if first is None else significant(held[first][0] - clock),
        "evaluations_to_goal": None if first is None else evaluations(held[first][1]),
        "seconds": significant(spent),
        "evaluations": evaluations(held[-1][1]),
        "psnr": significant(quality[-1]),
        "loss": float(held[-1][1].loss.mean()),
        "label_success": float(found[-1]["label_success"].mean()),
        "compile_seconds": significant(cache.seconds - before),
    }


def noting(finish: Callable, held: list) -> Callable:
    """`finish`, which also notes when it was called and what the attacker then held."""

    def noted(*args):
        rec, finite = jax.device_get(finish(*args))
        held.append((time.perf_counter(), rec))
        return rec, finite

    return noted


def every_restart(
    case: Case, images: Images, cache: Programs, tell: Tell, lock: Path | None = None
) -> Record:
    """The record of one case without a race, with what an oracle would have chosen among its restarts.

    To the attacker's programs every restart is a victim of its own here, so none is dropped; keys, lanes and
    numbers are those of the case as `jleak.audit.trial` runs it.
    """
    before = cache.seconds
    apart = Case.from_json(case.to_json() | {"victims": case.victims * case.restarts, "restarts": 1})
    truth, given, attacker = parts(case, images, cache, apart)
    with turn(lock):
        clock = time.perf_counter()
        rec, finite, _ = pieces.attack(apart, attacker, given, tell)
        seconds = time.perf_counter() - clock
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, case.restarts, axis=0), truth.batches)
    model = model_of(case, images.shape, images.classes)
    numbers = trial.score(apart, model, truth._replace(batches=repeated), rec, cache).numbers
    table = {name: np.asarray(n, float).reshape(case.victims, -1) for name, n in numbers.items()}
    loss, quality = table["loss"], np.nan_to_num(table["psnr"], nan=-np.inf)
    rows, chosen = np.arange(case.victims), np.where(np.isfinite(loss), loss, np.inf).argmin(axis=1)
    return {
        "case_id": case.case_id,
        "kind": "matching",
        **case.to_json(),
        "status": results.status(truth.sound, finite),
        **{name: results.significant(values[rows, chosen]) for name, values in table.items()},
        "oracle_psnr": results.significant(quality.max(axis=1)),
        "chosen_is_oracle_best": int((quality[rows, chosen] == quality.max(axis=1)).sum()),
        "diverged": int(finite.size - finite.sum()),
        "evaluations": evaluations(rec),
        "seconds": round(seconds, 2),
        "compile_seconds": round(cache.seconds - before, 2),
        "load": round(os.getloadavg()[0], 2),
    }


def parts(
    case: Case, images: Images, cache: Programs, run: Case | None = None
) -> tuple[Truth, Given, Attacker]:
    """The clients' side of a case, what reaches the attacker, and its programs: those of `run`, if given."""
    run = run or case
    model = model_of(case, images.shape, images.classes)
    truth = sides.clients([case], images, model, cache)
    given = sides.view_of([case], truth)
    key = ("attacker", shapes.attacker_settings(run), case.victims, model.shape, model.classes)
    return truth, given, cache.take(key, lambda: programs.attacker(run, model, given))


def row(records: list[Record]) -> dict[str, Any]:
    """A table's row from its records, one a seed; PSNR in dB, of the attacker's choice unless named else."""
    first = records[0]
    every = [value for r in records for value in r["psnr"]]
    restarts = first["restarts"]
    found = {
        "images": len(every) * first["batch"],
        "batches": len(every),
        "models": len(records),
        "steps": first["attack_args"].get("steps"),
        "restarts": restarts,
        "psnr_median": median(every),
        "psnr": sorted(rounded(every), reverse=True),
        "ssim_median": median([v for r in records for v in r["ssim"]]),
        "label_success": significant(statistics.fmean(v for r in records for v in r["label_success"])),
        "constant_psnr_median": median([v for r in records for v in r["constant_psnr"]]),
        "diverged_restarts": sum(r["diverged"] for r in records),
        "evaluations": sum(r["evaluations"] for r in records),
        "seconds": round(sum(r["seconds"] for r in records), 1),
        "compile_seconds": round(sum(r["compile_seconds"] for r in records), 1),
        "load": [r["load"] for r in records],
    }
    if restarts > 1:
        found["oracle_psnr_median"] = median([v for r in records for v in r["oracle_psnr"]])
        found["choice_was_oracle_best"] = (
            f"{sum(r['chosen_is_oracle_best'] for r in records)} of {len(every)}"
        )
    return found


def solution(records: list[Record], goal: float) -> dict[str, Any]:
    """One row of the time to solution: successes, and what they took."""
    hits = [r for r in records if r["seconds_to_goal"] is not None]
    return {
        "goal_db": goal,
        "successes": f"{len(hits)} of {len(records)}",
        "seconds_to_goal_median_of_successes": median([r["seconds_to_goal"] for r in hits]),
        "evaluations_to_goal_median_of_successes": median([r["evaluations_to_goal"] for r in hits]),
        "seconds_of_whole_attack_median": median([r["seconds"] for r in records]),
        "psnr_at_end_median": median([r["psnr"] for r in records]),
        "compile_seconds": significant(sum(r["compile_seconds"] for r in records)),
        "load": round(os.getloadavg()[0], 2),
        "victims": records,
    }


def median(values: list[float | None]) -> float | None:
    """Median to four digits; what is not finite counts as lowest, and nothing has none."""
    if not values:
        return None
    return significant(statistics.median(-np.inf if v is None else v for v in values))


def rounded(values: list[float | None]) -> list[float]:
    """To a hundredth; what is not finite as the lowest float."""
    return [-1e9 if v is None else round(v, 2) for v in values]


def significant(value: float) -> float | None:
    """Four significant digits; None, as in JSON, if not finite."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def evaluations(rec: Any) -> int:
    """Gradient evaluations of the victim model, over all restarts."""
    return int(np.asarray(rec.evaluations).sum())


def quiet(part: float, loss: float) -> None:
    """Tells nothing."""
