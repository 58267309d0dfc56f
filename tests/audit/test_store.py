"""A run's directory: whole at any moment, strict JSON, and never written over by mistake."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from jleak.audit import store
from jleak.check import InputError

IMAGES = {"truth": np.ones((2, 1, 4, 4, 1), np.float16), "labels": np.array([[1], [2]])}


def record(number, **more):
    return {"case_id": f"case{number}", "psnr": [30.0 + number, float("nan")], **more}


@pytest.fixture
def run(tmp_path):
    """A run with two finished cases."""
    path = tmp_path / "runs" / "one"
    store.make(path, {"command": "jleak audit"})
    store.add_record(path, {}, record(0), IMAGES)
    store.add_record(path, {"case0": record(0)}, record(1), IMAGES)
    return path


def contents(path):
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def refused(call, *parts):
    with pytest.raises(InputError) as error:
        call()
    for part in parts:
        assert str(part) in str(error.value)


def test_what_was_added_is_read_in_order(run):
    assert [found["case_id"] for found in store.read_records(run)] == ["case0", "case1"]
    assert store.finished(run, resume=True).keys() == {"case0", "case1"}
    for name, array in store.read_images(run, "case1").items():
        np.testing.assert_array_equal(array, IMAGES[name])
    assert store.read_settings(run) == {"command": "jleak audit"}


def test_records_are_strict_json(run):
    store.add_record(run, {}, record(2, loss=[float("inf"), -np.inf], snr=np.array([np.nan, 1])), IMAGES)
    (line,) = (run / "records.jsonl").read_text().splitlines()

    def never(token):
        raise AssertionError(f"{token} is not JSON")

    found = json.loads(line, parse_constant=never)
    assert found["loss"] == [None, None] and found["snr"] == [None, 1.0] and found["psnr"] == [32.0, None]


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "disk full")])
def test_a_fault_at_any_moment_leaves_what_was_there(run, monkeypatch, function, fault):
    before = contents(run)

    def fail(*_):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if function == "replace" else (os, "fsync")), fail)
        expected = InputError if isinstance(fault, OSError) else type(fault)
        with pytest.raises(expected):
            store.add_record(run, {"case0": record(0), "case1": record(1)}, record(2), IMAGES)
    assert contents(run) == before
    assert len(store.read_records(run)) == 2


def test_a_fault_between_images_and_record_loses_that_case_alone(run, monkeypatch):
    whole = Path.replace

    def fail(self, target):
        if target.name == "records.jsonl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    two = {"case0": record(0), "case1": record(1)}
    refused(
        lambda: store.add_record(run, two, record(2), IMAGES),
        run,
        "No space left on device",
        "the 2 finished cases are kept",
        "--resume",
    )
    assert store.finished(run, resume=True).keys() == two.keys()


def test_what_a_killed_writer_left_aside_is_not_read(run):
    (run / ".records.jsonl.123").write_text('{"case_id": "ha')
    (run / "images" / ".case9.npz.123").write_bytes(b"PK")
    assert len(store.read_records(run)) == 2
    store.add_record(run, {}, record(3), IMAGES)
    assert [found["case_id"] for found in store.read_records(run)] == ["case3"]


@pytest.mark.parametrize(
    "line", [b'{"case_id": "a", "psnr": [1', b"[1]", b"3", b'{"psnr": [1]}', b'{"case_id": "\xff"}', b""]
)
def test_a_damaged_line_is_named(run, line):
    file = run / "records.jsonl"
    first, second = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, line, second]) + b"\n")
    refused(lambda: store.read_records(run), f"{file}, line 2 is damaged", "delete that line")
    refused(lambda: store.finished(run, resume=True), "line 2 is damaged")


def test_a_run_is_not_written_over(run):
    before = contents(run)
    refused(lambda: store.finished(run, resume=False), run, "exists", "--resume", "--out")
    assert contents(run) == before


def test_what_is_no_run_is_refused(tmp_path, run):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("notes", "file"):
        refused(lambda: store.finished(tmp_path / name, resume=True), name, "is not a run of jleak")  # noqa: B023
        refused(lambda: store.read_records(tmp_path / name), name, "is not a run of jleak")  # noqa: B023
    refused(lambda: store.read_records(tmp_path / "none"), "none", "is not a run of jleak")
    assert contents(tmp_path / "notes") == {tmp_path / "notes" / "mine.txt": b"mine"}


def test_looking_writes_nothing(tmp_path):
    assert store.finished(tmp_path / "new", resume=False) == {}
    assert store.finished(tmp_path / "new", resume=True) == {}
    (tmp_path / "empty").mkdir()
    assert store.finished(tmp_path / "empty", resume=True) == {}
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(
        lambda: store.make(tmp_path / "file" / "run", {}), tmp_path / "file", "cannot be written", "--out"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_no_half_made_run(tmp_path, run, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(run)
    monkeypatch.setattr(Path, "replace", fail)
    refused(lambda: store.make(tmp_path / "new", {}), "No space left")
    assert not (tmp_path / "new").exists()
    refused(lambda: store.make(run, {"command": "other"}), "No space left")
    assert contents(run) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_images_that_are_gone_or_damaged(run, content):
    file = run / "images" / "case0.npz"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    refused(lambda: store.read_images(run, "case0"), file, "missing or damaged", "--resume")


def test_settings_that_are_damaged_do_not_stop_a_resume(run):
    (run / "audit.json").write_text("{")
    refused(lambda: store.read_settings(run), run / "audit.json", "damaged", "--resume")
    assert len(store.finished(run, resume=True)) == 2
