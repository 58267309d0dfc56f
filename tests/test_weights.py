"""Weights on the disk: the same bits both ways, and every way in which a file can be wrong."""

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jleak import weights
from jleak.check import InputError

TREE = {
    "params": {"conv": {"kernel": jnp.linspace(-1, 1, 6).reshape(2, 3)}, "head": {"bias": jnp.ones(3)}},
    "batch_stats": {"norm": {"mean": jnp.zeros(3)}},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    weights.save(path, TREE, {"model": "lenet", "steps": "7"})
    return path


def refused(read, *parts):
    with pytest.raises(InputError) as error:
        read()
    for part in parts:
        assert part in str(error.value)


def test_the_same_bits_both_ways(file):
    found = weights.load(file, TREE)
    assert found.keys() == TREE.keys()
    for name, leaf in weights.named(TREE).items():
        np.testing.assert_array_equal(weights.named(found)[name], leaf)
        assert weights.named(found)[name].dtype == leaf.dtype
    stored = weights.read(file)
    assert (stored.metadata["model"], stored.metadata["steps"]) == ("lenet", "7")
    content = file.read_bytes()
    weights.save(file, TREE, {"steps": "7", "model": "lenet"})
    assert file.read_bytes() == content  # so that equal weights have equal digests
    assert [p.name for p in file.parent.iterdir()] == [file.name]  # nothing is left aside


def test_other_libraries_read_it_and_write_such(file, tmp_path):
    arrays = safetensors.numpy.load_file(file)
    assert set(arrays) == {"params.conv.kernel", "params.head.bias", "batch_stats.norm.mean"}
    other = tmp_path / "b.safetensors"
    safetensors.numpy.save_file({name: a.astype(np.float16) for name, a in arrays.items()}, other)
    found = weights.load(other, TREE)["params"]["conv"]["kernel"]
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, TREE["params"]["conv"]["kernel"].astype(jnp.float16))


def test_what_does_not_fit_is_named(file):
    like = {
        "params": {"conv": {"kernel": jnp.zeros((2, 4))}, "head": {"kernel": jnp.zeros(3)}},
        "batch_stats": {"norm": {"mean": jnp.zeros(3, int)}},
    }
    refused(
        lambda: weights.load(file, like),
        "params.conv.kernel is (2, 3), wanted is (2, 4)",
        "params.head.kernel is missing",
        "params.head.bias is not wanted",
        "batch_stats.norm.mean is float32, wanted is int32",
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-4], "damaged"),
        (lambda content: b"PK\3\4" + content, "is no safetensors file that can be read"),
        (lambda content: b"", "is no safetensors file that can be read"),
        (
            lambda content: content[:-4] + b"abcd",
            "its arrays do not match its checksum",
        ),  # the format is blind
    ],
)
def test_a_spoilt_file_is_refused(file, spoil, message):
    file.write_bytes(spoil(file.read_bytes()))
    refused(lambda: weights.load(file, TREE), str(file), message, "copy it again")


def test_what_cannot_be_read_or_written_is_refused(file, tmp_path):
    refused(lambda: weights.read(tmp_path / "none.safetensors"), "no weights at", "jleak train-model")
    refused(lambda: weights.read(tmp_path), "no weights at", "directory")
    refused(lambda: weights.save(tmp_path / "no" / "a.safetensors", TREE), "cannot be written")
    refused(lambda: weights.save(file, {"a": np.ones(2)}), "got a of float64")
    path, digest = weights.located(weights.fingerprint(file))
    assert path == file and len(digest) == 12
    weights.save(file, {"a": np.zeros(2, np.float32)})
    refused(lambda: weights.read(f"{path}@{digest}"), "has changed", digest)
