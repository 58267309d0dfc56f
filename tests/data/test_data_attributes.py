"""Attributes of images: those that a file brings, those that any image has, and labels made of them."""

import numpy as np
import pytest

from jleak import data
from jleak.check import InputError


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 255, (12, 4, 4, 1), dtype=np.uint8),
        "labels": np.arange(12) % 3,
        "smiling": np.arange(12) % 2,
        "weights": np.linspace(0, 1, 12),  # no whole numbers
        "other": np.arange(5),  # not one an image
        "below": np.arange(12) - 3,
        "names": np.array(["a"] * 12),
        "objects": np.array([None] * 12),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def test_an_archive_brings_the_attributes_that_fit(path):
    images = data.npz(path)
    assert list(images.attributes) == ["smiling"]
    assert data.attribute(images, "smiling").tolist() == [0, 1] * 6
    assert data.attribute(images, "labels").tolist() == [0, 1, 2] * 4


def test_attributes_stay_with_their_images(path):
    for side in (data.private(f"npz:{path}"), data.public(f"npz:{path}")):
        all_ = data.npz(path)
        places = [int(np.flatnonzero((all_.x == x).all((1, 2, 3)))[0]) for x in side.x]
        assert side.attributes["smiling"].tolist() == all_.attributes["smiling"][places].tolist()


@pytest.mark.parametrize("name", ["bright", "contrast", "lopsided"])
def test_a_derived_attribute_halves_every_class(digits, name):
    found = data.attribute(digits, name)
    shares = [found[digits.labels == k].mean() for k in range(10)]
    np.testing.assert_allclose(shares, 0.5, atol=0.03)


def test_derived_attributes_are_what_they_say():
    left = np.zeros((4, 2, 4, 1))
    left[1, :, :2], left[3, :, 2:] = 1.0, 0.5
    images = data.from_arrays(left, [0, 0, 1, 1], name="made")
    assert data.attribute(images, "bright").tolist() == [0, 1, 0, 1]
    assert data.attribute(images, "lopsided").tolist() == [0, 1, 1, 0]
    assert data.attribute(images, "contrast").tolist() == [0, 1, 0, 1]


def test_an_attribute_can_be_the_label(path):
    images = data.load(f"by:smiling:npz:{path}")
    assert images.labels.tolist() == [0, 1] * 6 and images.class_names == ("smiling 0", "smiling 1")
    assert data.attribute(images, "labelled").tolist() == [0, 1, 2] * 4
    assert "smiling" not in images.attributes


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("by:smile:digits", "unknown attribute 'smile'; .*known: bright, contrast, labels, lopsided"),
        ("by:bright", "by:bright names no data set; write by:ATTRIBUTE:SPEC"),
    ],
)
def test_unknown_names_are_named(spec, message):
    with pytest.raises(InputError, match=message):
        data.load(spec)


def test_attributes_that_do_not_fit_are_refused():
    x = np.zeros((2, 4, 4))
    with pytest.raises(InputError, match=r"pets: age must be one number an image, shape \(2,\), got \(3,\)"):
        data.from_arrays(x, [0, 1], name="pets", attributes={"age": [1, 2, 3]})
    with pytest.raises(InputError, match="pets: age must be whole numbers, got float64"):
        data.from_arrays(x, [0, 1], name="pets", attributes={"age": [0.5, 1.0]})
