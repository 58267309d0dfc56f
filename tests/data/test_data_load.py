"""`load`: from a written source to its loader."""

import numpy as np
import pytest

from jleak.check import InputError
from jleak.data import SOURCES, load


def refuse(spec, *parts):
    with pytest.raises(InputError) as error:
        load(spec)
    for part in parts:
        assert part in str(error.value)


def test_sources_are_named_as_documented():
    assert sorted(SOURCES) == ["digits", "folder", "npz", "tfds"]


def test_a_path_may_hold_colons(tmp_path):
    np.savez(tmp_path / "a:b.npz", images=np.zeros((1, 2, 2), np.uint8), labels=[0])
    assert load(f"npz:{tmp_path}/a:b.npz").name == "a:b"


def test_unknown_source_lists_the_known_and_the_nearest():
    refuse("dgits", "'dgits'", "did you mean 'digits'?", "digits, folder, npz, tfds")
    refuse("/data/mnist.npz", "unknown data source", "npz:PATH", "folder:PATH", "tfds:NAME")
    refuse("", "unknown data source ''", "npz:PATH")


def test_arguments_are_asked_for_and_refused():
    refuse("npz", "'npz' needs an argument", "write npz:PATH")
    refuse("folder:", "got 'folder:'", "write folder:PATH")
    refuse("tfds", "write tfds:NAME")
    refuse("digits:8x8", "takes no argument", "'digits:8x8'", "write digits")
