"""From records to leaderboards: every optimiser's result on the same victims, side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from jleak.audit.store import Record
from jleak.report.optimizers.effort import Course, course, effort, goals
from jleak.report.rows import DEFAULTS, SETTING, Spread, label, spread, text, values

LEAST = 6
"""Pairs from which a signed-rank test can tell anything at 5 %."""


class Line(NamedTuple):
    """One optimiser on one leak.

    Attributes:
      name: the optimiser, with the arguments that tell it from its namesakes.
      records: of its cases, one a seed.
      course: how its searches went.
      loss: the attacker's own, where it stopped, over victims and seeds.
      rank: mean over the victims of its place by that loss among all optimisers; 1 is best, ties share.
      wins: victims on which it has the lowest loss, shared ones included.
      p: of the paired signed-rank test that its losses equal those of the best-ranked line (Wilcoxon 1945;
        Holm's correction for the number of lines); NaN for that line and where there are too few victims.
      effort: evaluations a victim after which half the victims' losses have come down to their goals, where
        half of all optimisers come (`jleak.report.optimizers.effort`); infinite if they never do.
      psnr: against the truth, dB.
      ms_gmsd: against the truth, a perceptual distance.
      mse_features: against the truth's, of the victim model's features: GGL's MSE-R.
      evaluations: gradient evaluations of the victim model, a victim.
      seconds: a victim.
    """

    name: str
    records: list[Record]
    course: Course
    loss: Spread
    rank: float
    wins: int
    p: float
    effort: float
    psnr: Spread
    ms_gmsd: Spread
    mse_features: Spread
    evaluations: float
    seconds: float


class Block(NamedTuple):
    """One leak: a model, a data set, a prior, a defense.

    Attributes:
      title: what it is.
      setting: its settings, by name.
      lines: its optimisers by mean rank, on the seeds that all of them have finished.
      victims: how many these are, over all seeds.
    """

    title: str
    setting: dict[str, Any]
    lines: list[Line]
    victims: int


def blocks(records: Sequence[Record], run: Path) -> list[Block]:
    """The leaderboards of a run's records, in the order in which their leaks first appear."""
    records = [DEFAULTS | record for record in records]
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(repr(leak(record)), []).append(record)
    return [block(group, records, run) for group in groups.values()]


def leak(record: Record) -> dict[str, Any]:
    """The settings that are not the optimiser's."""
    shared = {name: record[name] for name in SETTING if name != "attack_args"}
    return shared | {name: record["attack_args"][name] for name in ("prior", "evaluations")}


def block(group: Sequence[Record], among: Sequence[Record], run: Path) -> Block:
    """The leaderboard of one leak."""
    of: dict[str, dict[int, Record]] = {}
    for record in group:
        of.setdefault(called(record, group), {})[record["seed"]] = record
    seeds = sorted(set.intersection(*(set(found) for found in of.values())))
    chosen = {name: [found[seed] for seed in seeds] for name, found in of.items()}
    return Block(
        titled(group[0], among),
        leak(group[0]),
        ranked(chosen, run) if seeds else [],
        sum(record["victims"] for record in next(iter(chosen.values()))),
    )


def ranked(chosen: Mapping[str, list[Record]], run: Path) -> list[Line]:
    """The lines of these optimisers on the same victims, the best first."""
    losses = {name: [worst(loss) for loss in values(of, "loss")] for name, of in chosen.items()}
    courses = {name: course(of, run) for name, of in chosen.items()}
    goal = goals(courses)
    place = dict(zip(losses, stats.rankdata(list(losses.values()), axis=0), strict=True))
    lowest = np.min(list(place.values()), axis=0)
    order = sorted(place, key=lambda name: place[name].mean())
    p = dict(zip(order, tested([losses[name] for name in order]), strict=True))
    return [
        line(
            name,
            chosen[name],
            courses[name],
            rank=float(place[name].mean()),
            wins=int((place[name] == lowest).sum()),
            p=p[name],
            effort=effort(courses[name], goal),
        )
        for name in order
    ]


def line(
    name: str, records: list[Record], course: Course, *, rank: float, wins: int, p: float, effort: float
) -> Line:
    """One optimiser's numbers."""
    victims = sum(r["victims"] for r in records)
    return Line(
        name=name,
        records=records,
        course=course,
        loss=spread(values(records, "loss")),
        rank=rank,
        wins=wins,
        p=p,
        effort=effort,
        psnr=spread(values(records, "psnr")),
        ms_gmsd=spread(values(records, "ms_gmsd")),
        mse_features=spread(values(records, "mse_features")),
        evaluations=sum(r["evaluations"] for r in records) / victims,
        seconds=sum(r["seconds"] for r in records) / victims,
    )


def worst(loss: float) -> float:
    """A loss by which runs are ranked: one that is not finite comes last."""
    return loss if math.isfinite(loss) else math.inf


def tested(losses: Sequence[Sequence[float]]) -> list[float]:
    """Of the first list and each other one, paired: Holm's corrected p of the signed-rank test.

    Infinite losses are larger than all others. NaN for the first, and where pairs are fewer than `LEAST`.

    >>> a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    >>> [round(p, 3) for p in tested([a, [2 * x for x in a], a])]
    [nan, 0.031, 1.0]
    """
    if not losses or len(losses[0]) < LEAST:
        return [math.nan] * len(losses)
    raw = [signed_rank(losses[0], other) for other in losses[1:]]
    found, highest = [math.nan] * len(losses), 0.0
    for i, which in enumerate(np.argsort(raw)):
        highest = max(highest, min(1.0, raw[which] * (len(raw) - i)))
        found[1 + which] = highest
    return found


def signed_rank(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p of Wilcoxon's test on pairs; 1 where all pairs are equal."""
    top = 2 * max([abs(u) for u in (*one, *other) if math.isfinite(u)], default=1.0) + 1
    apart = np.nan_to_num(np.subtract(*(np.nan_to_num(u, posinf=top) for u in (one, other))))
    return float(stats.wilcoxon(apart).pvalue) if apart.any() else 1.0


def called(record: Record, group: Sequence[Record]) -> str:
    """The optimiser's name, with the arguments in which it differs from its namesakes.

    >>> one, other = ({"attack_args": {"optim": "snes", "population": n}} for n in (20, 50))
    >>> called(one, [one, other]), called(one, [one])
    ('snes population=20', 'snes')
    """
    args = record["attack_args"]
    others = [r["attack_args"] for r in group if r["attack_args"]["optim"] == args["optim"]]
    told = {k: v for k, v in args.items() if any(other[k] != v for other in others)}
    return " ".join([args["optim"], *(f"{k}={text(v)}" for k, v in told.items())])


def titled(record: Record, among: Sequence[Record]) -> str:
    """What tells a leak from the others."""
    args = record["attack_args"]
    told = [f"{label('model', record, among)} on {record['dataset']}", f"prior {named(args['prior'])}"]
    told.append("no defense" if record["defense"] == "none" else label("defense", record, among))
    if record["defense"] != "none":
        told.append(f"the attacker knows {record['knows']} of it")
    return ", ".join([*told, f"{args['evaluations']} evaluations"])


def named(prior: str) -> str:
    """A prior without the digest of its content.

    >>> named("a/faces.safetensors@0123456789ab"), named("digits")
    ('a/faces.safetensors', 'digits')
    """
    return prior.partition("@")[0]
