"""Stopped and killed audits: what was finished is kept, and going on gives what was never stopped."""

import shlex
import signal

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("interrupted audits")  # one worker: one audit that is never stopped
SEEDS = range(6)
PLAN = [
    "audit", "--model", "mlp:hidden=16", "--attack", "inverting:steps=2000", "--defense", "none", "--victims",
    "2", "--restarts", "1", *(word for seed in SEEDS for word in ("--seed", str(seed))),
]  # fmt: skip


def arrays(path, record):
    with np.load(path / "images" / f"{record['case_id']}.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def whole(process, tmp_path_factory):
    """The same audit, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert process(*PLAN, "--out", "run", cwd=folder).code == 0
    return folder / "run"


def test_a_killed_audit_goes_on_as_if_never_stopped(stop, read, process, command, whole, tmp_path):
    run = tmp_path / "run"
    flags = [*PLAN, "--out", str(run)]
    code, _, _ = stop(flags, signal.SIGKILL)
    before = read(run)
    assert code == -signal.SIGKILL and 0 < len(before) < len(SEEDS)
    done = process(*flags, "--resume")
    assert done.code == 0 and f"{len(before)} of {len(SEEDS)} cases were finished before" in done.out
    assert read(run)[: len(before)] == before
    assert read(run) == read(whole)  # in order, none twice
    for record in read(run):
        one, other = arrays(run, record), arrays(whole, record)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])

    lines = (run / "records.jsonl").read_bytes()
    again = command(*flags, "--resume")
    assert again.code == 0 and f"{len(SEEDS)} of {len(SEEDS)} cases were finished before" in again.out
    assert (run / "records.jsonl").read_bytes() == lines
    assert "0 of 0 programs" in again.out


def test_an_interrupted_audit_says_how_to_go_on(stop, read, process, whole, tmp_path):
    run = tmp_path / "run"
    code, out, err = stop([*PLAN, "--out=run"], signal.SIGINT)
    before = read(run)
    assert code == 130 and "Traceback" not in err and 0 < len(before) < len(SEEDS)
    assert f"stopped; {len(before)} finished cases are kept in run. Go on with:" in out
    told = out.split("Go on with:")[1].strip().splitlines()[0]
    words = shlex.split(told)
    assert words[0] == "jleak" and "--resume" in words and "--out=run" in words
    assert not (run / "report.html").exists()
    done = process(*words[1:], cwd=tmp_path)
    assert done.code == 0 and (run / "report.html").exists()
    assert read(run) == read(whole)


def test_another_setting_is_kept_apart(read, command, tmp_path, small):
    run = tmp_path / "run"
    assert command("audit", *small, "--defense", "none", "--out", run).code == 0
    (old,) = read(run)
    images = arrays(run, old)
    other = ["--model", "mlp:hidden=16,bias=false", "--attack", "inverting:steps=60", "--defense", "none"]
    done = command("audit", *small[4:], *other, "--out", run, "--resume")
    assert done.code == 0
    assert "0 of 1 cases were finished before; 1 more have other settings: kept in the records" in done.out
    assert read(run)[0] == old and len({record["case_id"] for record in read(run)}) == 2
    for name, array in arrays(run, old).items():
        np.testing.assert_array_equal(array, images[name])
    shown = command("report", run).out
    assert "mlp bias=true on private:digits" in shown and "mlp bias=false on private:digits" in shown
    assert "inverting steps=50" in shown and "inverting steps=60" in shown
