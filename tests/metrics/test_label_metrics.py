"""Label success against multisets of the standard library."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.metrics import hard, label_success


def counter_success(predicted, true):
    return (Counter(map(int, predicted)) & Counter(map(int, true))).total() / len(true)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_agrees_with_multisets(n, classes):
    rng = np.random.default_rng(n * classes)
    for _ in range(10):
        predicted, true = rng.integers(0, classes, (2, n))
        got = label_success(jnp.array(predicted), jnp.array(true))
        assert float(got) == pytest.approx(counter_success(predicted, true), abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], 1.0),
        ([2, 0, 1], [0, 1, 2], 1.0),
        ([3, 4, 5], [0, 1, 2], 0.0),
        ([1, 1, 1, 1], [1, 1, 2, 3], 0.5),
        ([1, 2, 3, 4], [1, 1, 1, 1], 0.25),
        ([-1, -1], [-1, 0], 0.0),  # -1 is no class
    ],
)
def test_hand_made_labels(predicted, true, expected):
    assert float(label_success(jnp.array(predicted), jnp.array(true))) == pytest.approx(expected)


def test_soft_labels_count_by_their_largest_entry():
    rng = np.random.default_rng(0)
    predicted, true = rng.dirichlet(np.ones(5), (2, 16)).astype(np.float32)
    expected = counter_success(predicted.argmax(1), true.argmax(1))
    assert 0 < expected < 1
    for one in (jnp.array(predicted), jnp.array(predicted.argmax(1))):
        for other in (jnp.array(true), jnp.array(true.argmax(1))):
            assert float(label_success(one, other)) == pytest.approx(expected)


def test_diverged_soft_labels_score_nothing():
    assert label_success(jnp.full((4, 3), jnp.nan), jnp.zeros(4, int)) == 0.0
    half = jnp.array([[jnp.nan, 0.0], [1.0, 0.0]])
    assert label_success(half, jnp.array([0, 0])) == 0.5


def test_jit_and_vmap_agree_with_the_plain_call():
    predicted, true = np.random.default_rng(1).integers(0, 4, (2, 20, 6))
    got = jax.jit(jax.vmap(label_success))(jnp.array(predicted), jnp.array(true))
    np.testing.assert_allclose(
        got, [counter_success(p, t) for p, t in zip(predicted, true, strict=True)], rtol=1e-6
    )


def test_hard_keeps_integers_and_takes_the_likeliest_class():
    y = jnp.array([4, 0])
    assert hard(y) is y
    soft = np.random.default_rng(0).dirichlet(np.ones(7), 9).astype(np.float32)
    np.testing.assert_array_equal(hard(jnp.array(soft)), soft.argmax(1))
    np.testing.assert_array_equal(hard(jax.nn.one_hot(y, 5)), y)
    assert jnp.issubdtype(hard(jnp.array(soft)).dtype, jnp.integer)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (jnp.zeros(3), r"got float32 \(3,\); cast hard labels to int$"),
        (jnp.zeros((3, 2), int), r"got int32 \(3, 2\); cast hard labels to int and soft labels to float"),
        (jnp.zeros((1, 3, 2)), r"got float32 \(1, 3, 2\)"),
    ],
)
def test_what_is_no_label_is_refused(y, message):
    with pytest.raises(InputError, match=message):
        hard(y)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (0, 0)])
def test_different_numbers_of_labels_are_refused(one, other):
    with pytest.raises(InputError, match=f"got {one} and {other}; give the labels of one batch"):
        label_success(jnp.zeros(one, int), jnp.zeros(other, int))
