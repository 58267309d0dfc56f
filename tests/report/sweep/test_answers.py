"""Answers against numbers computed by hand."""

import itertools
import sys

import numpy as np
import pyarrow as pa
import pytest

from jleak.report.sweep import answers, numbers
from jleak.report.sweep.columns import columns, varying


def only(held, found, by=()):
    table, there = held(found)
    (one,) = answers.answers(table, there, by)
    return one


def test_the_numbers_of_an_answer_are_those_computed_by_hand(case, held):
    found = [
        (case(batch=2, seed=0), {
            "psnr": [40.0, 20.0], "ssim": [0.9, 0.5], "mse": [1e-4, 1e-2], "label_success": [1.0, 0.5],
            "constant_psnr": [8.0, 10.0], "snr": [None, 5.0], "evaluations": 30, "seconds": 3.0,
        }),
        (case(batch=2, seed=1), {
            "psnr": [None, 35.0], "ssim": [0.7, 0.6], "mse": [None, 1e-3], "label_success": [0.5, 1.0],
            "constant_psnr": [9.0, 12.0], "snr": [7.0, 9.0], "evaluations": 10, "seconds": 1.0,
            "status": "non-finite loss",
        }),
    ]  # fmt: skip
    one = only(held, found)
    assert (one.cases, one.victims, one.lost) == (2, 4, 1)
    assert one.psnr == pytest.approx((35.0, 27.5, 37.5))  # of 20, 35, 40: what is not finite is in no median
    assert (one.ssim, one.mse, one.constant, one.snr) == pytest.approx((0.65, 1e-3, 9.5, 7.0))
    assert one.labels == pytest.approx(
        (6 / 8, 0.4093, 0.9285), abs=1e-4
    )  # Wilson's interval of 6 of 8 images
    assert one.recovered == pytest.approx(
        (2 / 4, 0.1500, 0.8500), abs=1e-4
    )  # of 2 of 4 victims, one of them lost
    assert (one.evaluations, one.seconds) == (10.0, 2.0)  # 40 over 4 victims, 4 over 2 cases
    assert one.faults == {"non-finite loss": 1}
    assert one.pooled == {} and one.key == {}


def test_victims_of_one_seed_are_counted_once_however_often_they_are_attacked(case, held):
    attacks = [(case(attack=a, seed=s), {"psnr": 31.0}) for a in ("dlg", "inverting") for s in (0, 1)]
    one = only(held, attacks)
    assert (one.cases, one.victims) == (4, 4)  # two victims a case, of two seeds
    assert one.recovered == pytest.approx((1.0, 0.5101, 1.0), abs=1e-4)  # the interval of 4 of 4, not 8 of 8


def test_another_model_or_batch_is_another_victim_another_defense_is_not(case, held):
    found = [(case(model_args={"hidden": h}), {}) for h in ([8], [16], [8, 16])]
    found.append((case(batch=2), {}))
    found += [(case(defense="clip", defense_args={"bound": 1.0}, knows=k), {}) for k in ("nothing", "kind")]
    table, there = held(found)
    by = answers.answers(table, there, ["defense"])
    assert [(a.key["defense"], a.cases, a.victims) for a in by] == [("none", 4, 8), ("clip", 2, 2)]
    assert there["model.hidden"].values == [[8], [8, 16], [16], [64]]


def test_an_answer_says_over_which_settings_it_is_pooled(noisy, held):
    table, there = held(noisy())
    found = {a.key["defense"]: a for a in answers.answers(table, there, ["defense"])}
    assert list(found) == ["none", "clip", "gaussian"]
    attacks = {"attack": ["dlg", "inverting"]}
    strengths = {"defense.sigma": [0.01, 0.1, 1.0], "knows": ["nothing", "kind"]}
    assert [found[name].pooled for name in found] == [attacks, attacks, strengths | attacks]
    assert answers.named(found["clip"], "defense") == "clip bound=2"  # one strength alone: told
    assert answers.named(found["gaussian"], "defense") == "gaussian"
    assert (
        found["gaussian"].psnr.median == 18.0
    )  # of 30, 31, 20, 21, 10, 11 and those less 5, each four times


def test_what_varies_tells_answers_apart_but_the_seed_does_not(noisy, held):
    table, there = held(noisy())
    assert varying(there) == ["defense", "defense.sigma", "knows", "attack"]
    found = answers.answers(table, there, varying(there))
    assert len(found) == 2 * (1 + 1 + 3 * 2) and not any(a.pooled for a in found)
    assert {a.cases for a in found} == {2}
    first = found[0]
    assert [answers.named(first, name) for name in answers.headings(varying(there))] == [
        "none",
        "nothing",
        "dlg",
    ]


def test_answers_are_in_the_order_of_numbers_not_of_texts(case, held):
    found = [(case(batch=n), {}) for n in (8, 16, 1)]
    table, there = held(found)
    assert [a.key["batch"] for a in answers.answers(table, there, ["batch"])] == [1, 8, 16]


def test_quantiles_are_those_of_numpy():
    draw = np.random.default_rng(0)
    ids, values, at = draw.integers(0, 40, 3000), draw.normal(size=3000), (0.0, 0.1, 0.5, 0.75, 1.0)
    ids[ids == 7] = 8
    found = numbers.quantiles(ids, values, 40, at)
    assert np.isnan(found[7]).all()
    for group in set(range(40)) - {7}:
        np.testing.assert_allclose(found[group], np.quantile(values[ids == group], at), rtol=1e-12)


def test_records_of_before_a_setting_have_its_default(case, held):
    table, _ = held([(case(), {})])
    older = table.drop_columns(["precision"])
    there = columns(pa.concat_tables([table, older], promote_options="permissive"))
    assert there["precision"].values == ["float32"]


def test_many_records_are_no_loop(case, held):
    table, _ = held([(case(seed=s), {}) for s in range(2)])

    def lines(times):
        many = pa.concat_tables([table] * times).combine_chunks()
        there = columns(many)
        found, count = traced(lambda: answers.answers(many, there, []))
        assert [one.cases for one in found] == [2 * times]
        return count

    assert lines(10_000) == lines(10)


def traced(call):
    """(result, lines of Python that it ran): every turn of a loop is one, of a comprehension too."""
    ran = itertools.count()

    def line(frame, event, arg):
        next(ran)
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        found = call()
    finally:
        sys.settrace(before)
    return found, next(ran)
