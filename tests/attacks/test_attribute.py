"""Attribute inference: probes trained on the attacker's own updates find the attribute in the victims'."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks.attribute import attribute
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage.layers import by_layer, layer_names
from jleak.leakage.usable import draws, logistic, mlp
from jleak.losses import cross_entropy
from jleak.metrics.attributes import accuracy, auc
from jleak.models import mlp as model_of
from jleak.types import Batch

pytestmark = pytest.mark.xdist_group("attribute")  # one worker: what is found once serves all
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def case(digits):
    """Batches of eight digits, thick or thin for their class; the test split is the victims."""
    ink = digits.x.reshape(digits.size, -1).mean(1)
    middle = np.array([np.median(ink[digits.labels == c]) for c in range(10)])
    thick = (ink > middle[digits.labels]).astype(int)
    found = draws(KEY, digits.labels, thick, count=400, n=8)
    model = model_of(digits.shape, 10, hidden=32)
    params, client, names = model.init(KEY), fedsgd(model, cross_entropy), layer_names(model)

    def update(x, y):
        return by_layer(names, client(KEY, params, Batch(x, y)))

    x, y = jnp.asarray(digits.x), jnp.asarray(digits.labels)
    layers = jax.jit(jax.vmap(update))(x[found.picks], y[found.picks])
    rows = dict(zip(names, layers, strict=True))
    own = found.split < 2
    known, victims = ({name: part[where] for name, part in rows.items()} for where in (own, ~own))
    return known, found.value[own], victims, found.value[~own], found.split[own]


@pytest.fixture(scope="module")
def found(case):
    known, y, victims, _, split = case
    return attribute(KEY, known, y, victims, split=split, seeds=1, k=128)


def test_the_attribute_is_found_in_each_layer_and_in_all(case, found):
    """80 victims: 0.5 by guessing, whose 95 % interval ends at 0.61."""
    truth = case[3]
    assert found.names == ("dense0", "head", "all")
    right = [float(accuracy(guess, truth).value) for guess in found.guess]
    assert min(right) > 0.66
    assert min(auc(layer[:, 1], truth).low for layer in found.probabilities) > 0.6


def test_probabilities_are_probabilities(case, found):
    assert found.probabilities.shape == (3, len(case[3]), 2)
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.guess, found.probabilities.argmax(-1))


def test_what_was_learnt_with_labels_turned_finds_them_turned(case, found):
    known, y, victims, _, split = case
    turned = attribute(KEY, known, 1 - y, victims, split=split, seeds=1, k=128)
    assert (turned.guess == 1 - found.guess).mean() > 0.95


def test_each_victim_is_judged_by_itself(case, found):
    """No truth is an argument, and what stands beside a victim does not matter."""
    known, y, victims, _, split = case
    assert not {"truth", "true", "batch"} & set(inspect.signature(attribute).parameters)
    few = {name: rows[:7] for name, rows in victims.items()}
    alone = attribute(KEY, known, y, few, split=split, seeds=1, k=128)
    np.testing.assert_allclose(alone.probabilities, found.probabilities[:, :7], atol=1e-3)


def test_updates_that_say_nothing_leave_the_frequencies():
    y = np.arange(80) % 4 // 3  # a quarter has it
    noise = jax.random.normal(KEY, (84, 6))
    found = attribute(KEY, {"head": 0 * noise[:80]}, y, {"head": noise[80:]}, family=logistic(steps=20))
    np.testing.assert_allclose(found.probabilities[..., 1], 0.25, atol=0.05)


def test_three_values_and_another_family():
    y = np.arange(120) % 3
    rows = jnp.eye(3)[y] + 0.1 * jax.random.normal(KEY, (120, 3))
    family = mlp(hidden=(8,), lr=0.02, steps=100)
    found = attribute(KEY, {"head": rows}, y, {"head": jnp.eye(3)}, family=family, seeds=2)
    assert found.guess.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"victims": {"tail": jnp.ones((2, 3))}},
            "must have the same layers.*take both from updates of one model",
        ),
        ({"victims": {"head": jnp.ones((2, 4))}}, "must have the same layers"),
        ({"y": np.zeros(20, int)}, "y must take two values at least"),
        ({"y": np.ones(20, int)}, "got none of value 0"),
        ({"y": np.arange(19) % 2}, "one row an update, 21 by split, got"),
        ({"split": np.zeros(20, int)}, "there is none for validation"),
        ({"holdout": 1.0}, "holdout must be < 1"),
        ({"seeds": 0}, "seeds must be >= 1"),
        ({"k": 0}, "k must be >= 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "known": {"head": jnp.ones((20, 3))},
        "y": np.arange(20) % 2,
        "victims": {"head": jnp.ones((2, 3))},
    }
    with pytest.raises(InputError, match=message):
        attribute(KEY, **{**good, **change})
