"""Bad input: one clear message, exit code 2, no traceback, nothing half-made, nothing lost."""

import numpy as np
import pytest

from jleak.audit import store


def save(path, size=9, shape=(8, 8, 1)):
    np.savez(path, images=np.zeros((size, *shape), np.uint8), labels=np.arange(size) % 3)


def contents(path):
    return {file: file.read_bytes() if file.is_file() else None for file in sorted(path.rglob("*"))}


CASES = {
    "unknown defense": (["--defense", "gausian:sigma=1"], ["'gausian'", "did you mean 'gaussian'?", "clip"]),
    "unknown attack": (["--attack", "invert"], ["'invert'", "did you mean 'inverting'?", "dlg"]),
    "unknown model": (["--model", "lennet"], ["'lennet'", "did you mean 'lenet'?", "mlp"]),
    "unknown data": (["--dataset", "digit"], ["'digit'", "did you mean 'digits'?", "npz"]),
    "unknown knowledge": (["--knows", "al"], ["'al'", "did you mean 'all'?", "nothing"]),
    "unknown loss": (["--loss-fn", "mce"], ["'mce'", "did you mean 'mse'?", "bce"]),
    "unknown draw": (["--draw", "balance"], ["'balance'", "did you mean 'balanced'?"]),
    "unknown argument": (["--defense", "clip:bond=1"], ["'bond'", "did you mean 'bound'?"]),
    "no strength": (["--defense", "gaussian"], ["gaussian:sigma=VALUE"]),
    "no argument": (["--defense", "clip:bound"], ["'clip:bound'", "clip:argument=value"]),
    "negative strength": (["--defense", "gaussian:sigma=-1"], ["sigma must be >= 0", "sigma=-1"]),
    "NaN strength": (["--defense", "gaussian:sigma=nan"], ["sigma", "finite", "nan"]),
    "infinite strength": (["--defense", "laplace:scale=inf"], ["scale", "finite", "inf"]),
    "bad step size": (["--attack", "inverting:lr=0"], ["lr must be > 0", "lr=0"]),
    "no steps": (["--attack", "inverting:steps=0"], ["steps must be >= 1", "steps=0"]),
    "no victims": (["--victims", "0"], ["victims must be >= 1", "victims=0"]),
    "negative seed": (["--seed", "-1"], ["seed must be >= 0", "seed=-1"]),
    "batch beyond the data": (["--dataset", "digits", "--batch", "1798"], ["1798", "1797", "smaller batch"]),
    "batch beyond own data": (["--dataset", "npz:good.npz", "--batch", "10"], ["10", "9 images"]),
    "image too small": (
        ["--dataset", "npz:dots.npz", "--model", "convnet"],
        ["(2, 2, 1)", "larger images or another model"],
    ),
    "corrupt npz": (["--dataset", "npz:corrupt.npz"], ["corrupt.npz", "write it again"]),
    "truncated npz": (["--dataset", "npz:cut.npz"], ["cut.npz", "copy it again"]),
    "missing npz": (["--dataset", "npz:none.npz"], ["none.npz", "does not exist"]),
    "missing folder": (["--dataset", "folder:none"], ["none", "does not exist"]),
    "unwritable output": (["--out", "file/run"], ["file/run", "cannot be written", "--out"]),
    "existing output": (["--out", "mine"], ["mine", "exists", "--resume", "--out"]),
    "resuming what is no run": (["--out", "mine", "--resume"], ["mine", "is not a run of jleak"]),
    "resuming a file": (["--out", "file", "--resume"], ["file", "is not a run of jleak"]),
    "unknown key": (["--config", "key.yaml"], ["key.yaml", "atacks", "unknown key", "attacks"]),
    "unknown key inside": (["--config", "inside.yaml"], ["inside.yaml", "defenses.1.nome", "unknown key"]),
    "wrong type": (["--config", "type.yaml"], ["type.yaml", "batch", "'many'"]),
    "no YAML": (["--config", "file"], ["file", "mapping"]),
    "missing file": (["--config", "none.yaml"], ["none.yaml", "no such configuration file"]),
    "unwritable cache": (["--cache", "file/cache"], ["file/cache", "cannot be made", "--no-cache"]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of bad files and of a user's own work, where the command is given."""
    save(tmp_path / "good.npz")
    save(tmp_path / "dots.npz", shape=(2, 2, 1))
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:200])
    (tmp_path / "corrupt.npz").write_bytes(whole[:100] + bytes(100) + whole[200:])
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("mine")
    (tmp_path / "key.yaml").write_text("atacks: [dlg]\n")
    (tmp_path / "inside.yaml").write_text("defenses: [none, {nome: clip, args: {bound: 1}}]\n")
    (tmp_path / "type.yaml").write_text("batch: many\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_bad_input(command, folder, name):
    flags, parts = CASES[name]
    before = contents(folder)
    done = command("audit", *flags, *([] if "--out" in flags else ["--out", "run"]))
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("jleak: ") and "Traceback" not in done.err
    for part in parts:
        assert part in done.err
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["report", "none"], ["none", "is not a run of jleak"]),
        (["report", "mine"], ["mine", "is not a run of jleak"]),
        (["audit", "--resume"], ["--resume", "--out"]),
        (["audit", "--bacth", "2"], ["--bacth", "--batch"]),
        (["audit", "--batch", "many"], ["--batch", "integer"]),
        (["adit"], ["adit", "audit"]),
    ],
)
def test_bad_commands(command, folder, arguments, parts):
    before = contents(folder)
    done = command(*arguments)
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    for part in parts:
        assert part in done.err
    assert contents(folder) == before


def test_a_damaged_record_is_named_and_kept(command, folder, small):
    store.make(folder / "run", {"command": "jleak audit"})
    (folder / "run" / "records.jsonl").write_text('{"case_id": "1"}\n{"case_id": "2')
    before = contents(folder)
    for arguments in (["report", "run"], ["audit", *small, "--out", "run", "--resume"]):
        done = command(*arguments)
        assert done.code == 2 and "run/records.jsonl, line 2 is damaged" in done.err
    assert contents(folder) == before


def test_from_the_shell(process, folder):
    before = contents(folder)
    done = process("audit", "--dataset", "npz:cut.npz", "--out", "run", cwd=folder)
    assert done.code == 2 and done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("jleak: ") and "cut.npz" in line
    assert contents(folder) == before
