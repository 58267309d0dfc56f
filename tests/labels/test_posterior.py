"""The posterior of the shares: against closed forms in float64 NumPy, and on models that are calibrated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.labels import posterior as parts
from jleak.labels.posterior import Classes, balanced, posterior, response

N = 5


def found(p, w=None, part=0.0, doubt=0.0):
    """Classes whose images all have the probabilities p, (class, class)."""
    n = len(p)
    w = np.full(n, 1 / n) if w is None else w
    return Classes(
        jnp.asarray(w, jnp.float32),
        jnp.asarray(p, jnp.float32)[:, None],
        jnp.full(n, part),
        doubt * (jnp.eye(n) - 1 / n),
    )


def test_without_noise_and_doubt_it_is_the_exact_inversion():
    """Probabilities that do not depend on the class, an untrained model's: the shares are p - db."""
    p = np.array([0.6, 0.2, 0.1, 0.1, 0.0])
    w = np.array([0.5, 0.0, 0.25, 0.0, 0.25])
    shares = posterior(jnp.asarray(p - w), jnp.array(0.0), found(np.tile(p, (N, 1)), w), 8)
    np.testing.assert_allclose(shares, w, atol=1e-3)


def test_noise_draws_to_the_prior_by_the_gain_of_least_squares(monkeypatch):
    """One width of the prior: t C (t C + noise)^-1, C = 1 / (n N)."""
    monkeypatch.setattr(parts, "PRIORS", 1)
    w, total, noise = np.array([0.4, 0.3, 0.1, 0.1, 0.1]), 20, 0.02
    shares = posterior(jnp.asarray(1 / N - w), jnp.array(noise), found(np.full((N, N), 1 / N)), total)
    c = 1 / (N * total)
    np.testing.assert_allclose(shares, 1 / N + c / (c + noise) * (w - 1 / N), atol=1e-4)


def test_many_labels_of_one_class_widen_the_prior():
    """The same noise, shares far from uniform: they keep nearly all of their distance."""
    w = np.array([0.8, 0.2, 0.0, 0.0, 0.0])
    shares = posterior(jnp.asarray(1 / N - w), jnp.array(1e-4), found(np.full((N, N), 1 / N)), 100)
    assert shares[0] > 0.75


def test_a_shift_of_all_logits_is_not_taken_for_shares():
    """A calibrated model whose logits a last step of training has shifted, 100 uniform labels a batch.

    Of the shares by the inversion and those with the doubt, from the same db, the latter are nearer
    by a fifth.
    """
    rng, total = np.random.default_rng(0), 100
    p = 0.5 * np.eye(N) + 0.5 / N
    estimate = jax.jit(functools.partial(posterior, noise=jnp.array(0.0), total=total))
    errors = []
    for _ in range(50):
        w = np.bincount(rng.integers(0, N, total), minlength=N) / total
        shift = rng.normal(0, 0.3, N)
        moved = p * np.exp(shift)
        moved /= moved.sum(1, keepdims=True)
        db = jnp.asarray(w @ moved - w, jnp.float32)
        estimates = (estimate(db, found=found(p, **doubts)) for doubts in ({}, {"part": 1.0, "doubt": 0.09}))
        errors.append([np.linalg.norm(e - w) for e in estimates])
    inverted, believed = np.mean(errors, 0)
    assert believed < 0.82 * inverted


def test_balance_shows_a_shift_where_every_class_is_in_the_batch():
    """Logits that lean to class 0 in all classes: the shift leans the other way, if it may be so large."""
    n = 10
    lean = np.tile([0.4, *[0.6 / (n - 1)] * (n - 1)], (n, 1))
    shift = balanced(found(lean, part=1.0, doubt=1.0), 4000)[0]
    assert shift[0] < -0.5 < 0 < shift[1]
    for part, doubt in ((0.0, 1.0), (1.0, 1e-4)):  # no common features; an untrained model
        np.testing.assert_allclose(balanced(found(lean, part=part, doubt=doubt), 4000)[0], 0, atol=1e-3)


def test_a_chance_lean_of_two_classes_is_no_sign_of_balance():
    """Of ten classes that lean so little it is: the doubt falls; of two it stays."""
    told = {}
    for n in (2, 10):
        classes = found(np.full((n, n), 1 / n), part=1.0, doubt=1.0)
        told[n] = float(jnp.trace(balanced(classes, 128)[1]) / jnp.trace(classes.doubt))
    assert told[2] > 0.9 and told[10] < 0.1


def test_the_response_is_the_derivative_of_the_mean_probabilities():
    z = jax.random.normal(jax.random.key(0), (N, 4, N))
    weights = jnp.arange(1.0, N + 1)
    slope = jax.jacobian(lambda eta: weights @ jax.nn.softmax(z + eta).mean(1))(jnp.zeros(N))
    np.testing.assert_allclose(response(weights, jax.nn.softmax(z)), slope, atol=1e-5)


@pytest.mark.parametrize("k", range(2))
def test_a_class_of_which_the_model_is_certain_does_not_take_all(k):
    """P_kk = 1 leaves its share open; db that do not quite fit may not blow it up."""
    p = 0.3 * np.eye(N) + 0.7 / N
    p[k] = np.eye(N)[k]
    w = np.full(N, 1 / N)
    db = jnp.asarray(w @ p - w + 0.05 * (1 / N - np.eye(N)[k]), jnp.float32)
    assert posterior(db, jnp.array(0.0), found(p, w), 10)[k] < 0.8
