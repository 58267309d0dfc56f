"""`npz`: what it reads, and one clear line for every file that it cannot."""

from pathlib import Path

import numpy as np
import pytest

from jleak.check import InputError
from jleak.data import load, npz

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
X = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez_compressed(tmp_path / "some.npz", **arrays)
        return tmp_path / "some.npz"

    return write


def refuse(path, *parts):
    with pytest.raises(InputError) as error:
        npz(path)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def test_reads_what_was_written(save):
    images = npz(save(images=X, labels=Y, class_names=["a", "b", "c"], extra=np.ones(2)))
    np.testing.assert_array_equal(images.x, X)
    assert images.x.dtype == np.uint8
    assert images.labels.tolist() == Y.tolist()
    assert images.class_names == ("a", "b", "c") and images.name == "some"


def test_reads_grey_floats_and_home(save, monkeypatch):
    path = save(images=X[..., 0] / 255, labels=Y)
    monkeypatch.setenv("HOME", str(path.parent))
    images = load("npz:~/some.npz")
    assert images.shape == (4, 5, 1) and images.x.dtype == np.float32
    assert images.class_names == ("0", "1", "2")


def test_class_names_may_be_bytes(save):
    assert npz(save(images=X, labels=Y, class_names=np.array([b"a", b"b", b"c"]))).class_names[2] == "c"


def test_missing_file_and_folder(tmp_path):
    refuse(tmp_path / "none.npz", tmp_path / "none.npz", "does not exist", "give the path")
    refuse(tmp_path, tmp_path, "is a folder", "folder:PATH")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG" + bytes(100)])
def test_not_a_zip(tmp_path, content):
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    refuse(path, path, "not an .npz", "savez_compressed")


def test_npy_is_not_npz(tmp_path):
    np.save(tmp_path / "some.npy", X)
    refuse(tmp_path / "some.npy", "not an .npz", "savez_compressed")


def test_cut_anywhere(save):
    path = save(images=X, labels=Y)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refuse(path, path, "copy it again")


def test_damaged_anywhere_never_crashes(save):
    """One byte overwritten: read as it was, or refused; no other exception, no other pixels."""
    path = save(images=X, labels=Y)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            images = npz(path)
        except InputError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            np.testing.assert_array_equal(images.x, X)
    assert refused > len(whole) // 6


def test_missing_arrays_are_named(save):
    refuse(save(labels=Y, pictures=X), "no array 'images'", "labels, pictures", "images=")
    refuse(save(images=X), "no array 'labels'", "it has: images", "labels=")


def test_objects_are_not_unpickled(save):
    names = np.array(["a", "b", "c"], object)
    refuse(save(images=X, labels=Y, class_names=names), "'class_names'", "Python objects", "dtype=str")
    refuse(save(images=X.astype(object), labels=Y), "'images'", "Python objects")


def test_class_names_must_be_text(save):
    refuse(save(images=X, labels=Y, class_names=np.arange(3)), "class_names", "int64", "dtype=str")
    refuse(save(images=X, labels=Y, class_names=[["a", "b", "c"]]), "class_names", "(1, 3)", "flat")


def test_values_are_checked(save):
    refuse(save(images=X.astype(float), labels=Y), "some", "[0, 1]", "divide by 255")
    refuse(save(images=X.astype(np.int16), labels=Y), "int16", "astype('uint8')")
    refuse(save(images=X[0, 0], labels=Y), "(5, 3)", "(N, h, w, c)")
    refuse(save(images=X, labels=Y[:4]), "(6,)", "(4,)", "as many labels")
    refuse(save(images=X, labels=Y - 1), ">= 0", "-1 at 0")
    refuse(save(images=X, labels=Y, class_names=["a", "b"]), "< 2", "got 2 at 2", "name every class")
    refuse(save(images=X[:0], labels=Y[:0]), "no images", "at least one")


SHAPES = {
    "mnist_train": ((60000, 28, 28, 1), 10),
    "fashion_mnist_test": ((10000, 28, 28, 1), 10),
    "cifar100_test1k": ((1000, 32, 32, 3), 100),
    "lfw_faces64": ((200, 64, 64, 3), 2),
    "imagenet_sample128": ((200, 128, 128, 3), 1000),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shared_data(name):
    path = SHARED / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no shared data: {path} is absent")
    images = npz(path)
    shape, classes = SHAPES[name]
    assert images.x.dtype == np.uint8 and images.x.shape == shape
    assert images.classes == classes and images.name == name


def test_arrays_that_hold_no_images():
    path = SHARED / "gen_mnist_vae_decoder.npz"
    if not path.is_file():
        pytest.skip(f"no shared data: {path} is absent")
    refuse(path, "no array 'images'", "fc3.weight")
