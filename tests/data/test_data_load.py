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
    assert sorted(SOURCES) == ["by", "digits", "folder", "npz", "private", "public", "tfds"]


def test_a_path_may_hold_colons(tmp_path):
    np.savez(tmp_path / "a:b.npz", images=np.zeros((1, 2, 2), np.uint8), labels=[0])
    assert load(f"npz:{tmp_path}/a:b.npz").name == "a:b"


def test_the_halves_of_a_set_are_disjoint_and_stay(tmp_path):
    labels = np.arange(40) % 3
    np.savez(tmp_path / "a.npz", images=np.arange(40, dtype=np.uint8).reshape(-1, 1, 1), labels=labels)
    private, public = (load(f"{side}:npz:{tmp_path}/a.npz") for side in ("private", "public"))
    seen = [side.x.ravel().tolist() for side in (private, public)]
    assert sorted(seen[0] + seen[1]) == [*range(40)] and private.name == "a, private half"
    np.testing.assert_array_equal(public.labels, labels[seen[1]])
    assert seen[1] == [0, 1, 2, 3, 4, 5, 7, 10, 11, 12, 18, 20, 23, 24, 27, 29, 31, 33, 34]


def test_unknown_source_lists_the_known_and_the_nearest():
    refuse("dgits", "'dgits'", "did you mean 'digits'?", "digits, folder, npz, private, public, tfds")
    refuse("/data/mnist.npz", "unknown data source", "npz:PATH", "folder:PATH", "tfds:NAME")
    refuse("", "unknown data source ''", "npz:PATH")


def test_arguments_are_asked_for_and_refused():
    refuse("npz", "'npz' needs an argument", "write npz:PATH")
    refuse("folder:", "got 'folder:'", "write folder:PATH")
    refuse("tfds", "write tfds:NAME")
    refuse("private", "write private:SPEC")
    refuse("public:dgits", "did you mean 'digits'?")
    refuse("digits:8x8", "takes no argument", "'digits:8x8'", "write digits")
