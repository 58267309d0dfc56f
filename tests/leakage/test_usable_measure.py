"""Usable information as a measure: whose probes look at what, and what is told of single updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.leakage.measure import Sample
from jleak.leakage.usable.measure import usable_information

FILTERS = 32


@pytest.fixture(scope="module")
def sample():
    """A dense layer that says nothing, then a kernel of which one filter, any, shows a pattern of two."""
    random, m = np.random.default_rng(1), 200
    y = random.integers(0, 2, m)
    x = 0.1 * random.normal(size=(m, 4, FILTERS))
    pattern = np.array([[1, -1, 1, 1], [1, 1, -1, 1]])[y] * random.choice([-1, 1], (m, 1))
    x[np.arange(m), :, random.integers(0, FILTERS, m)] += pattern
    rows = random.normal(size=(m, 3)), x.reshape(m, 4 * FILTERS)
    split = np.arange(m) % 5 % 3
    images = jnp.zeros((m, 1, 2, 2, 1))
    rows = tuple(jnp.asarray(row, jnp.float32) for row in rows)
    return Sample(rows, images, y, split, split, (None, (2, 2, 1, FILTERS)))


def found(sample):
    measure = usable_information(family="conv", permutations=0)
    return jax.jit(lambda rows: measure.fn(jax.random.key(0), sample._replace(rows=rows)))(sample.rows)


def test_conv_probes_find_in_a_kernel_what_others_do_not(sample):
    """In their places: the dense layer, which comes first, and all layers together have mlp probes."""
    leak = found(sample)
    assert leak.layers["ratio"][1] > 0.9
    assert leak.layers["ratio"][0] < 0.1 and leak.whole["ratio"] < 0.3
    tests = (sample.split == 2).sum()
    assert leak.pvi.shape == (3, tests)
    raw = np.append(leak.layers["raw"], leak.whole["raw"])
    np.testing.assert_allclose(leak.pvi.mean(1), raw / np.log(2), atol=1e-5)
    assert leak.pvi[1].min() > 0.5  # of about a bit: every test update gives itself away


def test_conv_probes_need_a_kernel(sample):
    with pytest.raises(InputError, match="whose kernel slides over an image .* take family=mlp"):
        found(sample._replace(kernels=(None, None)))
