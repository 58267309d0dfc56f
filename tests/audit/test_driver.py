"""An audit of several cases: checked before anything runs, kept case by case."""

import dataclasses

import numpy as np
import pytest

from jleak.audit import driver, store
from jleak.audit.case import Case
from jleak.check import InputError


@pytest.fixture
def path(tmp_path):
    store.make(tmp_path / "run", {})
    return tmp_path / "run"


@pytest.fixture
def plan(small_case):
    return [small_case(seed=seed) for seed in range(3)]


def npz(path, size, h, w, c):
    np.savez(path, images=np.zeros((size, h, w, c), np.uint8), labels=np.arange(size) % 3)
    return f"npz:{path}"


def refused(case, *parts):
    with pytest.raises(InputError) as error:
        driver.prepared([case])
    for part in parts:
        assert part in str(error.value)


def test_every_case_is_kept_before_the_next_starts(plan, path, digits):
    seen = []

    def follow(stand):
        seen.append((stand.done, stand.part == 0, len(store.read_records(path))))

    records = driver.run(plan, path, {"digits": digits}, finished={}, report=follow)
    assert all(kept == done for done, _, kept in seen)
    assert [done for done, finished, _ in seen if finished] == [1, 2, 3]
    assert [record["case_id"] for record in records] == [case.case_id for case in plan]
    for record in records:
        images = store.read_images(path, record["case_id"])
        assert images["truth"].shape == images["reconstruction"].shape == (2, 1, 8, 8, 1)
        assert images["snapshots"].shape[1:] == (2, 1, 8, 8, 1)


def test_an_interruption_loses_the_case_under_way_alone(plan, path, digits, numbers):
    def interrupt(stand):
        if stand.done == 1 and stand.part > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver.run(plan, path, {"digits": digits}, finished={}, report=interrupt)
    finished = store.finished(path, resume=True)
    assert finished.keys() == {plan[0].case_id}
    rerun = []
    records = driver.run(
        plan, path, {"digits": digits}, finished=finished, report=lambda stand: rerun.append(stand.case)
    )
    assert plan[0] not in rerun and {case.seed for case in rerun} == {1, 2}
    store.make(path.parent / "whole", {})
    whole = driver.run(plan, path.parent / "whole", {"digits": digits}, finished={})
    assert [*map(numbers, records)] == [*map(numbers, whole)]
    assert [*map(numbers, store.read_records(path))] == [
        *map(numbers, store.read_records(path.parent / "whole"))
    ]


def test_nothing_is_rerun_where_all_is_finished(plan, path, digits):
    finished = {case.case_id: {"case_id": case.case_id} for case in plan}
    records = driver.run(plan, path, {}, finished=finished, report=lambda stand: pytest.fail(str(stand)))
    assert records == [*finished.values()] and not (path / "records.jsonl").exists()


def test_a_case_that_diverges_does_not_stop_the_others(small_case, path, digits):
    wild = small_case(defense="gaussian", defense_args={"sigma": 3e38})
    records = driver.run([wild, small_case()], path, {"digits": digits}, finished={})
    assert [record["status"] for record in records] == ["non-finite update", "ok"]
    assert store.read_records(path)[0]["loss"] == [None, None]


def test_a_batch_larger_than_the_data(tmp_path):
    few = npz(tmp_path / "few.npz", 3, 8, 8, 1)
    refused(Case(attack="inverting", dataset=few, batch=4), "got n=4", "few has 3 images")
    assert driver.prepared([Case(attack="inverting", model="mlp", dataset=few, batch=3)])[few].size == 3


def test_images_too_small_for_the_model(tmp_path):
    dots = npz(tmp_path / "dots.npz", 9, 2, 2, 1)
    refused(Case(attack="inverting", model="convnet", dataset=dots), "(2, 2, 1)", "larger images")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attack_args": {"lr": -1.0}}, "lr must be > 0, got lr=-1.0"),
        ({"attack_args": {"steps": 0}}, "steps must be >= 1, got steps=0"),
        ({"attack_args": {"optim": "adan"}}, "did you mean 'adam'?"),
        ({"model": "mlp", "model_args": {"hidden": 0}}, "hidden must be >= 1, got hidden=0"),
        ({"attack": "idlg", "batch": 2}, "batch=2"),
        ({"draw": "distinct", "batch": 11}, "n must be <= 10"),
    ],
)
def test_parts_that_do_not_go_together(fields, message):
    refused(Case(**{"attack": "inverting"} | fields), message)


def test_a_bad_case_is_found_before_a_good_one_runs(small_case):
    with pytest.raises(InputError, match="lr must be > 0"):
        driver.prepared([small_case(), dataclasses.replace(small_case(), attack_args={"lr": 0.0})])
