"""Spaces over a generator, against a linear one whose images are worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.spaces import latent, layers, weights
from jleak.types import Generator

KEY = jax.random.key(0)
N, LATENT, SHAPE = 3, 5, (2, 2, 1)


def first(params, z, y):
    return z @ params["a"]


def second(params, h, y):
    shift = 0.0 if y is None else y[:, None].astype(float)
    return (h @ params["b"] + shift).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def generator():
    def init(key):
        a, b = jax.random.split(key)
        return {"a": jax.random.normal(a, (LATENT, 4)), "b": jax.random.normal(b, (4, 4))}

    return Generator(init, (first, second), LATENT, SHAPE)


@pytest.fixture(scope="module")
def params(generator):
    return generator.init(jax.random.key(1))


def images(params, z, y=None):
    flat = (
        np.asarray(z, np.float64) @ np.asarray(params["a"], np.float64) @ np.asarray(params["b"], np.float64)
    )
    return (flat + (0 if y is None else np.asarray(y)[:, None])).reshape(-1, *SHAPE)


def test_a_point_is_a_latent_for_every_image(generator, params):
    space = latent(generator, N)
    z = space.init(KEY, params)
    assert z.shape == (N, LATENT)
    y = jnp.array([0, 1, 2])
    np.testing.assert_allclose(space.decode(z, params, y), images(params, z, y), rtol=1e-5, atol=1e-6)


def test_the_views_prior_comes_before_the_spaces_own_weights(generator, params):
    other = jax.tree.map(lambda leaf: 2 * leaf, params)
    space = latent(generator, N, params=params)
    z = space.init(KEY, None)
    np.testing.assert_allclose(space.decode(z, None, None), images(params, z), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(space.decode(z, other, None), images(other, z), rtol=1e-5, atol=1e-6)


def test_starts(generator, params):
    assert not latent(generator, N, start="zeros").init(KEY, params).any()
    many = latent(generator, 2000).init(KEY, params)
    np.testing.assert_allclose([many.mean(), many.std()], [0, 1], atol=0.03)


def test_bounds(generator, params):
    z = 5 * jax.random.normal(KEY, (N, LATENT))
    tanh, box = latent(generator, N, bound="tanh"), latent(generator, N, bound="box", limit=1.5)
    np.testing.assert_array_equal(tanh.project(z), z)
    np.testing.assert_allclose(tanh.decode(z, params, None), images(params, np.tanh(z)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(box.project(z), np.clip(z, -1.5, 1.5))


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_regularisers_are_the_papers(generator, scale):
    """GGL's code: mean and population variance of the 128 entries; the squared length less their number."""
    z = scale * np.asarray(jax.random.normal(KEY, (N, LATENT))) + 0.3
    z64 = z.astype(np.float64)
    m, v = z64.mean(1), z64.var(1)
    kl = np.sum(-0.5 * (1 + np.log(v + 1e-10) - m**2 - v))
    norm = np.sum((np.sum(z64**2, 1) - LATENT) ** 2)
    for regular, wanted in {"kl": kl, "norm": norm, "none": 0.0}.items():
        got = latent(generator, N, regular=regular, weight=0.25).penalty(z)
        np.testing.assert_allclose(got, 0.25 * wanted, rtol=1e-4)


def test_a_latent_of_equal_entries_has_a_finite_gradient(generator):
    """CMA-ES starts at 0, where the variance is 0."""
    slope = jax.grad(latent(generator, N).penalty)(jnp.zeros((N, LATENT)))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "zero"}, "unknown start 'zero'; did you mean 'zeros'"),
        ({"bound": "box", "limit": 0.0}, "limit must be > 0"),
        ({"regular": "l2"}, "unknown regular 'l2'"),
        ({"weight": -1.0}, "weight must be >= 0"),
    ],
)
def test_bad_settings_are_named(generator, settings, message):
    with pytest.raises(InputError, match=message):
        latent(generator, N, **settings)


def onto_l1_ball(u, radius):
    """The Euclidean projection, by the threshold found by bisection in double precision."""
    u = np.asarray(u, np.float64)
    if np.abs(u).sum() <= radius:
        return u
    low, high = 0.0, np.abs(u).max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(np.abs(u) - middle, 0).sum() > radius else (low, middle)
    return np.sign(u) * np.maximum(np.abs(u) - low, 0)


def test_features_stay_in_the_ball_around_their_start(generator, params):
    start = jax.random.normal(KEY, (N, 4))
    space = layers(generator, 1, start, radius=1.0)
    np.testing.assert_array_equal(space.init(KEY, params), start)
    far = start + jnp.array([[3.0, -1.0, 0.5, 0.0], [0.2, 0.1, 0.0, -0.3], [0.9, 0.9, 0.9, 0.9]])
    got = space.project(far)
    for h, center, wanted in zip(got, start, far - start, strict=True):
        np.testing.assert_allclose(h - center, onto_l1_ball(wanted, 1.0), atol=1e-5)
    wanted = np.asarray(got, np.float64) @ np.asarray(params["b"], np.float64)
    np.testing.assert_allclose(
        space.decode(got, params, None), wanted.reshape(-1, *SHAPE), rtol=1e-4, atol=1e-5
    )


def test_a_stage_that_is_not_there_is_refused(generator):
    with pytest.raises(InputError, match="stage must be below 2, the generator's stages, got stage=2"):
        layers(generator, 2, jnp.zeros((N, 4)), radius=1.0)


def test_every_image_has_weights_of_its_own(generator, params):
    z = jax.random.normal(KEY, (N, LATENT))
    space = weights(generator, z)
    w = space.init(KEY, params)
    np.testing.assert_allclose(space.decode(w, None, None), images(params, z), rtol=1e-4, atol=1e-5)
    moved = jax.tree.map(lambda leaf: leaf.at[1].mul(0.0), w)
    got = space.decode(moved, None, None)
    assert not got[1].any()
    np.testing.assert_allclose(got[jnp.array([0, 2])], images(params, z)[[0, 2]], rtol=1e-4, atol=1e-5)


def test_features_may_be_a_dict_and_share_one_ball():
    start = {"x": jnp.zeros((2, 3)), "c": jnp.ones((2, 1))}

    def image(params, h, y):
        return (h["x"].sum(-1) + params * h["c"][:, 0]).reshape(-1, 1, 1, 1)

    made = Generator(lambda key: 2.0, (lambda params, z, y: start, image), 1, (1, 1, 1))
    space = layers(made, 1, start, radius=0.5)
    far = {"x": jnp.array([[3.0, 0, 0], [0.1, 0, 0]]), "c": jnp.array([[4.0], [1.2]])}
    near = space.project(far)  # of the first both entries are 3 away, of the second all is within
    np.testing.assert_allclose(near["x"], [[0.25, 0, 0], [0.1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(near["c"], [[1.25], [1.2]], atol=1e-6)
    np.testing.assert_allclose(space.decode(near, 2.0, None).ravel(), [2.75, 2.5], atol=1e-6)


def test_of_flax_variables_the_parameters_move_and_the_statistics_stay():
    def image(params, z, y):
        return (params["params"] * z + params["batch_stats"]).reshape(-1, 1, 1, 1)

    made = Generator(lambda key: None, (image,), 1, (1, 1, 1))
    given = {"params": jnp.array(2.0), "batch_stats": jnp.array(0.5)}
    space = weights(made, jnp.array([[1.0], [3.0]]), params=given)
    w = space.init(KEY, None)
    assert w.tolist() == [2.0, 2.0]
    assert space.decode(w + 1, None, None).ravel().tolist() == [3.5, 9.5]
    other = {"params": jnp.array(1.0), "batch_stats": jnp.array(-0.5)}
    assert space.decode(space.init(KEY, other), other, None).ravel().tolist() == [0.5, 2.5]
