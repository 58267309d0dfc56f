"""Priors on the disk: what is saved is loaded, and every way in which a file can be wrong."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jleak import priors, weights
from jleak.check import InputError
from jleak.priors import Prior, card, fingerprint, load, save

ARGS = {"latent": 3, "width": 4, "kernel": 4}
FACTS = {"dataset": "digits", "licence": "CC BY 4.0", "steps": 7}


@pytest.fixture(scope="module")
def prior():
    made = priors.dcgan((8, 8, 1), 10, **ARGS)
    return Prior(made, made.init(jax.random.key(0)), card("dcgan", (8, 8, 1), 10, ARGS, **FACTS))


@pytest.fixture
def file(prior, tmp_path):
    save(tmp_path / "a.safetensors", prior)
    return tmp_path / "a.safetensors"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder in place of that of the bundled priors."""
    (tmp_path / "bundled").mkdir()
    monkeypatch.setattr(sys.modules["jleak.priors.load"], "FOLDER", tmp_path / "bundled")
    return tmp_path / "bundled"


def rewritten(path, change, told=lambda metadata: None):
    """The file with other arrays and another card, its checksum right."""
    stored = weights.read(path)
    arrays, metadata = dict(stored.arrays), dict(stored.metadata)
    change(arrays), told(metadata)
    metadata[weights.CHECKSUM] = weights.checksum(arrays)
    path.write_bytes(safetensors.numpy.save(arrays, metadata))
    return path


def test_what_is_saved_is_loaded(prior, file):
    found = load(str(file))
    assert found.card == prior.card and found.card["steps"] == "7"
    assert jax.tree.structure(found.params) == jax.tree.structure(prior.params)
    for one, other in zip(*map(jax.tree.leaves, (found.params, prior.params)), strict=True):
        np.testing.assert_array_equal(one, other)
    z, y = jnp.ones((2, 3)), jnp.array([3, 8])
    got, wanted = (p.generator.apply(p.params, z, y) for p in (found, prior))
    np.testing.assert_array_equal(got, wanted)


def test_half_the_size_to_three_digits(prior, file, tmp_path):
    save(tmp_path / "half.safetensors", prior, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.65 * file.stat().st_size
    found = load(tmp_path / "half.safetensors")
    for one, other in zip(*map(jax.tree.leaves, (found.params, prior.params)), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_array_equal(one, np.asarray(other).astype(np.float16).astype(np.float32))


def test_a_prior_that_is_not_its_cards_is_not_written(prior, tmp_path):
    other = prior._replace(card=card("dcgan", (8, 8, 1), 10, {**ARGS, "width": 5}))
    with pytest.raises(InputError, match=r"does not fit: .*stage0.dense.bias is \(64,\), wanted is \(80,\)"):
        save(tmp_path / "a.safetensors", other)
    with pytest.raises(InputError, match="a prior is written as NAME.safetensors, got .*a.npz"):
        save(tmp_path / "a.npz", prior)
    assert not list(tmp_path.iterdir())


def test_a_name_is_a_bundled_prior(prior, folder):
    save(folder / "numbers.safetensors", prior)
    save(folder / "letters.safetensors", prior._replace(card=prior.card | {"dataset": "letters"}))
    assert priors.bundled() == ["letters", "numbers"]
    assert load("letters").card["dataset"] == "letters"
    named = fingerprint("numbers")
    assert named.startswith("numbers@") and load(named).card == prior.card
    save(folder / "numbers.safetensors", prior, half=True)
    with pytest.raises(
        InputError, match=r"numbers.safetensors has changed: its content is \w{12}, wanted is"
    ):
        load(named)
    with pytest.raises(InputError, match="unknown prior 'numbrs'; did you mean 'numbers'.* or give a file"):
        load("numbrs")
    for unknown in ("numbers.txt", "no/such/folder"):
        with pytest.raises(InputError, match=f"unknown prior '{unknown}'.*known: letters, numbers"):
            fingerprint(unknown)


def test_bundled_priors_say_what_they_are(prior, folder):
    save(folder / "numbers.safetensors", prior)
    (folder / "broken.safetensors").write_bytes(b"no such format")
    found = priors.loaders()
    line = "dcgan, images of 8x8x1 of 10 classes, trained on digits (CC BY 4.0)"
    assert found["numbers"].__doc__ == line and found["numbers"]().card == prior.card
    assert found["broken"].__doc__ == "a file without a card"
    with pytest.raises(InputError, match="broken.safetensors is no safetensors file"):
        found["broken"]()


def test_without_bundled_priors_the_remedy_is_a_file(folder):
    with pytest.raises(
        InputError, match=r"unknown prior 'digits'; none come with this copy; give a file, PATH"
    ):
        load("digits")


def test_a_fingerprint_names_the_content(prior, file):
    named = fingerprint(file)
    assert named == weights.fingerprint(file) and load(named).card == prior.card
    with pytest.raises(InputError, match="has changed: .* wanted is 0123456789ab"):
        load(f"{file}@0123456789ab")
    archive = file.with_name("a.npz")
    fc = np.ones((4, 4), np.float32)
    np.savez(archive, **{"fc3.weight": fc, "fc3.bias": fc[0], "fc4.weight": fc, "fc4.bias": fc[0]})
    assert load(fingerprint(archive)).generator.shape == (2, 2, 1)
    with pytest.raises(InputError, match="has changed"):
        load(f"{archive}@0123456789ab")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("params.stage1.conv.bias"), "params.stage1.conv.bias is missing"),
        (lambda a: a.update({"params.stage9.a": np.zeros(1)}), "params.stage9.a is not wanted"),
        (
            lambda a: a.update({"batch_stats.stage0.norm.mean": np.zeros(3, np.float32)}),
            r"batch_stats.stage0.norm.mean is \(3,\), wanted is \(64,\)",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(file, change, message):
    with pytest.raises(InputError, match=f"does not fit: .*{message}; its card says dcgan:.*train it again"):
        load(rewritten(file, change))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (lambda m: m.pop("shape"), "is no prior: its metadata lack shape; make it with `jleak train-prior`"),
        (lambda m: m.update(generator_args="{"), "its card cannot be read .*; make it again"),
        (
            lambda m: m.update(generator_args="[]"),
            "generator_args must be a JSON object and shape a JSON list",
        ),
        (lambda m: m.update(generator="dcgam"), "unknown generator 'dcgam'; did you mean 'dcgan'"),
        (lambda m: m.update(generator_args='{"widht": 4}'), "no argument 'widht'; did you mean 'width'"),
        (lambda m: m.update(generator_args='{"width": 0.5}'), "width must be a whole number, got width=0.5"),
        (lambda m: m.update(classes='"ten"'), "classes must be a whole number, got classes='ten'"),
        (lambda m: m.update(generator="jleak.priors:dcgan"), "unknown generator 'jleak.priors:dcgan'"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(file, told, message):
    with pytest.raises(InputError, match=f"a.safetensors.*{message}"):
        load(rewritten(file, lambda arrays: None, told))


def test_a_damaged_file_is_refused(file, torch_saved):
    content = file.read_bytes()
    file.write_bytes(content[:-8] + b"spoilt!!")
    with pytest.raises(InputError, match="a.safetensors is damaged"):
        load(file)
    file.write_bytes(content[:-8])
    with pytest.raises(InputError, match="no safetensors file that can be read.*`jleak train-prior`"):
        load(file)
    archive = file.with_name("b.npz")
    np.savez(archive, a=np.ones(100))
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(InputError, match="b.npz cannot be read as .npz .*; copy it again"):
        load(archive)
    single = file.with_name("c.npz")
    with single.open("wb") as opened:
        np.save(opened, np.ones(3))
    with pytest.raises(InputError, match="c.npz cannot be read as .npz"):
        load(single)
    broken = torch_saved(file.with_name("d.pt"), {"a": np.ones(2)})
    broken.write_bytes(broken.read_bytes()[:-9])
    with pytest.raises(InputError, match="d.pt is no PyTorch file, or it is damaged"):
        load(broken)


def test_weights_of_no_format_that_is_known_are_refused(file, torch_saved):
    other = torch_saved(file.with_name("d.pt"), {"fc": {"weight": np.ones((2, 2))}, "step": np.ones(1)})
    with pytest.raises(
        InputError, match=r"d.pt holds no generator that is known \(it has: fc.weight, step\)"
    ):
        load(other)
    plain = file.with_name("e.safetensors")
    plain.write_bytes(safetensors.numpy.save({"fc3.weight": np.ones((4, 3), np.float32)}))
    with pytest.raises(InputError, match="e.safetensors holds no generator that is known"):
        load(plain)
