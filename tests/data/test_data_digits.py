"""`digits` against scikit-learn's own loader."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jleak.check import InputError
from jleak.data import digits

ROOT = Path(__file__).parents[2]


def test_equal_to_scikit_learn_exactly():
    truth = pytest.importorskip("sklearn.datasets").load_digits()
    images = digits()
    assert images.x.dtype == np.float32 and images.shape == (8, 8, 1)
    np.testing.assert_array_equal(images.x[..., 0], truth.images / 16)
    np.testing.assert_array_equal(images.labels, truth.target)
    assert images.class_names == tuple("0123456789") and images.name == "digits"


def test_imports_nothing_heavy():
    code = (
        "import sys; from jleak.data import load; load('digits'); "
        "print({'sklearn', 'PIL', 'tensorflow_datasets', 'tensorflow', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_scikit_learn_names_the_remedy(monkeypatch):
    monkeypatch.setattr(sys.modules["jleak.data.digits"], "find_spec", lambda name: None)
    with pytest.raises(InputError, match='digits.*pip install "scikit-learn"'):
        digits()
