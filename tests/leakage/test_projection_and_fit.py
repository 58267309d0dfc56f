"""Sketches, components and the training of probes: what all measures that learn from updates rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak.check import InputError
from jleak.leakage.fit import fit
from jleak.leakage.layers import by_layer
from jleak.leakage.projection import components, sketch
from jleak.models.perceptron import perceptron

RNG = np.random.default_rng(0)


def test_a_sketch_keeps_inner_products_in_the_mean():
    """Over keys: unbiased, with a variance of at most (|u|^2 |v|^2 + <u, v>^2) / k."""
    u, v = (jnp.asarray(RNG.normal(size=300) + 0.3, jnp.float32) for _ in range(2))
    keys = jax.random.split(jax.random.key(0), 2000)
    k = 32
    found = jax.vmap(lambda key: sketch(key, u, k) @ sketch(key, v, k))(keys)
    most = np.sqrt(float(((u @ u) * (v @ v) + (u @ v) ** 2) / k))
    assert abs(found.mean() - u @ v) < 4 * most / np.sqrt(2000)
    assert 0.7 * most < found.std() < 1.1 * most


def test_short_vectors_are_not_sketched():
    v = jnp.arange(3.0)
    assert sketch(jax.random.key(0), v, 5).tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("shape", [(50, 6), (6, 50)])
def test_components_are_those_of_numpy(shape):
    rows = RNG.normal(size=shape).astype(np.float32) * np.linspace(1, 3, shape[1], dtype=np.float32)
    found = components(jnp.asarray(rows), 3)
    apart = rows - rows.mean(0)
    _, sizes, axes = np.linalg.svd(apart.astype(float), full_matrices=False)
    given = np.asarray(found.apply(rows))
    np.testing.assert_allclose(
        np.abs(given), np.abs(apart @ axes[:3].T) * np.sqrt(shape[0]) / sizes[:3], atol=2e-3
    )
    np.testing.assert_allclose(found.explained, (sizes[:3] ** 2).sum() / (sizes**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(given.std(0), 1, rtol=1e-3)


def test_directions_that_do_not_vary_are_left_at_0():
    rows = np.outer(RNG.normal(size=20), [1.0, 2.0, 0.0]).astype(np.float32)
    found = components(jnp.asarray(rows), 3)
    assert np.abs(found.axes[1:]).max() == 0 and found.explained > 0.9999
    still = components(jnp.ones((4, 3)), 2)
    assert not np.asarray(still.axes).any() and still.explained == 1


def test_the_best_by_the_score_is_kept():
    """The loss leads from 0 to 3, the score is lowest at 1."""
    found = fit(
        jax.random.key(0), jnp.zeros(()), lambda key, w, m: ((w - 3) ** 2, m), lambda w: (w - 1) ** 2,
        optimizer=optax.sgd(0.02), steps=200, every=1,
    )  # fmt: skip
    assert abs(found.params - 1) < 0.1 and abs(found.score - (found.params - 1) ** 2) < 1e-6


def test_a_training_that_diverges_keeps_its_beginning():
    found = fit(
        jax.random.key(0), jnp.ones(()), lambda key, w, m: (w**4, m), lambda w: w,
        optimizer=optax.sgd(100.0), steps=20, every=5,
    )  # fmt: skip
    assert np.isfinite(found.params) and np.isfinite(found.score)


def test_the_memory_goes_from_step_to_step_and_lanes_train_alone():
    def loss(key, w, count):
        return w * count, count + 1  # slopes 1, 2, 3, ...

    def trained(key):
        return fit(
            key,
            jnp.zeros(()),
            loss,
            lambda w: w,
            optimizer=optax.sgd(1.0),
            steps=4,
            every=4,
            memory=jnp.ones(()),
        )

    found = jax.vmap(trained)(jax.random.split(jax.random.key(0), 3))
    assert found.params.tolist() == [-10.0] * 3 and found.step.tolist() == [4] * 3


def test_layers_of_blocks_have_their_paths():
    update = {
        "block": {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}},
        "head": {"kernel": jnp.ones(3)},
    }
    assert [len(part) for part in by_layer(("block/conv", "head"), update)] == [6, 3]
    with pytest.raises(InputError, match="the update has no layer 'block/pool'; name those of its own model"):
        by_layer(("block/pool",), update)


def test_a_perceptron_without_hidden_layers_is_affine():
    net = perceptron(3, 2)
    params = net.init(jax.random.key(0))
    x = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    middle = net.apply(params, (x[:1] + x[1:2]) / 2)
    np.testing.assert_allclose(middle[0], (net.apply(params, x)[:2]).mean(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"hidden": (0,)}, "hidden must be >= 1"), ({"activation": "rleu"}, "did you mean 'relu'")],
)
def test_bad_networks_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        perceptron(3, 2, **settings)
