"""Which labels de-mixing takes: the first that explain the gradient, and no dearer ones than it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks.demixing import Recovery, Status, recover
from jleak.attacks.demixing.recover import retried, second
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch, Threat, View


def names(status):
    return {Status(int(one)).name for one in np.ravel(status)}


def fallback(first, truth, counted):
    """`retried` of two batches of two images: labels are explained where they are the truth's."""

    def solve(y):
        right = (y == truth).all()
        status = jnp.where(right, Status.PROVEN, Status.APPROXIMATE)
        found = Recovery(
            jnp.zeros((2, 3)), y, jnp.where(right, 0.0, 1.0), jnp.zeros(2), jnp.zeros(2), jnp.full(2, status)
        )
        return found, counted

    return solve, solve(first)[0]


@pytest.mark.parametrize(("other", "wanted"), [([1, 3], [1, 3]), ([2, 2], [1, 3]), (None, [1, 3])])
def test_labels_that_explain_nothing_are_replaced_by_others_and_then_by_counted_ones(other, wanted):
    """Right at once, or by the other step, or by counting anew: whichever explains the gradient is kept."""
    truth, counted = jnp.array([1, 3]), jnp.array([0.1, 0.9, 0.0, 1.0])

    def run(first):
        solve, found = fallback(first, truth, counted)
        ask = None if other is None else lambda found: jnp.array(other)
        return retried(solve, found, counted, ask, 1)

    found = jax.jit(jax.vmap(run))(jnp.array([[0, 2], [1, 3]]))
    np.testing.assert_array_equal(found.y, [wanted, [1, 3]])
    assert names(found.status) == {"PROVEN"}


def test_where_no_labels_explain_the_gradient_those_of_least_residual_stay():
    solve, found = fallback(jnp.array([0, 2]), jnp.array([9, 9]), None)
    found = retried(solve, found, None, lambda found: jnp.array([1, 1]), 1)
    assert found.y.tolist() == [0, 2] and names(found.status) == {"APPROXIMATE"}


@pytest.mark.parametrize(("status", "asked"), [(Status.PROVEN, 0), (Status.APPROXIMATE, 1)])
def test_the_second_label_step_runs_only_where_it_is_needed(status, asked):
    """It depends on the update alone, so the compiler could take it out of the loop."""
    calls = []

    def last(key, view):
        def count(w):
            calls.append(w)
            return np.array([1, 1], np.int32)

        return jax.pure_callback(count, jax.ShapeDtypeStruct((2,), jnp.int32), view.update["w"])

    def run(w, statuses):
        found = Recovery(w, jnp.array([0, 2]), w[0], w, w, statuses)
        return second(last, jax.random.key(0), View(None, {"w": w}), found)

    y = jax.jit(run)(jnp.zeros(2), jnp.full(2, status))
    assert y.tolist() == ([1, 1] if asked else [0, 2]) and len(calls) == asked


def test_the_default_labels_fall_back_on_a_model_that_is_sure_of_itself():
    """Large weights: counting by the bias gradient is wrong there, de-mixed counts are right."""
    model = mlp((6, 6, 1), 10, hidden=32)
    client = fedsgd(model, cross_entropy)
    params = jax.tree.map(lambda u: 4.0 * u, model.init(jax.random.key(5)))
    x = jax.random.uniform(jax.random.key(1), (8, 4, 6, 6, 1))
    y = jnp.stack([jax.random.permutation(jax.random.key(v), 10)[:4].sort() for v in range(8)])
    updates = jax.vmap(client, (None, None, 0))(jax.random.key(2), params, Batch(x, y))
    threat = Threat(client=client, model=model, batch=4)
    found = {
        labels: jax.jit(jax.vmap(recover(threat, labels=labels, starts=1, rounds=0), (None, View(None, 0))))(
            jax.random.key(3), View(params, updates)
        )
        for labels in ("counts", "demix", "auto")
    }
    right = {labels: (one.status == Status.PROVEN).all(1).sum() for labels, one in found.items()}
    assert right["auto"] >= max(right["counts"], right["demix"]) and right["counts"] < right["auto"]
