"""What is put before and after an optimiser, and learning rate schedules, against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jleak.check import InputError
from jleak.search import SCHEDULES, langevin, optimizer, schedule, soft_sign

GRADS = jnp.array([1e-3, -0.5, 4.0, 0.0])


def moves_of(tx, n, grads=GRADS, **extra):
    """The updates of n steps."""

    def step(state, t):
        keys = {name: jax.random.fold_in(key, t) for name, key in extra.items()}
        move, state = tx.update(grads, state, grads, **keys)
        return state, move

    return np.asarray(jax.lax.scan(step, tx.init(grads), jnp.arange(n))[1])


def test_soft_sign_agrees_with_its_formula_in_every_step_and_beyond():
    got = moves_of(soft_sign(8), 10)
    s = np.maximum(1 - np.arange(10) / 8, 1 / 8)[:, None]
    np.testing.assert_allclose(got, np.tanh(s * np.asarray(GRADS, np.float64)) / s, rtol=1e-5, atol=1e-9)


def test_a_soft_sign_feeds_the_optimiser():
    got = moves_of(optimizer("sgd", 1.0, sign="soft", steps=4), 1)
    np.testing.assert_allclose(got[0], -np.tanh(GRADS), rtol=1e-5)
    hard = moves_of(optimizer("sgd", 1.0, sign="hard"), 1)
    np.testing.assert_array_equal(hard[0], -np.sign(GRADS))
    np.testing.assert_array_equal(moves_of(optimizer("sgd", 1.0), 1)[0], -GRADS)


def test_langevin_adds_noise_at_its_scale_that_follows_the_schedule():
    point = {"x": jnp.zeros((40, 50)), "y": jnp.zeros(30)}
    tx = langevin(0.2, optax.piecewise_constant_schedule(1.0, {1: 0.1}))
    state = tx.init(point)
    for t, lr in enumerate((1.0, 0.1)):
        moves, state = tx.update(point, state, key=jax.random.key(t))
        drawn = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(moves)])
        assert stats.kstest(drawn, stats.norm(0, 0.2 * lr).cdf).pvalue > 1e-3
        for factor in (2 / 3, 3 / 2):
            assert stats.kstest(drawn, stats.norm(0, factor * 0.2 * lr).cdf).pvalue < 1e-6


def test_langevin_noise_is_that_of_the_key_and_comes_after_the_optimiser():
    tx = optimizer("sgd", 0.5, sign="hard", noise=0.1)
    keys = [jax.random.key(s) for s in (0, 0, 1)]
    one, again, other = (moves_of(tx, 3, key=key) for key in keys)
    np.testing.assert_array_equal(one, again)
    assert np.all(one != other) and np.all(one[0] != one[1])
    plain = moves_of(optimizer("sgd", 0.5, sign="hard"), 3)
    np.testing.assert_array_less(np.abs(one - plain), 0.5 * 0.1 * 6)
    lanes = jax.vmap(lambda key: tx.update(GRADS, tx.init(GRADS), GRADS, key=key)[0])(jnp.stack(keys))
    assert np.all(lanes[0] == lanes[1]) and np.all(lanes[0] != lanes[2])


def test_without_noise_no_key_is_asked_for_and_with_it_one_must_be_given():
    assert np.all(moves_of(optimizer("adam", 0.1, noise=0.0), 1, key=jax.random.key(0))[0][:3] != 0)
    tx = optimizer("adam", 0.1, noise=0.2)
    with pytest.raises(InputError, match=r"call update\(..., key=\) with a fresh key"):
        tx.update(GRADS, tx.init(GRADS), GRADS)


def test_line_searches_stand_beside_noise():
    point = jnp.array([2.0, -1.0])

    def value(p):
        return jnp.sum(p**2)

    grad = jax.grad(value)(point)
    how = {"key": jax.random.key(0), "value": value(point), "grad": grad, "value_fn": value}
    plain, noisy = (optimizer("lbfgs", 1.0, noise=noise) for noise in (None, 0.01))
    apart = noisy.update(grad, noisy.init(point), point, **how)[0]
    apart -= plain.update(grad, plain.init(point), point, **how)[0]
    drawn = langevin(0.01, 1.0).update(0 * point, noisy.init(point)[-1], key=how["key"])[0]
    np.testing.assert_allclose(apart, drawn, atol=1e-6)
    assert np.all(apart != 0)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_schedules_agree_with_their_formulas(name, warmup):
    steps, t = 40, np.arange(40)
    decay = {
        "constant": np.ones(40),
        "cosine": (1 + np.cos(np.pi * t / steps)) / 2,
        "step_decay": 0.1 ** sum((t >= steps * k // 8).astype(float) for k in (3, 5, 7)),
    }[name]
    wanted = 0.3 * decay * (np.minimum(1, (t + 1) / warmup) if warmup else 1)
    got = jax.vmap(lambda lr: jax.vmap(schedule(name, lr, steps, warmup=warmup))(jnp.arange(40)))
    np.testing.assert_allclose(got(jnp.array([0.3, 0.6])), [wanted, 2 * wanted], rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizer("adam", 0.1, sign="softly"), "unknown sign 'softly'; did you mean 'soft'"),
        (lambda: optimizer("adam", 0.1, sign="soft"), "give steps="),
        (lambda: optimizer("adam", 0.1, noise=-1.0), "noise must be >= 0"),
        (lambda: soft_sign(0), "steps must be >= 1"),
        (lambda: schedule("cosin", 0.1, 10), "unknown schedule 'cosin'; did you mean 'cosine'"),
        (lambda: schedule("cosine", 0.1, 0), "steps must be >= 1"),
        (lambda: schedule("cosine", 0.1, 10, warmup=-1), "warmup must be >= 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_lbfgs_takes_the_first_value_of_a_schedule():
    point, grad = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])

    def first(lr):
        tx = optimizer("lbfgs", lr)
        known = {"value": jnp.array(1.0), "grad": grad}
        return tx.update(grad, tx.init(point), point, **known)[0]

    np.testing.assert_array_equal(first(schedule("cosine", 0.1, 7)), first(0.1))
    assert not np.array_equal(first(0.2), first(0.1))
