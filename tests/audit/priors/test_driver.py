"""The training of a prior from its settings to its file: card, halves, statistics, stopping."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data, priors, weights
from jleak.audit.priors import PriorTraining, loaded, run
from jleak.audit.priors.driver import SAMPLED, begun, latents
from jleak.audit.priors.plan import generators
from jleak.audit.training import Stopped
from jleak.check import InputError
from jleak.tree import stream

ARGS = {
    "generator": "dcgan", "generator_args": {"latent": 3, "width": 4}, "conditional": True,
    "objective": "vae", "critic": "mlp", "critic_args": {"hidden": [8]}, "batch": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A short training: its file, its result, and the steps of its sheets."""
    out, sheets = tmp_path_factory.mktemp("made") / "a.safetensors", []
    plan = PriorTraining(**ARGS, steps=60, licence="CC BY 4.0", note="digits")
    tell = {"save_every": 30, "sheet_every": 25, "show": lambda step, sheet: sheets.append((step, sheet))}
    return out, run(plan, loaded(plan), out, **tell), sheets


def test_the_card_says_what_was_learnt_from(made):
    out, found, sheets = made
    card, half = priors.load(out).card, data.load("public:digits")
    assert (card["dataset"], card["licence"], card["note"]) == ("public:digits", "CC BY 4.0", "digits")
    assert card["images"] == str(half.size) and half.size < data.digits().size
    assert card["images_sha256"] == weights.checksum({"labels": half.labels, "x": half.x})
    assert (card["steps"], card["classes"], json.loads(card["class_names"])[9]) == ("60", "10", "9")
    assert json.loads(card["settings"])["batch"] == 32 and card["generator"] == "dcgan"
    assert [p.name for p in found.stages] == ["a-30.safetensors"]
    assert priors.load(found.stages[0]).card["steps"] == "30"
    assert [step for step, _ in sheets] == [25, 50, 60]
    assert {sheet.shape for _, sheet in sheets} == {(8, 10, 8, 8, 1)}
    np.testing.assert_array_equal(sheets[-1][1], found.sheet)


def test_a_sheet_has_a_class_in_each_column(made):
    prior = priors.load(made[0])
    z = jax.random.normal(jax.random.key(5), (10, 3))
    columns = made[1].sheet.mean(0)
    drawn = [prior.generator.apply(prior.params, z, jnp.full(10, k)).mean(0) for k in range(10)]
    near = np.abs(columns[:, None] - np.stack(drawn)[None]).sum((2, 3, 4)).argmin(1)
    assert (near == np.arange(10)).sum() >= 8


def test_only_the_public_half_is_learnt_from(tmp_path):
    plan = PriorTraining(**ARGS)
    held = {image.tobytes() for image in data.load("private:digits").x}
    common = {image.tobytes() for image in loaded(plan).x} & held
    assert len(common) <= 2  # of the same pixels, by chance
    assert PriorTraining(**ARGS, part="all").source == "digits"


def test_batchnorm_is_used_by_the_statistics_of_the_average(made):
    """In mode eval the generator makes of their latents what it makes of them in mode batch."""
    out, _, _ = made
    plan = PriorTraining(**ARGS)
    prior = priors.load(out)
    trained, used = generators(plan, loaded(plan))
    z, y = latents(used, stream(jax.random.key(0), "statistics"), SAMPLED)
    batch, kept = (jax.jit(g.apply)(prior.params, z, y) for g in (trained, used))
    np.testing.assert_allclose(kept, batch, atol=1e-4)
    untaken = jax.jit(used.init)(jax.random.key(0))["batch_stats"]
    blank = {**prior.params, "batch_stats": untaken}
    assert np.abs(jax.jit(used.apply)(blank, z, y) - batch).mean() > 0.01


def test_a_stopped_training_goes_on_to_the_same_bits(made, tmp_path):
    plan = PriorTraining(**ARGS, steps=60, licence="CC BY 4.0", note="digits")
    out = tmp_path / "a.safetensors"

    def stopping(stand):
        if stand.step == 30:
            raise KeyboardInterrupt

    with pytest.raises(Stopped) as stopped:
        run(plan, loaded(plan), out, save_every=30, tell=stopping)
    assert stopped.value.step == 30 and not out.exists()
    other = PriorTraining(**ARGS, steps=60, licence="CC BY 4.0", note="digits", ema=0.5)
    refused("is of a training with ema=0.999;", lambda: run(other, loaded(other), out, resume=True))
    run(plan, loaded(plan), out, save_every=30, resume=True)
    assert out.read_bytes() == made[0].read_bytes()
    refused("a.safetensors exists", lambda: run(plan, loaded(plan), out))


def test_half_is_the_same_in_float16(made, tmp_path):
    out = tmp_path / "half.safetensors"
    plan = PriorTraining(**ARGS, steps=60, licence="CC BY 4.0", note="digits", half=True)
    run(plan, loaded(plan), out)
    assert out.stat().st_size < 0.75 * made[0].stat().st_size
    for a, b in zip(*(jax.tree.leaves(priors.load(p).params) for p in (out, made[0])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def refused(message, call):
    with pytest.raises(InputError, match=message):
        call()


def test_a_training_that_diverges_is_told(tmp_path):
    plan = PriorTraining(**ARGS | {"objective_args": {"lr": 1e20}}, steps=60)
    refused("diverged.*objective=vae, lr=1e", lambda: run(plan, loaded(plan), tmp_path / "a.safetensors"))


def test_bad_settings_are_refused(tmp_path):
    for fields, message in (
        ({"generator": "dcgann"}, "did you mean 'dcgan'"),
        ({"generator_args": {"latnt": 3}}, "did you mean 'latent'"),
        ({"objective": "wgan"}, "did you mean 'wgan_gp'"),
        ({"critic": "con"}, "did you mean 'conv'"),
        ({"part": "private"}, "known: all, public"),
        ({"batch": 1}, "batch must be >= 2"),
        ({"ema": 1.0}, "ema must be < 1"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
    ):
        refused(message, lambda fields=fields: PriorTraining(**ARGS | fields))
    out = tmp_path / "a.safetensors"
    few = PriorTraining(**ARGS | {"objective": "wgan_gp", "batch": 200})
    message = "batch must be <= 179, got batch=200: a step of wgan_gp takes 5"
    refused(message, lambda: begun(few, loaded(few), out))
    plan = PriorTraining(**ARGS)
    refused("sheet_every must be >= 0", lambda: run(plan, loaded(plan), out, sheet_every=-1))
    assert not [*tmp_path.iterdir()]
