"""`jleak train-prior`, stopped and not."""

import json
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jleak import priors, weights
from jleak.data import load

pytestmark = pytest.mark.xdist_group("trained prior")  # one worker: one training that is never stopped
START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit a deaf one
from jleak.cli import main
main()
"""
PLAN = [
    "train-prior", "--generator", "mlp_gan:latent=4,hidden=16", "--objective", "vae:lr=3e-3", "--critic",
    "mlp:hidden=16", "--conditional", "--steps", "3000", "--float16", "--licence", "CC BY 4.0",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(process, tmp_path_factory):
    """The same training, never stopped: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = process(*PLAN, "--out", "a.safetensors", cwd=folder)
    assert done.code == 0, done.err
    return folder, done.out


def test_a_prior_is_made_and_shown(whole):
    folder, out = whole
    assert {p.name for p in folder.iterdir()} == {"a.safetensors", "a.png"}
    for part in ("step 3000/3000 loss", "896 images of public:digits; licence: CC BY 4.0", "prior     a.saf"):
        assert part in out
    assert Image.open(folder / "a.png").size == (10 * 66 - 2, 8 * 66 - 2)
    prior, half = priors.load(folder / "a.safetensors"), load("public:digits")
    args = json.loads(prior.card["generator_args"])
    assert (args["latent"], args["hidden"], prior.generator.latent) == (4, 16, 4)
    z = np.zeros((10, 4), np.float32)
    centres = np.asarray(prior.generator.apply(prior.params, z, np.arange(10)))
    means = np.stack([half.x[half.labels == k].mean(0) for k in range(10)])
    near = np.square(centres[:, None] - means[None]).sum((2, 3, 4)).argmin(1)
    assert (near == np.arange(10)).sum() >= 9


def test_a_stopped_training_goes_on_as_if_never_stopped(whole, process, environment, tmp_path):
    out, state = tmp_path / "a.safetensors", tmp_path / "a.training.safetensors"
    started = subprocess.Popen(
        [sys.executable, "-c", START, *PLAN, "--out", str(out)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not out.with_suffix(".png").exists() and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    said, err = started.communicate(timeout=60)
    assert started.returncode == 130 and not out.exists() and "Traceback" not in err
    assert 0 < int(weights.read(state).arrays["step"]) < 3000
    flags = [*PLAN, "--out", str(out), "--resume"]
    told = said.split("Go on with:")[1].strip().splitlines()[0]
    assert shlex.split(told) == ["jleak", *flags]
    assert process(*flags).code == 0
    for name in ("a.safetensors", "a.png"):
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes()
    assert not state.exists()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--generator", "dcgann"], ["did you mean 'dcgan'"]),
        (["--generator", "dcgan:kernel=3"], ["kernel"]),
        (["--objective", "vae:betta=1"], ["did you mean 'beta'"]),
        (["--objective", "non_saturating:augment=colour"], ["did you mean 'color'"]),
        (["--critic", "conv:width=0"], ["width must be >= 1"]),
        (["--part", "half"], ["unknown part 'half'"]),
        (["--dataset", "npz:none.npz"], ["none.npz does not exist"]),
        (["--epochs", "1", "--steps", "5"], ["epochs or steps"]),
        (["--batch", "200"], ["batch must be <= 179", "n_critic"]),
        (["--out", "a.npz"], ["write a.npz.safetensors"]),
        (["--out", "mine.safetensors"], ["mine.safetensors exists"]),
    ],
)
def test_bad_input(command, tmp_path, monkeypatch, flags, parts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").write_text("mine")
    done = command("train-prior", *flags)
    assert done.code == 2 and {p.name for p in tmp_path.iterdir()} == {"mine.safetensors"}
    for part in parts:
        assert part in done.err
