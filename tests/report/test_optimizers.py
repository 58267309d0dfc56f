"""Leaderboards from made-up records, against ranks and tests worked out by hand and by SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from jleak.audit import store
from jleak.report.optimizers import console, effort, figures, page, rows

SEEDS = (0, 1)
LOSSES = {  # per optimiser: per seed, per victim
    "adam": ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]),
    "snes": ([1.5, 2.5, 2.5, 4.5], [5.5, 6.5, 7.5, 8.5]),
    "pso": ([9.0, None, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]),
}


def made(record, case, optim, seed, loss, **more):
    """A record of that optimiser; the attack's own arguments are beside the point."""
    args = {"optim": optim, "prior": "digits@0123456789ab", "evaluations": 400, "population": 50, **more}
    found = record(case(victims=4, seed=seed), loss=list(loss))
    name = f"{optim}{args['population']}-{seed}"
    return found | {"case_id": name, "attack": "ggl", "attack_args": args, "kind": "bench-optimizers"}


@pytest.fixture
def records(record, case):
    return [
        made(record, case, optim, seed, loss)
        for optim, of in LOSSES.items()
        for seed, loss in zip(SEEDS, of, strict=True)
    ]


ENDS = {"adam": 1.0, "snes": 2.0, "pso": np.inf}
"""The loss with which an optimiser's course ends: 16 steps down from 17, the first without a finite loss."""


@pytest.fixture
def kept(records, tmp_path):
    """The run's directory, with the courses of these records and of one optimiser more."""
    run, known = tmp_path / "run", {}
    store.make(run, {"command": "jleak bench-optimizers"})
    for r in [*records, {"case_id": "snes20-0", "attack_args": {"optim": "snes"}}]:
        end = ENDS[r["attack_args"]["optim"]]
        falling = (end + np.arange(15.0, -1, -1))[:, None, None] * np.ones((16, 4, 1))
        falling[0] = np.inf
        spent = np.full(falling.shape, 100 * np.arange(1, 17)[:, None, None])
        store.add_record(run, known, r, {"losses": falling, "spent": spent})
        known[r["case_id"]] = r
    return run


def test_ranks_and_wins_are_over_the_same_victims(records, kept):
    (block,) = rows.blocks(records, kept)
    assert [line.name for line in block.lines] == ["adam", "snes", "pso"]
    assert [line.rank for line in block.lines] == [1.125, 1.875, 3.0]  # snes wins one of eight
    assert [line.wins for line in block.lines] == [7, 1, 0]
    assert block.victims == 8
    assert block.title == "mlp on digits, prior digits, no defense, 400 evaluations"


def test_the_test_is_wilcoxons_with_holms_correction(records, kept):
    (block,) = rows.blocks(records, kept)
    a, s, p = (np.array(sum(LOSSES[name], []), float) for name in ("adam", "snes", "pso"))
    p[1] = 1e9  # a loss that is not finite is larger than all
    less, more = stats.wilcoxon(a, p).pvalue, stats.wilcoxon(a, s).pvalue
    assert less < more
    got = [line.p for line in block.lines]
    assert math.isnan(got[0])
    np.testing.assert_allclose(got[1:], [max(2 * less, more), 2 * less])


def test_a_seed_that_one_optimiser_lacks_is_left_out(records, kept):
    (block,) = rows.blocks(records[:-1], kept)
    assert block.victims == 4
    assert all(math.isnan(line.p) for line in block.lines)  # four pairs tell nothing
    assert "no test" in console.caption(block)


def test_without_a_common_seed_there_is_no_leaderboard(records, kept):
    (block,) = rows.blocks([records[0], records[3]], kept)
    assert block.lines == []
    assert "No seed was finished" in console.caption(block)


def test_another_defense_or_prior_is_another_leak(record, case, records, kept):
    other = [r | {"defense": "clip", "defense_args": {"bound": 1.0}, "knows": "kind"} for r in records]
    blocks = rows.blocks([*records, *other], kept)
    assert [block.title for block in blocks] == [
        "mlp on digits, prior digits, no defense, 400 evaluations",
        "mlp on digits, prior digits, clip bound=1, the attacker knows kind of it, 400 evaluations",
    ]


def test_namesakes_are_told_apart(record, case, kept):
    two = [made(record, case, "snes", 0, [1.0] * 4, population=n) for n in (20, 50)]
    (block,) = rows.blocks(two, kept)
    assert {line.name for line in block.lines} == {"snes population=20", "snes population=50"}
    assert [line.rank for line in block.lines] == [1.5, 1.5]


def test_tables_pictures_and_page(records, kept):
    found = rows.blocks(records, kept)
    (picture,) = figures.draw(found, kept)
    assert picture.path.stat().st_size > 10_000
    text = page.html(found, [picture], {"command": "jleak bench-optimizers <x>"})
    assert "&lt;x&gt;" in text
    assert [text.index(f">{name}<") for name in ("adam", "snes", "pso")] == sorted(
        text.index(f">{name}<") for name in ("adam", "snes", "pso")
    )
    narrow, wide = (console.cells(found[0].lines[0], width) for width in (80, 120))
    assert narrow[0] == "1.12" and "[" not in narrow[2] and "[" in wide[2]


def test_the_goal_is_where_half_the_optimisers_come(records, kept):
    """adam ends at 1 after falling by steps of a sixteenth, snes at 2 and pso nowhere: the goal is 2."""
    (block,) = rows.blocks(records, kept)
    of = {line.name: line for line in block.lines}
    assert of["adam"].effort == 1500
    assert of["snes"].effort == 1600
    assert math.isinf(of["pso"].effort) and console.spent(of["pso"]) == f">{of['pso'].evaluations:.0f}"


def test_a_course_is_the_best_restarts():
    losses = np.array([[[np.inf, 3.0]], [[np.inf, 2.0]], [[1.0, 2.0]]])
    np.testing.assert_array_equal(effort.lowest(losses), [[3.0], [2.0], [1.0]])
