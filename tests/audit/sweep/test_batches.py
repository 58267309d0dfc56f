"""Which cases run together."""

import pytest

from jleak.audit.memory import GIB, Budget
from jleak.audit.sweep.batches import at_once, fitted, group_key, name_of, need_of
from jleak.audit.sweep.plan import every
from jleak.audit.sweep.run import share
from jleak.check import InputError


def test_every_case_is_in_one_batch_of_its_like(prepared):
    sweep = prepared(knows=["nothing", "kind"], victims=[1, 2], seeds={"range": 7})
    held = [case.case_id for batch in sweep.batches for case in batch.cases()]
    assert sorted(held) == sorted(case.case_id for case in every(sweep.settings))
    assert len(held) == len(set(held)) == sweep.cases == 2 * 5 * 7
    for batch in sweep.batches:
        cases = batch.cases()
        assert len({group_key(case) for case in cases}) == 1 and len(cases) == batch.count <= batch.width <= 4


def test_strengths_and_seeds_are_in_one_batch_and_shapes_are_not(prepared):
    (plain, noisy) = prepared(together=8).batches
    assert {c.defense for c in plain.cases()} == {"none"} and plain.count == 3
    assert {(c.defense_args["sigma"], c.seed) for c in noisy.cases()} == {
        (sigma, seed) for sigma in (0.001, 0.1) for seed in range(3)
    }
    assert plain.width == noisy.width == 8  # one attacker's program for both


def test_memory_says_how_many_run_together(prepared):
    wide = {"models": {"mlp": {"hidden": 2048}}, "defenses": "none", "seeds": {"range": 64}, "together": 64}
    widths = []
    for gib in (0.02, 0.1, 4.0):
        sweep = prepared(**wide, memory=gib)
        pieces = fitted(sweep.batches, sweep.means.images, sweep.means.budget)
        held = [case.case_id for piece in pieces for case in piece.cases()]
        assert held == [case.case_id for case in every(sweep.settings)]
        widths.append(pieces[0].width)
    assert widths[0] < widths[1] < widths[2] == 64
    with pytest.raises(InputError, match="needs about"):
        prepared(**wide, memory=0.001)


def test_machines_of_unequal_memory_share_a_sweep(prepared):
    """Who has less runs his share in smaller batches; together they run every case once."""
    wide = {"models": {"mlp": {"hidden": 2048}}, "defenses": "none", "seeds": {"range": 64}, "together": 16}
    held = []
    for i, gib in enumerate((0.02, 4.0)):
        sweep = prepared(**wide, memory=gib)
        mine = fitted(share(sweep.batches, (i, 2)), sweep.means.images, sweep.means.budget)
        held += [case.case_id for piece in mine for case in piece.cases()]
    assert sorted(held) == sorted(case.case_id for case in every(sweep.settings))


def test_two_batches_are_under_way_where_memory_holds_both(prepared):
    sweep = prepared()
    images, budget = sweep.means.images, sweep.means.budget
    largest = max(need_of(batch, images, budget) for batch in sweep.batches)
    for times, expected in ((1.9, 1), (2.1, 2)):
        assert at_once(sweep.batches, images, Budget(times * largest / GIB)) == expected


def test_a_batch_is_named_by_its_cases_alone(prepared):
    one, other = prepared(), prepared(checkpoint=1.0, memory=2.0)
    names = [[name_of(batch.cases()) for batch in sweep.batches] for sweep in (one, other)]
    assert names[0] == names[1] and len(set(names[0])) == len(names[0])


def test_shares_are_apart_and_leave_nothing_out(prepared):
    batches = prepared(seeds={"range": 11}).batches
    held = [batch for i in range(3) for batch in share(batches, (i, 3))]
    assert sorted(map(repr, held)) == sorted(map(repr, batches))
