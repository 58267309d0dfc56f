"""A step of training against optax and NumPy, and pieces of a training against the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak import models
from jleak.check import InputError
from jleak.losses import cross_entropy
from jleak.training import Pool, augmented, begun, judging, order, piece, transformation

SIZE, BATCH = 12, 4
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def pool():
    x = jax.random.randint(KEY, (SIZE, 4, 4, 1), 0, 256).astype(jnp.uint8)
    return Pool(x, jnp.arange(SIZE) % 3)


@functools.cache
def setting(augment=False):
    """An MLP, its state, and its program."""
    model = models.mlp((4, 4, 1), 3, hidden=5)
    tx = transformation("sgd", lr=0.1, schedule="cosine", steps=10, weight_decay=0.01)
    return model, begun(tx, model.init(KEY)), jax.jit(piece(model, cross_entropy, tx, augment=augment))


def equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_steps_are_those_of_sgd_with_momentum(pool):
    """w <- w - lr_t m, m <- 0.9 m + g + wd w, written out."""
    model, state, program = setting()
    rows = order(KEY, SIZE, BATCH, 0, 4)
    found, losses, finite = program(state, KEY, pool, rows, jnp.asarray(4))
    w, m = state.params["params"], jax.tree.map(jnp.zeros_like, state.params["params"])
    for t, row in enumerate(rows):
        x, y = pool.x[row] / 255.0, pool.y[row]
        value, g = jax.value_and_grad(lambda w, x=x, y=y: cross_entropy(model.apply({"params": w}, x), y))(w)
        np.testing.assert_allclose(losses[t], value, rtol=1e-5)
        m = jax.tree.map(lambda m, g, w: 0.9 * m + g + 0.01 * w, m, g, w)
        w = jax.tree.map(lambda w, m, t=t: w - 0.05 * (1 + np.cos(np.pi * t / 10)) * m, w, m)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found.params["params"], w)
    assert bool(finite) and int(found.step) == 4


@pytest.mark.parametrize("augment", [False, True])
def test_pieces_are_the_whole_to_the_bit(pool, augment):
    _, state, program = setting(augment)
    whole, losses, _ = program(state, KEY, pool, order(KEY, SIZE, BATCH, 0, 4), jnp.asarray(4))
    now, parts = state, []
    for start, stop in ((0, 1), (1, 3), (3, 4)):
        now, found, _ = program(now, KEY, pool, order(KEY, SIZE, BATCH, start, 4), jnp.asarray(stop))
        assert not np.asarray(found[stop - start :]).any()
        parts.append(found[: stop - start])
    equal(now, whole)
    np.testing.assert_array_equal(np.concatenate(parts), losses)


def test_what_is_not_finite_is_told(pool):
    model, state, program = setting()
    rows = order(KEY, SIZE, BATCH, 0, 4)
    params = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), state.params)
    assert not bool(program(state._replace(params=params), KEY, pool, rows, jnp.asarray(4))[2])


def test_running_statistics_follow_those_of_the_batch(normed):
    model = normed((4, 4, 1), 3, batchnorm="batch")
    x = jax.random.uniform(KEY, (BATCH, 4, 4, 1))
    tx = transformation("sgd", lr=0.1, schedule="constant", steps=1)
    state = begun(tx, model.init(KEY))
    program = jax.jit(piece(model, cross_entropy, tx))
    rows = jnp.arange(BATCH)[None]
    found = program(state, KEY, Pool(x, jnp.arange(BATCH) % 3), rows, jnp.asarray(1))[0].params
    now = model.statistics(state.params, x)
    for new, old, batch in zip(
        *map(jax.tree.leaves, (found["batch_stats"], state.params["batch_stats"], now)), strict=True
    ):
        np.testing.assert_allclose(new, 0.9 * old + 0.1 * batch, rtol=1e-4, atol=1e-6)
    assert float(jax.tree.leaves(now)[0].std()) > 0.01  # there is something to follow
    assert jax.tree.structure(found) == jax.tree.structure(state.params)


def test_an_epoch_takes_every_image_once():
    rows = order(KEY, 10, 3, 0, 6)
    for epoch in (rows[:3], rows[3:]):
        assert len({*epoch.ravel().tolist()}) == 9
    assert rows[:3].tolist() != rows[3:].tolist()
    np.testing.assert_array_equal(order(KEY, 10, 3, 2, 3), rows[2:5])
    with pytest.raises(InputError, match="batch must be <= 10, the images to train on, got batch=11"):
        order(KEY, 10, 11, 0, 1)


def test_augmentation_mirrors_and_shifts():
    x = jax.random.uniform(KEY, (64, 16, 16, 1)) + 0.1
    found = np.asarray(augmented(KEY, x))[..., 0]
    seen = set()
    for image, made in zip(np.asarray(x)[..., 0], found, strict=True):
        framed = {mirror: np.pad(image[:, ::mirror], 2) for mirror in (1, -1)}
        (how,) = (
            (mirror, i, j)
            for mirror in (1, -1)
            for i in range(5)
            for j in range(5)
            if np.array_equal(made, framed[mirror][i : i + 16, j : j + 16])
        )
        seen.add(how)
    for axis, values in enumerate(((1, -1), range(5), range(5))):
        assert {how[axis] for how in seen} == set(values)
    tiny = jnp.arange(2.0)[None, None, :, None]
    assert {tuple(augmented(jax.random.key(s), tiny).ravel().tolist()) for s in range(8)} == {(0, 1), (1, 0)}


def test_judging_counts(pool):
    model, state, _ = setting()
    right, loss = judging(model, cross_entropy)(state.params, pool, jnp.arange(SIZE))
    logits = model.apply(state.params, pool.x / 255.0)
    np.testing.assert_array_equal(right, logits.argmax(-1) == pool.y)
    np.testing.assert_allclose(loss.mean(), cross_entropy(logits, pool.y), rtol=1e-5)


def test_bad_settings_are_refused():
    good = {"lr": 0.1, "schedule": "constant", "steps": 1}
    for name, fields, message in (
        ("lbfgs", {}, "'lbfgs' needs one fixed loss.* use adam"),
        ("adm", {}, "did you mean 'adam'"),
        ("adam", {"lr": 0.0}, "lr must be > 0"),
        ("adam", {"schedule": "cos"}, "did you mean 'cosine'"),
        ("adam", {"weight_decay": -1.0}, "weight_decay must be >= 0"),
    ):
        with pytest.raises(InputError, match=message):
            transformation(name, **good | fields)
    assert isinstance(transformation("lion", **good), optax.GradientTransformation)
