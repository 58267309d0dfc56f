"""Stopped and killed label runs: what was finished is kept, and going on gives what was never stopped."""

import shlex
import signal

import pytest

from jleak.audit.labels.config import cases, labels_config_of
from jleak.audit.labels.driver import measure

PLAN = [
    "labels", "--model", "mlp:hidden=16", "--count", "4", "--attack", "bias_sign", "--batch", "2",
    "--train-steps", "0", "--train-steps", "20000", "--train-steps", "20050",
]  # fmt: skip
CASES = 2 * 3


@pytest.fixture(scope="module")
def whole():
    """The records of the same run, in memory and never stopped."""
    settings = {"models": "mlp:hidden=16", "count": 4, "attacks": "bias_sign", "batches": 2}
    records = measure(cases(labels_config_of(settings | {"train_steps": [0, 20000, 20050]})))
    times = ("seconds", "compile_seconds")
    return [{name: value for name, value in record.items() if name not in times} for record in records]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_as_if_never_stopped(number, stop, read, command, whole, tmp_path, monkeypatch):
    """During the training of the second stage, most likely: it is begun anew."""
    monkeypatch.chdir(tmp_path)
    done, before = stop([*PLAN, "--out=run"], number), read(tmp_path / "run")
    assert 0 < len(before) < CASES and before == whole[: len(before)]
    assert not (tmp_path / "run" / "report.html").exists() and "Traceback" not in done.err
    again = ["jleak", *PLAN, "--out=run", "--resume"]
    if number == signal.SIGINT:
        assert done.code == 130
        assert f"stopped; {len(before)} finished cases are kept in run. Go on with:" in done.out
        again = shlex.split(done.out.split("Go on with:")[1].strip().splitlines()[0])
        assert again[:2] == ["jleak", "labels"] and "--resume" in again and "--out=run" in again
    else:
        assert done.code == -signal.SIGKILL
    resumed = command(*again[1:])
    assert resumed.code == 0 and f"{len(before)} of {CASES} cases were finished before" in resumed.out
    assert read(tmp_path / "run") == whole and (tmp_path / "run" / "report.html").exists()
