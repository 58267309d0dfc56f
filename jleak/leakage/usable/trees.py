"""Boosted trees, calibrated: the family of an attacker who does not train networks. On the host."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jleak.check import number, whole
from jleak.leakage.usable.families import Family
from jleak.leakage.usable.rows import members, stacked

SLOPES = np.linspace(0, 1.5, 31)
"""How much of what the trees say counts; 0 leaves the frequencies of the training rows."""

LEAST = 1e-6
"""Of a probability."""


def boosted_trees(*, rounds: int = 60, lr: float = 0.1, leaves: int = 15) -> Family:
    """Gradient-boosted decision trees (scikit-learn's HistGradientBoostingClassifier), calibrated.

    As many rounds, and as much of their log-odds against the training frequencies, as score best on the
    validation rows: log p = log p_0 + s (log f - log p_0) + const, s in [0, 1.5], a temperature (Guo et al.,
    ICML 2017) that tempers towards p_0. Runs on the host, one training after the other; cannot be traced.

    Args:
      rounds: of boosting, at most.
      lr: shrinkage of each.
      leaves: of a tree, at most.

    Raises:
      InputError: a number out of bounds.

    >>> rows, y = {"head": jnp.arange(300.0)[:, None]}, jnp.arange(300) // 50 % 2
    >>> family, split = boosted_trees(rounds=10), np.arange(300) % 5 % 3
    >>> found = family.predict(jax.random.key(0), family.stack(rows, split), y[None], split, 2, 1)
    >>> found.shape, bool((found.argmax(-1) == y).mean() > 0.9)
    ((1, 1, 1, 300, 2), True)
    """
    whole("rounds", rounds)
    number("lr", lr, above=0)
    whole("leaves", leaves, least=2)

    def predict(key, x, tasks, split, classes, seeds):
        from threadpoolctl import threadpool_limits  # scikit-learn's own dependency

        x, tasks = np.asarray(x), np.asarray(tasks)
        bits = np.asarray(jax.random.bits(key, (seeds,), "uint32"))
        options = {"max_iter": rounds, "learning_rate": lr, "max_leaf_nodes": leaves}
        with threadpool_limits(1, user_api="openmp"):  # for some hundred rows, threads only wait for others
            found = [
                [[_fitted(layer, y, split, classes, int(seed), options) for seed in bits] for y in tasks]
                for layer in x
            ]
        return jnp.asarray(np.array(found, np.float32))

    return Family(stacked, predict)


def _fitted(
    x: Float[np.ndarray, "m k"], y: np.ndarray, split: np.ndarray, classes: int, seed: int, options: dict
) -> Float[np.ndarray, "m classes"]:
    """Log-probabilities of all rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    train, validation, _ = members(split)
    x = x[:, np.ptp(x[train], axis=0) > 0]
    base = np.bincount(y[train], minlength=classes) / len(train)
    base = np.log(np.maximum(base, LEAST))
    if not x.shape[1]:
        return np.tile(base, (len(x), 1))
    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **options)
    trees.fit(x[train], y[train])
    best, chosen = np.inf, None
    for probabilities in trees.staged_predict_proba(x):
        full = np.full((len(x), classes), LEAST)
        full[:, trees.classes_] = probabilities
        gain = np.log(np.maximum(full, LEAST)) - base
        tempered = base + SLOPES[:, None, None] * gain[validation]
        tempered -= np.logaddexp.reduce(tempered, axis=2, keepdims=True)
        losses = -tempered[:, np.arange(len(validation)), y[validation]].mean(1)
        if losses.min() < best:
            best, chosen = losses.min(), base + SLOPES[losses.argmin()] * gain
    return chosen - np.logaddexp.reduce(chosen, axis=1, keepdims=True)
