"""`jleak train-model`, stopped and not, and audits of what it trained."""

import shlex
import signal
import subprocess
import sys
import time

import pytest

from jleak import weights

pytestmark = pytest.mark.xdist_group("trained model")  # one worker: one training that is never stopped
START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit a deaf one
from jleak.cli import main
main()
"""
PLAN = ["train-model", "--model", "mlp:hidden=16", "--steps", "5000", "--save-every", "1000"]
AUDIT = ["--attack", "inverting:steps=20", "--defense", "none", "--victims", "1", "--restarts", "1"]


@pytest.fixture(scope="module")
def whole(process, tmp_path_factory):
    """The same training, never stopped: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = process(*PLAN, "--out", "mlp.safetensors", cwd=folder)
    assert done.code == 0, done.err
    return folder, done.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_training_goes_on_as_if_never_stopped(whole, process, environment, tmp_path, number):
    out, state = tmp_path / "mlp.safetensors", tmp_path / "mlp.training.safetensors"
    started = subprocess.Popen(
        [sys.executable, "-c", START, *PLAN, "--out", str(out)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not state.exists() and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(number)
    said, err = started.communicate(timeout=60)
    assert state.exists() and not out.exists() and "Traceback" not in err
    assert 0 < int(weights.read(state).arrays["step"]) < 5000
    flags = [*PLAN, "--out", str(out), "--resume"]
    if number == signal.SIGINT:
        assert started.returncode == 130
        told = said.split("Go on with:")[1].strip().splitlines()[0]
        assert shlex.split(told) == ["jleak", *flags]
    assert process(*flags).code == 0
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert files == {p.name: p.read_bytes() for p in whole[0].iterdir() if p.suffix == ".safetensors"}
    assert len(files) == 5 and not state.exists()


def test_what_is_printed_leads_to_an_audit(whole, command, read, monkeypatch):
    folder, out = whole
    monkeypatch.chdir(folder)
    for part in ("step 5000/5000 loss", "training  loss", "held out  loss", "of 180 images", "5000 steps"):
        assert part in out
    share = float(out.split("held out")[1].split("accuracy ")[1].split(" %")[0])
    assert share > 90
    told = shlex.split(out.split("audit     ")[1].splitlines()[0])
    assert told[:2] == ["jleak", "audit"]
    done = command(*told[1:], *AUDIT, "--seed", "0", "--seed", "1", "--out", "run")
    assert done.code == 0, done.err
    trained = read(folder / "run")
    digest = weights.fingerprint("mlp.safetensors")
    assert [record["weights"] for record in trained] == [digest] * 2 and f"weights={digest}" in done.out
    assert digest in (folder / "run" / "report.html").read_text()
    again = command(*told[1:], *AUDIT, "--seed", "0", "--seed", "1", "--out", "run", "--resume")
    assert "2 of 2 cases were finished before" in again.out
    (folder / "audit.yaml").write_text("weights: mlp-1000.safetensors\n")
    other = command(*told[1:6], *AUDIT, "--seed", "0", "--config", "audit.yaml", "--out", "other")
    assert other.code == 0, other.err
    (stage,) = read(folder / "other")
    assert stage["weights"] == weights.fingerprint("mlp-1000.safetensors")
    assert stage["case_id"] != trained[0]["case_id"] and stage["mse"] != trained[0]["mse"]


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--model", "lenet"], ["mlp.safetensors was trained with model=mlp", "'lenet' is not"]),
        (["--model", "mlp:hidden=8"], ["params.dense0.kernel is (64, 16), wanted is (64, 8)"]),
        (["--model", "mlp:hidden=16,activation_fn=relu"], ["trained with activation_fn=sigmoid", "--model"]),
        (["--weights", "none.safetensors"], ["no weights at none.safetensors", "jleak train-model"]),
        (["--weights", "bad.safetensors"], ["bad.safetensors is no safetensors file", "copy it again"]),
    ],
)
def test_weights_that_do_not_fit_are_refused(whole, command, monkeypatch, flags, parts):
    monkeypatch.chdir(whole[0])
    (whole[0] / "bad.safetensors").write_bytes(b"no weights")
    base = [] if "--weights" in flags else ["--weights", "mlp.safetensors"]
    done = command("audit", "--model", "mlp:hidden=16", *base, *AUDIT, *flags, "--out", "refused")
    (whole[0] / "bad.safetensors").unlink()
    assert done.code == 2 and not (whole[0] / "refused").exists() and len(done.err.splitlines()) == 1
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--model", "lennet"], ["did you mean 'lenet'"]),
        (["--model", "mlp:hiden=3"], ["did you mean 'hidden'"]),
        (["--epochs", "1", "--steps", "5"], ["epochs or steps"]),
        (["--steps", "0"], ["steps must be >= 1"]),
        (["--optimizer", "adm"], ["did you mean 'adam'"]),
        (["--batch", "1700"], ["batch must be <= 1617"]),
        (["--out", "file/a.safetensors"], ["file is no folder"]),
        (["--out", "a.npz"], ["write a.npz.safetensors"]),
        (["--out", "mine.safetensors"], ["mine.safetensors exists"]),
    ],
)
def test_bad_input(command, tmp_path, monkeypatch, flags, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine.safetensors").write_text("mine")
    done = command("train-model", *flags)
    assert done.code == 2 and {p.name for p in tmp_path.iterdir()} == {"file", "mine.safetensors"}
    for part in parts:
        assert part in done.err
