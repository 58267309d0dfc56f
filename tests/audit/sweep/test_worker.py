"""Batches that run: the numbers of single cases, once each, whatever happens on the way."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from jleak.audit import lanes, trial
from jleak.audit.built import Programs
from jleak.audit.memory import Budget
from jleak.audit.sweep import checkpoint, claims, place, run, store, worker
from jleak.audit.sweep.batches import name_of
from jleak.audit.sweep.forecast import forecast
from jleak.audit.sweep.plan import every

LAYOUT = lanes.layout


def close(one, other):
    """Whether two records tell the same, up to the rounding of another shape of batch."""
    assert one["label_success"] == other["label_success"] and one["status"] == other["status"]
    for name, tolerance in {"loss": 1e-3, "psnr": 0.1, "snr": 0.01}.items():
        values = (np.array(record[name], float) for record in (one, other))
        np.testing.assert_allclose(*values, rtol=tolerance, atol=1e-6)


def test_a_sweep_finds_what_single_cases_find(whole, digits):
    sweep, where, records = whole
    for case in every(sweep.settings):
        alone, arrays = trial.trial(case, sweep.means.images[case.dataset], Programs(), lambda *_: None)
        swept = records[case.case_id]
        close(swept, alone)
        settings = case.to_json()
        assert {name: swept[name] for name in settings} == settings
        images = store.images(where, case.case_id)
        np.testing.assert_array_equal(images["truth"], arrays["truth"])
        np.testing.assert_array_equal(images["labels"], arrays["labels"])
        assert np.abs(images["reconstruction"] - arrays["reconstruction"]).mean() < 0.01
        if case.seed:
            break  # two seeds of one setting, of which the second has other weights


def test_strengths_reach_their_cases(whole):
    _, _, records = whole
    by_sigma = {}
    for record in records.values():
        by_sigma.setdefault(record["defense_args"].get("sigma"), []).extend(record["snr"])
    assert min(by_sigma[0.001]) > max(by_sigma[0.1]) + 30 and set(by_sigma[None]) == {None}  # no noise


def test_programs_are_compiled_once_and_the_forecast_knows_how_many(prepared, begun, tmp_path):
    sweep = prepared(attacks=[{"inverting": {"steps": 20}}, {"dlg": {"steps": 5}}], knows=["nothing", "kind"])
    sweep = sweep._replace(means=sweep.means._replace(cache=Programs()))
    foretold = forecast(sweep)
    run.drive(begun(tmp_path, sweep), sweep, (0, 1), finished=set())
    counted = {name: sum(key[0] == name for key in sweep.means.cache.known) for name in foretold.programs}
    assert counted == foretold.programs and sum(counted.values()) == len(sweep.means.cache.known)
    assert foretold.cases == 2 * 5 * 3 and foretold.memory > 0 and min(foretold.seconds) > 0


@pytest.mark.parametrize("devices", [1, 4, 8])
def test_records_do_not_depend_on_the_number_of_devices(
    whole, prepared, begun, recorded, tmp_path, devices, monkeypatch
):
    _, _, expected = whole
    sweep = prepared()
    sweep = sweep._replace(means=sweep.means._replace(cache=Programs()))
    monkeypatch.setattr(lanes, "layout", lambda count, most, _=None: LAYOUT(count, most, devices))
    where = begun(tmp_path, sweep)
    run.drive(where, sweep, (0, 1), finished=set())
    assert {row["devices"] for row in store.records(where)} == {min(devices, 2)}
    assert recorded(where) == expected  # to the bit: the groups of lanes are as wide


class Killed(Exception):  # noqa: N818
    """The process is killed here."""


MIDDLE, LAST = 0.5 * (3 + 4), 3 + 4 + 0.5 * 2
"""Cases: of the two batches that take turns at first half are done; all are, and half of the last batch."""


def killed(where, sweep, after, **means):
    """Runs a sweep until so many cases are done, parts of cases counted, and is killed there."""

    def listen(stand):
        if stand.cases + stand.part >= after:
            raise Killed

    with pytest.raises(Killed):
        worker.work(where, sweep.batches, sweep.means._replace(**means), finished=set(), listen=listen)


def resumed(where, sweep):
    """Goes on with a sweep; what was done, in cases, whenever something was heard of those that were open."""
    heard = []
    run.drive(
        where, sweep, (0, 1), finished=store.finished(where), listen=lambda stand: heard.append(stand.part)
    )
    return heard


@pytest.mark.parametrize(
    ("after", "kept", "written", "first"),
    [(MIDDLE, 2, 0, [0.6 * 3, 0.6 * 3 + 0.5 * 4]), (LAST, 1, 7, [0.5 * 2])],
    ids=["two at once", "the last one"],
)
def test_batches_go_on_in_the_middle_to_the_same_bits(
    whole, prepared, begun, recorded, tmp_path, after, kept, written, first
):
    _, _, expected = whole
    sweep = prepared()
    where = begun(tmp_path, sweep)
    killed(where, sweep, after, checkpoint=0.0)
    checkpoints = place.names(where, "checkpoints")
    assert [name.endswith(".npz") for name in checkpoints] == [True] * kept
    assert len(recorded(where)) == written and not place.names(where, "claims")
    heard = resumed(where, sweep)
    assert heard[: len(first)] == pytest.approx(first)  # the pieces in which they were killed
    assert recorded(where) == expected and not place.names(where, "checkpoints")


@pytest.mark.parametrize("content", [b"", b"no file", None])
def test_a_checkpoint_that_does_not_fit_is_not_used(whole, prepared, begun, recorded, tmp_path, content):
    _, _, expected = whole
    sweep = prepared()
    where = begun(tmp_path, sweep)
    killed(where, sweep, LAST, checkpoint=0.0)
    (kept,) = place.names(where, "checkpoints")
    good = place.read(where, f"checkpoints/{kept}")
    if content is None:  # of another version
        with np.load(tmp_path / "checkpoints" / kept) as stored:
            arrays = dict(stored)
        arrays["told"] = json.dumps(json.loads(str(arrays["told"])) | {"setting": "other"})
        np.savez(tmp_path / "checkpoints" / kept, **arrays)
    else:
        place.write(where, f"checkpoints/{kept}", content or good[: len(good) // 2])
    assert resumed(where, sweep)[0] == 0.1 * 2 and recorded(where) == expected  # the first of ten pieces


def test_a_damaged_part_is_named_put_aside_and_run_again(whole, prepared, begun, recorded, tmp_path):
    sweep, _, expected = whole
    where = begun(tmp_path, sweep)
    run.drive(where, sweep, (0, 1), finished=set())
    broken, flipped = store.parts(where)[:2]
    file, other = (tmp_path / "records" / f"{name}.parquet" for name in (broken, flipped))
    file.write_bytes(file.read_bytes()[:-100])
    content = bytearray(other.read_bytes())
    content[40] ^= 0xFF
    other.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        store.table(where)
    told = []
    finished = store.finished(where, told.append)
    assert len(told) == 2 and broken in told[0] + told[1] and "jleak sweep resume" in told[0]
    assert sorted(place.names(where, "damaged")) == sorted([f"{broken}.parquet", f"{flipped}.parquet"])
    again = run.drive(where, sweep, (0, 1), finished=finished)
    assert 0 < again < sweep.cases and recorded(where) == expected


def test_a_full_disk_loses_nothing(prepared, begun, recorded, tmp_path, monkeypatch):
    sweep = prepared()
    where = begun(tmp_path, sweep)
    aside = place.write_aside

    def full(path, content):
        if path.suffix == ".parquet" and len(list(path.parent.glob("*.parquet"))) >= 1:
            raise OSError(28, "No space left on device")
        aside(path, content)

    monkeypatch.setattr(place, "write_aside", full)
    with pytest.raises(ValueError, match="No space left on device; what is finished is kept"):
        run.drive(where, sweep, (0, 1), finished=set())
    assert 0 < len(recorded(where)) < sweep.cases
    monkeypatch.undo()
    run.drive(where, sweep, (0, 1), finished=store.finished(where))
    assert len(recorded(where)) == sweep.cases


def test_a_place_that_cannot_be_written_is_named(prepared, begun, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written: Not a directory"):
        begun(tmp_path / "file" / "sweep", prepared())


def test_workers_leave_each_other_their_batches(whole, prepared, begun, recorded, tmp_path, monkeypatch):
    _, _, expected = whole
    sweep = prepared()
    where = begun(tmp_path, sweep)
    first, second, third = (name_of(batch.cases()) for batch in sweep.batches)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine = claims.mine()
    for name, process in ((first, other.pid), (second, 2**22 + 1)):  # alive, and no process at all
        told = mine._replace(process=process)._asdict()
        place.write(where, f"claims/{name}.json", json.dumps(told).encode())
    waited = []

    def sleep(seconds):
        assert sorted(store.parts(where)) == sorted([second, third])  # all but the living one's
        if not waited:
            other.communicate(b"\n")
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    assert run.drive(where, sweep, (0, 1), finished=set()) == sweep.cases
    assert waited and recorded(where) == expected and not place.names(where, "claims")


def test_what_the_killed_left_half_written_is_removed_when_nobody_can_be_at_it(begun, prepared, tmp_path):
    old, new = tmp_path / "records" / ".a.parquet.1", tmp_path / "records" / ".b.parquet.2"
    old.parent.mkdir()
    old.write_bytes(b"half"), new.write_bytes(b"half")
    os.utime(old, (0, 0))
    begun(tmp_path, prepared())
    assert not old.exists() and new.exists() and store.parts(place.place(str(tmp_path))) == []


def test_what_memory_does_not_hold_at_once_is_run_in_smaller_parts(
    whole, prepared, begun, recorded, tmp_path, monkeypatch
):
    _, _, expected = whole
    sweep = prepared()
    where = begun(tmp_path, sweep)
    monkeypatch.setattr(Budget, "cases", lambda self, case, model, most: min(most, 3))
    assert run.drive(where, sweep, (0, 1), finished=set()) == sweep.cases
    assert [len(store.part(where, name)) for name in store.parts(where)].count(2) == 4  # 3, 4 and 2 cases
    for case_id, record in recorded(where).items():
        assert record["loss"] == pytest.approx(expected[case_id]["loss"], rel=1e-3)
    monkeypatch.undo()
    assert run.drive(where, sweep, (0, 1), finished=store.finished(where)) == 0


def test_a_prepared_search_tells_the_loss_of_those_that_are_attacked(prepared, begun, tmp_path):
    sweep, heard = prepared(defenses="none"), []
    run.drive(begun(tmp_path, sweep), sweep, (0, 1), finished=set(), listen=lambda s: heard.append(s.loss))
    assert np.isfinite(heard[0])  # of three cases in a batch made for four


def test_claims_of_other_machines_run_out():
    now = claims.Claim("here", os.getpid(), 1000.0)
    assert claims.alive(claims.Claim("there", 1, 1000.0 - claims.LEASE + 1), now)
    assert not claims.alive(claims.Claim("there", 1, 1000.0 - claims.LEASE - 1), now)


def test_an_object_store_holds_a_sweep(whole, prepared, begun, recorded):
    _, _, expected = whole
    sweep = prepared()
    where = begun("memory://sweeps/a", sweep)
    killed(where, sweep, LAST, checkpoint=0.0)
    run.drive(where, sweep, (0, 1), finished=store.finished(where))
    assert recorded(where) == expected
    assert store.images(where, next(iter(expected)))["truth"].shape == (2, 1, 8, 8, 1)


def test_images_are_left_out_where_nobody_wants_them(prepared, begun, tmp_path):
    sweep = prepared(images=False, seeds=0, defenses="none")
    where = begun(tmp_path, sweep)
    run.drive(where, sweep, (0, 1), finished=set())
    assert not place.names(where, "images")
    with pytest.raises(ValueError, match="holds no images of case"):
        store.images(where, next(store.records(where))["case_id"])


def test_packing_keeps_keys(whole):
    import jax

    key = jax.random.key(3)
    assert checkpoint.cooked(np.asarray(checkpoint.raw(key)), key) == key
