"""`from_arrays` and `pixels`: storage, conversion, and every refusal with its remedy."""

import numpy as np
import pytest

from jleak.check import InputError
from jleak.data import from_arrays, pixels

X = np.zeros((3, 4, 5, 1), np.uint8)
Y = np.array([0, 1, 1])


def test_bytes_stay_bytes_without_a_copy():
    images = from_arrays(X, Y, ["a", "b"], name="tiny")
    assert images.x is X and images.labels.dtype == np.int64
    assert (images.size, images.shape, images.classes) == (3, (4, 5, 1), 2)


def test_grey_without_channel_axis_gains_one():
    assert from_arrays(X[..., 0], Y, name="tiny").x.shape == X.shape


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32_unchanged(dtype):
    values = np.linspace(0, 1, 60).reshape(X.shape).astype(dtype)
    images = from_arrays(values, Y, name="tiny")
    assert images.x.dtype == np.float32
    np.testing.assert_array_equal(images.x, values.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_any_whole_type(dtype):
    images = from_arrays(X, Y.astype(dtype), name="tiny")
    assert images.labels.dtype == np.int64 and images.labels.tolist() == [0, 1, 1]


def test_class_names_are_numbers_unless_given():
    assert from_arrays(X, [0, 3, 1], name="tiny").class_names == ("0", "1", "2", "3")
    assert from_arrays(X, Y, ["a", "b", "never"], name="tiny").classes == 3


def test_pixels_divide_bytes_by_255():
    every = np.arange(256, dtype=np.uint8)
    assert pixels(every).dtype == np.float32
    np.testing.assert_allclose(pixels(every), np.arange(256) / 255, rtol=1e-7)
    assert pixels(every)[[0, 255]].tolist() == [0, 1]


def refuse(x, labels, *parts, names=None):
    with pytest.raises(InputError) as error:
        from_arrays(x, labels, names, name="tiny")
    for part in ("tiny", *parts):
        assert part in str(error.value)


def test_refuses_wrong_images():
    refuse(X[0, 0], Y, "(5, 1)", "(N, h, w, c)", "reshape")
    refuse(np.zeros((3, 4, 5, 1, 1), np.uint8), Y, "(3, 4, 5, 1, 1)", "reshape")
    refuse(np.zeros((3, 3, 32, 32), np.uint8), Y, "(3, 3, 32, 32)", "transpose(0, 2, 3, 1)")
    refuse(X[:0], Y[:0], "no images", "(0, 4, 5, 1)", "at least one")
    refuse(X.astype(np.int64), Y, "int64", "astype('uint8')")
    refuse(X.astype(bool), Y, "bool", "astype('uint8')")


@pytest.mark.parametrize("value, shown", [(255.0, "0 to 255"), (-0.5, "-0.5 to 0"), (np.nan, "nan")])
def test_refuses_floats_outside_the_unit_interval(value, shown):
    x = X.astype(np.float32)
    x[1, 2, 3] = value
    refuse(x, Y, "[0, 1]", shown, "divide by 255")


def test_refuses_wrong_labels():
    refuse(X, Y[:2], "(3,)", "(2,)", "as many labels as images")
    refuse(X, Y[:, None], "(3, 1)", "flat")
    refuse(X, Y.astype(float), "float64", "astype('int64')")
    refuse(X, [0, 1, -1], ">= 0", "-1 at 2", "unlabelled")
    refuse(X, [1, 2, 1], "< 2", "got 2 at 1", "count classes from 0", names=["a", "b"])
