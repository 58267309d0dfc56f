"""The loss that an attack returns is its paper's objective, by an oracle in NumPy."""

import jax
import numpy as np
import pytest
from attacking import KEYS, LINES, every_attack, settings

from jleak.catalog import ATTACKS


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def gradient(params, x, y):
    """The perceptron's gradient of the mean cross entropy, by hand, in double precision, as one vector."""
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params["params"])
    x, n = np.asarray(x, np.float64).reshape(len(x), -1), len(x)
    y = np.eye(10)[np.asarray(y)] if np.ndim(y) == 1 else np.asarray(y, np.float64)
    h = sigmoid(x @ w["dense0"]["kernel"] + w["dense0"]["bias"])
    logits = h @ w["head"]["kernel"] + w["head"]["bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    d_logits = (p / p.sum(1, keepdims=True) - y) / n
    d_h = d_logits @ w["head"]["kernel"].T * h * (1 - h)
    tree = {
        "dense0": {"kernel": x.T @ d_h, "bias": d_h.sum(0)},
        "head": {"kernel": h.T @ d_logits, "bias": d_logits.sum(0)},
    }
    return flat(tree)


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(u, np.float64)) for u in jax.tree.leaves(tree)])


def test_the_oracle_of_the_gradient_is_the_clients(small):
    case = small(3)
    np.testing.assert_allclose(
        gradient(case.params, *case.batch), flat(case.view.update), rtol=1e-4, atol=1e-7
    )


@every_attack
@pytest.mark.parametrize("granted", [False, True], ids=["own labels", "granted labels"])
def test_loss_is_the_papers_objective_at_what_is_returned(name, granted, small):
    """And granted labels are taken as they are, even wrong ones."""
    line = LINES[name]
    case = small(line.most or 2)
    wrong = (case.batch.y + 1) % 10
    view = case.view._replace(labels=wrong if granted else None)
    attack = ATTACKS[name](case.threat, **settings(name, 3, optim="adam"))
    recs = jax.jit(jax.vmap(attack, (0, None)))(KEYS, view)
    for x, y, loss in zip(recs.x, recs.y, recs.loss, strict=True):
        if granted:
            np.testing.assert_array_equal(y, wrong)
        elif y.ndim == 2:
            np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
        wanted = recomputed(line, case, view, x, y)
        assert wanted > 1e-3 or line.closed  # early enough for the tolerance to mean something
        np.testing.assert_allclose(loss, wanted, rtol=1e-4, atol=1e-5 if line.closed else 0)


@every_attack
def test_loss_is_the_objective_also_after_all_steps(name, run, victim):
    """With the paper's optimiser, which evaluates points on the way that it does not keep."""
    recs = run(name).recs
    for x, y, loss in zip(recs.x, recs.y, recs.loss, strict=True):
        np.testing.assert_allclose(
            loss, recomputed(LINES[name], victim, victim.view, x, y), rtol=1e-2, atol=1e-6
        )


def recomputed(line, case, view, x, y):
    return line.objective(gradient(case.params, x, y), flat(view.update), np.asarray(x, np.float64))
