"""Losses of critics against closed forms, and trainings of generators against what they are to learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import priors
from jleak.check import InputError
from jleak.priors.critics import Network, critic, mlp
from jleak.training import OBJECTIVES, Pool, averaging, order, scanned
from jleak.training.adversarial import squared_slopes
from jleak.training.non_saturating import logistic_loss, r1
from jleak.training.wgan_gp import critic_loss

KEY = jax.random.key(0)
SHAPE, BATCH = (2, 2, 1), 32
FAST = {
    "non_saturating": {"lr": 5e-3, "gamma": 0.1, "b1": 0.5, "augment": "none"},
    "vae": {"lr": 1e-2, "beta": 0.02},
    "wgan_gp": {"lr": 5e-3, "n_critic": 3},
}


@pytest.fixture(scope="module")
def images():
    """(real, fake) in [-1, 1], as an array each."""
    return tuple(jax.random.uniform(k, (5, *SHAPE), minval=-1.0) for k in jax.random.split(KEY))


def flat(x):
    return np.asarray(x, float).reshape(len(x), -1)


LINEAR = Network(None, lambda w, x, y: x.reshape(len(x), -1) @ w)
SQUARE = Network(None, lambda a, x, y: a / 2 * jnp.square(x).sum((1, 2, 3)))


def test_penalties_of_a_linear_critic_are_those_of_its_weights(images):
    """grad D = w everywhere, whatever the images."""
    real, fake = images
    w = jnp.array([1.0, -2.0, 0.5, 3.0])
    norm = float(np.linalg.norm(w))
    np.testing.assert_allclose(squared_slopes(LINEAR, w, real, None), norm**2, rtol=1e-6)
    np.testing.assert_allclose(r1(LINEAR, w, real, None), norm**2 / 2, rtol=1e-6)
    distance = (flat(fake) @ np.asarray(w)).mean() - (flat(real) @ np.asarray(w)).mean()
    value, g = jax.value_and_grad(lambda w: critic_loss(LINEAR, w, KEY, real, fake, None, 10.0))(w)
    np.testing.assert_allclose(value, distance + 10 * (norm - 1) ** 2, rtol=1e-5)
    slope = flat(fake).mean(0) - flat(real).mean(0) + 20 * (norm - 1) * np.asarray(w) / norm
    np.testing.assert_allclose(g, slope, rtol=1e-4)


def test_the_penalty_is_taken_between_the_images_at_one_place_each(images):
    """grad D = a u: the slopes tell where u was."""
    real, fake = images
    e = np.asarray(jax.random.uniform(KEY, (5, 1)), float)
    lengths = np.linalg.norm(e * flat(real) + (1 - e) * flat(fake), axis=1)
    a = 1.7
    distance = a / 2 * (np.square(flat(fake)).sum(1).mean() - np.square(flat(real)).sum(1).mean())
    found = critic_loss(SQUARE, jnp.asarray(a), KEY, real, fake, None, 10.0)
    np.testing.assert_allclose(found, distance + 10 * ((a * lengths - 1) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        squared_slopes(SQUARE, a, real, None), a**2 * np.square(flat(real)).sum(1), rtol=1e-5
    )


def test_slopes_of_a_network_are_those_of_finite_differences(images):
    net = critic(mlp(hidden=(8,)), SHAPE, 3)
    params, x, y = net.init(KEY), images[0], jnp.array([0, 1, 2, 0, 1])
    with jax.enable_x64():
        params, x = jax.tree.map(lambda u: jnp.asarray(u, jnp.float64), (params, x))
        h, total = 1e-5, 0.0
        for unit in np.eye(4).reshape(-1, *SHAPE):
            rise = net.apply(params, x + h * unit, y) - net.apply(params, x - h * unit, y)
            total += np.square(np.asarray(rise) / (2 * h))
        np.testing.assert_allclose(squared_slopes(net, params, x, y), total, rtol=1e-6)


def test_the_logistic_loss_is_cross_entropy(images):
    real, fake = images
    w = jnp.array([1.0, -2.0, 0.5, 3.0])
    p_real, p_fake = (1 / (1 + np.exp(-(flat(x) @ np.asarray(w)))) for x in (real, fake))
    wanted = -np.log(p_real).mean() - np.log(1 - p_fake).mean()
    np.testing.assert_allclose(logistic_loss(LINEAR, w, real, fake, None), wanted, rtol=1e-5)


@functools.cache
def training(objective, **args):
    """A generator of 2x2 images of two classes, its training, and the program of it."""
    generator = priors.mlp_gan(SHAPE, 2, latent=2, hidden=16)
    made = averaging(OBJECTIVES[objective](generator, mlp(hidden=32), **args), 0.9)
    return generator, made, jax.jit(scanned(made.step))


@pytest.fixture(scope="module")
def pool():
    """Dark and bright images, each with a gradient from top to bottom and noise."""
    y = np.arange(256) % 2
    noise = np.random.default_rng(0).normal(0, 0.03, (256, *SHAPE))
    x = 0.25 + 0.4 * y[:, None, None, None] + np.array([0.0, 0.15])[None, :, None, None] + noise
    return Pool(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32))


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_a_generator_learns_the_classes_and_pieces_are_the_whole(objective, pool):
    """Each class has its brightness and its gradient; and steps do not depend on where a piece is cut."""
    generator, made, program = training(objective, **FAST[objective])
    state, steps = made.init(KEY), 400
    rows = order(KEY, 256, BATCH * made.batches, 0, steps)
    whole, losses, finite = program(state, KEY, pool, rows, jnp.asarray(steps))
    assert bool(finite) and int(whole.step) == steps
    y = jnp.arange(512) % 2
    z = jax.random.normal(jax.random.key(1), (512, 2))
    for k in (0, 1):
        true = np.asarray(pool.x)[np.asarray(pool.y) == k].mean(0)
        found = np.asarray(generator.apply(whole.average, z, y))[k::2].mean(0)
        before = np.asarray(generator.apply(state.average, z, y))[k::2].mean(0)
        assert np.abs(found - true).max() < 0.1 < np.abs(before - true).max()
    now = program(state, KEY, pool, rows, jnp.asarray(150))[0]
    shifted = jnp.concatenate([rows[150:], rows[:150]])
    now, later, _ = program(now, KEY, pool, shifted, jnp.asarray(steps))
    for a, b in zip(jax.tree.leaves(now), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(later[:250], losses[150:])


def test_r1_counts_in_every_so_many_steps_alone(pool):
    """Between them the steps are those without it."""
    some, none = (training("non_saturating", gamma=g, every=4, augment="none")[1:] for g in (50.0, 0.0))
    rows = order(KEY, 256, BATCH, 0, 1)
    for at, same in ((0, False), (1, True), (3, True), (4, False)):
        state = some[0].init(KEY)._replace(step=jnp.asarray(at))
        pair = [
            jax.tree.leaves(p(state, KEY, pool, rows, jnp.asarray(9))[0].partner) for _, p in (some, none)
        ]
        assert all(np.array_equal(a, b) for a, b in zip(*pair, strict=True)) == same


def test_a_step_of_wgan_gp_takes_its_batches_one_after_the_other(pool):
    """As many steps of the critic, then one of the generator; Adam's own counts tell."""
    _, made, program = training("wgan_gp", **FAST["wgan_gp"])
    rows = order(KEY, 256, 3 * BATCH, 0, 2)
    state, losses, _ = program(made.init(KEY), KEY, pool, rows, jnp.asarray(2))
    assert int(state.partner_moments[0].count) == 6 and int(state.moments[0].count) == 2 == int(state.step)
    other = rows.copy()
    other[0, -1] ^= 1  # an image of the last batch
    assert program(made.init(KEY), KEY, pool, other, jnp.asarray(1))[1][0] != losses[0]


def test_the_average_follows_the_weights(pool):
    """a <- d a + (1 - d) w with d = min(0.9, (1 + t) / (10 + t)), written out."""
    _, made, program = training("vae", **FAST["vae"])
    state = made.init(KEY)
    wanted = np.asarray(state.generator["params"]["stage0"]["dense"]["kernel"], float)
    for t in range(1, 121):
        rows = order(KEY, 256, BATCH, t - 1, 1)
        state = program(state, KEY, pool, rows, jnp.asarray(t))[0]
        d = min(0.9, (1 + t) / (10 + t))
        wanted = d * wanted + (1 - d) * np.asarray(state.generator["params"]["stage0"]["dense"]["kernel"])
    np.testing.assert_allclose(state.average["params"]["stage0"]["dense"]["kernel"], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("objective", "args", "message"),
    [
        ("wgan_gp", {"n_critic": 0}, "n_critic must be >= 1"),
        ("wgan_gp", {"penalty": -1.0}, "penalty must be >= 0"),
        ("wgan_gp", {"augment": "colour"}, "did you mean 'color'"),
        ("non_saturating", {"gamma": -1.0}, "gamma must be >= 0"),
        ("non_saturating", {"b1": 1.0}, "b1 must be < 1"),
        ("non_saturating", {"augment": "color-color"}, "each augmentation is done once"),
        ("vae", {"beta": -1.0}, "beta must be >= 0"),
        ("vae", {"lr": 0.0}, "lr must be > 0"),
    ],
)
def test_bad_settings_are_refused(objective, args, message):
    with pytest.raises(InputError, match=message):
        OBJECTIVES[objective](priors.mlp_gan(SHAPE, latent=2, hidden=4), mlp(hidden=4), **args)
