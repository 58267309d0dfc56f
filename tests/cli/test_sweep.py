"""The commands of sweeps, in this process and killed in another."""

import random
import signal
import subprocess
import sys
import time

import pytest
import yaml

from jleak.audit.sweep import place, store


@pytest.fixture
def file(tmp_path, sweep_settings):
    """`file(key=value, ...)`: a sweep's file."""

    def made(**changes):
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(sweep_settings(**changes)))
        return path

    return made


VARYING = ("seconds", "compile_seconds", "finished", "revision")


def records(out):
    rows = list(store.records(place.place(str(out))))
    assert len(rows) == len({row["case_id"] for row in rows})
    return {row["case_id"]: {k: v for k, v in row.items() if k not in VARYING} for row in rows}


def test_check_says_what_a_sweep_takes_and_runs_nothing(command, file, tmp_path):
    done = command("sweep", "check", file())
    assert done.code == 0 and "9 cases of 3 settings, in 3 batches" in done.out
    assert "5 programs to compile: 1 attacker, 2 clients, 1 init, 1 score" in done.out
    assert "GiB" in done.out and "of compiling here" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_sweep_from_its_file_to_its_answers(command, file, tmp_path):
    out = tmp_path / "runs" / "first"
    done = command("sweep", "run", file(), "--out", out)
    assert done.code == 0 and "9 cases in" in done.out and "5 programs compiled" in done.out, done
    assert "9/9 cases (100 %)" in done.out
    assert f"jleak report {out} --by defense,attack" in done.out
    before = {path: path.read_bytes() for path in out.glob("*/*")}
    status = command("sweep", "status", out)
    assert status.code == 0 and "9 of 9 cases finished, in 3 parts" in status.out
    again = command("sweep", "resume", out)
    assert again.code == 0 and "9 cases were finished before" in again.out and "0 cases in" in again.out
    assert {path: path.read_bytes() for path in out.glob("*/*")} == before
    told = command("report", out, "--by", "defense,defense.sigma", "--where", "seed=1")
    assert told.code == 0 and "sigma=0.001" in told.out and (out / "report.html").exists()
    wrong = command("report", out, "--by", "defence")
    assert wrong.code == 2 and "did you mean 'defense'" in wrong.err
    more = command("sweep", "run", file(seeds={"range": 4}), "--out", out)
    assert more.code == 2 and "holds a sweep of other settings" in more.err


def test_shards_are_the_sweep_and_are_merged(command, file, tmp_path):
    whole, parts = tmp_path / "whole", [tmp_path / "a", tmp_path / "b"]
    assert command("sweep", "run", file(), "--out", whole).code == 0
    for i, part in enumerate(parts):
        assert command("sweep", "run", file(), "--out", part, "--shard", f"{i}/2").code == 0
    status = command("sweep", "status", parts[0])
    assert "of 9 cases finished" in status.out and f"jleak sweep resume {parts[0]}" in status.out
    for flags in ([], ["--compact"]):
        into = tmp_path / f"merged{len(flags)}"
        done = command("sweep", "merge", *parts, "--into", into, *flags)
        assert done.code == 0 and f"9 cases in {into}" in done.out
        assert records(into) == records(whole)
        for case_id in records(whole):
            one, other = (store.images(place.place(str(path)), case_id) for path in (into, whole))
            assert all((one[name] == other[name]).all() for name in other)
        assert "0 cases in" in command("sweep", "resume", into).out
    assert len(list((tmp_path / "merged1" / "records").iterdir())) == 1
    other = tmp_path / "other"
    assert command("sweep", "run", file(seeds=[7], defenses="none"), "--out", other).code == 0
    assert command("sweep", "merge", whole, other, "--into", tmp_path / "all").code == 0
    assert len(records(tmp_path / "all")) == 10
    foreign = command("sweep", "merge", whole, "--into", other)
    assert foreign.code == 2 and "holds a sweep that is not to be merged" in foreign.err
    refused = command("sweep", "resume", tmp_path / "all")
    assert refused.code == 2 and "was merged of sweeps of other settings" in refused.err


def test_only_sweeps_are_asked_by_settings(command, tmp_path):
    done = command("report", tmp_path, "--by", "defense")
    assert done.code == 2 and "--by and --where are of sweeps" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "FILE", "--out", "OUT", "--shard", "2/2"], "a shard must be i/n with 0 <= i < n"),
        (["run", "FILE", "--out", "OUT", "--engine", "rai"], "--engine must be local or ray, got 'rai'"),
        (["run", "FILE", "--out", "OUT", "--gpus", "1"], "--address and --gpus are of Ray; add --engine ray"),
        (
            ["run", "FILE", "--out", "OUT", "--distributed", "--shard", "0/2"],
            "leave --shard and --engine ray",
        ),
        (["run", "FILE", "--out", "s4://bucket/a"], "s4://bucket/a cannot be opened"),
        (["run", "nowhere.yaml", "--out", "OUT"], "no such configuration file: nowhere.yaml"),
        (["run", "FILE", "--out", "FILE"], "cannot be written"),
        (["resume", "OUT"], "holds no sweep"),
        (["status", "OUT"], "holds no sweep"),
        (["merge", "OUT", "--into", "OUT"], "holds no sweep"),
        (["check", "FILE", "--memory", "0.00001"], "needs about"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(command, file, tmp_path, arguments, said):
    names = {"FILE": file(), "OUT": tmp_path / "out"}
    done = command("sweep", *(names.get(word, word) for word in arguments))
    assert done.code == 2 and said in done.err and "Traceback" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


KILLED = """
import os, signal, sys
from pathlib import Path

kind, at = sys.argv.pop(1), int(sys.argv.pop(1))
count, fsync, replace = [0], os.fsync, Path.replace

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def flushing(number):
    count[0] += 1
    if count[0] == at and kind == "during":
        os.ftruncate(number, os.fstat(number).st_size // 2)
        die()
    fsync(number)

def renaming(path, to):
    if count[0] == at and kind == "before":
        die()
    replace(path, to)
    if count[0] == at and kind == "after":
        die()

os.fsync, Path.replace = flushing, renaming
from jleak.cli import main
main()
"""
LONG = {"attacks": {"inverting": {"steps": 1500}}, "checkpoint": 0.0, "seeds": {"range": 6}}


def kills(draw):
    """(how, when) to kill: half of them at a time, half at a write: as it is written, before and after."""
    while True:
        yield "time", draw.uniform(0.0, 2.0)
        yield draw.choice(["during", "before", "after"]), draw.randint(2, 40)


def killed(flags, out, how, when, environment):
    """Starts a sweep and kills it; whether it had not ended by itself."""
    seen = set(out.glob("checkpoints/*"))
    started = subprocess.Popen(
        [sys.executable, "-c", KILLED, how, str(int(when)), *flags],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    if how == "time":
        while started.poll() is None and set(out.glob("checkpoints/*")) <= seen:
            time.sleep(0.01)
        time.sleep(when)
        started.kill()
    _, told = started.communicate(timeout=120)
    assert started.returncode in (0, -signal.SIGKILL), told
    return started.returncode != 0


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])  # each a process
def test_a_sweep_that_is_killed_again_and_again_is_as_if_never_stopped(
    command, environment, file, tmp_path, count
):
    """No case is lost, none is there twice, and every number is that of a run that was never stopped."""
    path, whole = file(**LONG), tmp_path / "whole"
    assert command("sweep", "run", path, "--out", whole).code == 0
    deaths, run, finished = 0, 0, 0
    for how, when in kills(random.Random(count)):
        out = tmp_path / f"out{run}"
        dead = killed(["sweep", "run", str(path), "--out", str(out)], out, how, when, environment)
        deaths += dead
        ids = store.table(place.place(str(out))).column("case_id").to_pylist() if dead else []
        assert not dead or len(ids) == len(set(ids)) >= finished  # readable at any moment; nothing is lost
        finished = len(ids)
        if deaths == count or not dead:
            assert command("sweep", "run", path, "--out", out).code == 0
            assert records(out) == records(whole)  # to the bit
            run += 1
        if deaths == count:
            return


@pytest.mark.slow  # claims are tested in one process as well
def test_two_processes_resume_one_sweep(command, environment, file, tmp_path):
    path, out, whole = file(**LONG | {"checkpoint": 60.0}), tmp_path / "out", tmp_path / "whole"
    assert command("sweep", "run", path, "--out", whole).code == 0
    flags = [
        sys.executable,
        "-c",
        "from jleak.cli import main; main()",
        "sweep",
        "run",
        str(path),
        "--out",
        str(out),
    ]
    both = [
        subprocess.Popen(flags, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert records(out).keys() == records(whole).keys()
    for case_id, record in records(out).items():
        assert record["loss"] == pytest.approx(records(whole)[case_id]["loss"], rel=0.01)
    assert "18 of 18 cases finished" in command("sweep", "status", out).out
