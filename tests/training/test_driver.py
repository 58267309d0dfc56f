"""A training from its settings to its files: accuracy, stages, stopping, divergence."""

import json

import jax
import numpy as np
import pytest

from jleak import catalog, models, weights
from jleak.audit.training import Stopped, Training, run
from jleak.audit.training import plan as plans
from jleak.check import InputError
from jleak.data import from_arrays, pixels

PLAN = {"model": "mlp", "model_args": {"hidden": 16}, "batch": 50}


def like(digits, **args):
    return jax.eval_shape(models.mlp(digits.shape, digits.classes, **args).init, jax.random.key(0))


def refused(message, call):
    with pytest.raises(InputError, match=message):
        call()


def test_a_perceptron_learns_the_digits(digits, tmp_path):
    out, told = tmp_path / "a.safetensors", []
    found = run(Training(model="mlp"), digits, out, save_every=200, tell=told.append)
    assert found.steps == 500 and found.train.count + found.held_out.count == digits.size
    assert found.held_out.share > 0.9 and found.train.share > found.held_out.share
    assert [stand.step for stand in told] == list(range(20, 501, 20)) and told[-1].loss < 0.5 < told[0].loss
    assert [p.name for p in found.stages] == ["a-200.safetensors", "a-400.safetensors"]
    assert {p.name for p in tmp_path.iterdir()} == {"a.safetensors", "a-200.safetensors", "a-400.safetensors"}
    reached = [float(weights.read(p).metadata["held_out_accuracy"]) for p in (*found.stages, out)]
    assert reached[0] < reached[2] == round(found.held_out.share, 4)
    metadata = weights.read(out).metadata
    assert (metadata["model"], metadata["dataset"], metadata["steps"]) == ("mlp", "digits", "500")
    assert json.loads(metadata["model_args"])["hidden"] == [64]
    assert json.loads(metadata["settings"])["lr"] == 0.003

    model, split = models.mlp(digits.shape, 10), plans.parted(Training(model="mlp"), digits)
    logits = model.apply(weights.load(out, like(digits)), pixels(digits.x[split.held_out]))
    right = int((np.asarray(logits).argmax(-1) == digits.labels[split.held_out]).sum())
    assert right == found.held_out.right and not {*split.train.tolist()} & {*split.held_out.tolist()}


def test_a_stopped_training_goes_on_to_the_same_bits(digits, tmp_path):
    plan = Training(**PLAN, steps=100, optimizer="adamw", schedule="cosine", augment=True)
    run(plan, digits, tmp_path / "whole.safetensors")
    out = tmp_path / "a.safetensors"

    def stopping(stand):
        if stand.step == 60:
            raise KeyboardInterrupt

    with pytest.raises(Stopped) as stopped:
        run(plan, digits, out, tell=stopping)
    assert stopped.value.step == 60 and stopped.value.path.exists() and not out.exists()
    refused("add --resume", lambda: run(plan, digits, out))
    other = Training(**PLAN, steps=100, optimizer="adamw", schedule="cosine")
    refused("is of a training with augment=True;", lambda: run(other, digits, out, resume=True))
    seen = []
    run(plan, digits, out, resume=True, tell=lambda stand: seen.append(stand.step))
    assert seen == [80, 100]
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not stopped.value.path.exists()
    refused("a.safetensors exists; name another file", lambda: run(plan, digits, out, resume=True))


def test_a_training_that_diverges_keeps_what_was_good(digits, tmp_path):
    out = tmp_path / "a.safetensors"
    plan = Training(**PLAN, steps=100, optimizer="sgd", lr=0.1, weight_decay=50.0, loss_fn="mse")
    with pytest.raises(InputError, match=r"diverged.*lr=0.1.*Use a smaller --lr") as error:
        run(plan, digits, out)
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(error.value) and not out.exists()
    for leaf in jax.tree.leaves(weights.load(kept, like(digits, hidden=16))):
        assert np.isfinite(leaf).all()
    refused("is a stage of another training to a.safetensors", lambda: run(plan, digits, out))


def test_batchnorm_trains_by_the_batch_and_is_judged_by_running_statistics(
    digits, normed, tmp_path, monkeypatch
):
    """The modes share one tree: what was trained in one is audited in any."""
    monkeypatch.setitem(catalog.MODELS, "normed", normed)
    plan, out = Training(model="normed", steps=100), tmp_path / "a.safetensors"
    assert plan.model_args["batchnorm"] == "eval"
    found = run(plan, digits, out)
    assert found.held_out.share > 0.7
    model = normed(digits.shape, digits.classes)
    start = model.init(jax.random.key(9))
    params = weights.load(out, start)
    for new, old in zip(*(jax.tree.leaves(p["batch_stats"]) for p in (params, start)), strict=True):
        assert np.abs(new - old).max() > 0.01
    held_out = plans.parted(plan, digits).held_out
    logits = model.apply(params, pixels(digits.x[held_out]))
    assert int((logits.argmax(-1) == digits.labels[held_out]).sum()) == found.held_out.right


def test_bad_settings_are_refused(digits, tmp_path):
    for fields, message in (
        ({"model": "lennet"}, "did you mean 'lenet'"),
        ({"optimizer": "lbfgs"}, "use adam"),
        ({"batch": 0}, "batch must be >= 1"),
        ({"held_out": 1.0}, "held_out must be < 1"),
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"loss_fn": "mce"}, "did you mean 'mse'"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"seed": -1}, "seed must be >= 0"),
    ):
        refused(message, lambda fields=fields: Training(**PLAN | fields))
    few = from_arrays(digits.x[:10], digits.labels[:10], digits.class_names, name="few")
    refused(
        "batch must be <= 9, the images to train on", lambda: run(Training(), few, tmp_path / "a.safetensors")
    )
    refused("write .*a.npz.safetensors", lambda: run(Training(), digits, tmp_path / "a.npz"))
    refused("is no folder", lambda: run(Training(), digits, tmp_path / "no" / "a.safetensors"))
    refused(
        "save_every must be >= 0", lambda: run(Training(), digits, tmp_path / "a.safetensors", save_every=-1)
    )
    assert not [*tmp_path.iterdir()]
