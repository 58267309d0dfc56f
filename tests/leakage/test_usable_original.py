"""Usable information about the images, against the formula by hand, closed forms and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from jleak.check import InputError
from jleak.leakage.usable import reconstruction, ridge

LOG2 = np.log(2)


@pytest.fixture(scope="module")
def images():
    """Truths, two attacks of which one is ten times better, and the mean of others."""
    random = np.random.default_rng(0)
    x = random.uniform(size=(7, 2, 3, 1))
    off = random.normal(size=x.shape)
    return x, np.stack([x + 0.01 * off, x + 0.1 * off]), np.full((2, 3, 1), 0.5)


def test_a_fitted_tau_gives_the_ratio_of_errors(images):
    x, xhat, mean = images
    found = reconstruction(*map(jnp.asarray, (xhat, x, mean)))
    errors, null = np.square(xhat - x).mean((1, 2, 3, 4)), np.square(x - mean).mean()
    np.testing.assert_allclose(found.mse, errors, rtol=1e-4)
    np.testing.assert_allclose(found.value, 6 / 2 * np.log(null / errors), rtol=1e-4)
    np.testing.assert_allclose(found.value[0] - found.value[1], 6 * np.log(10), rtol=1e-3)
    np.testing.assert_allclose(found.bits, found.value / LOG2, rtol=1e-5)
    np.testing.assert_allclose(found.pvi.mean(1), found.raw, rtol=1e-5)


def test_a_given_tau_gives_the_difference_of_errors(images):
    x, xhat, mean = images
    found = reconstruction(*map(jnp.asarray, (xhat, x, mean)), tau=0.2)
    each = (np.square(x - mean) - np.square(x - xhat)).sum((2, 3, 4)) / (2 * 0.2**2)
    np.testing.assert_allclose(found.pvi, each, rtol=1e-4)
    np.testing.assert_allclose(found.value, each.mean(1), rtol=1e-4)


def test_the_mean_image_says_nothing_and_worse_does_not_say_less(images):
    x, _, mean = images
    xhat = jnp.stack([jnp.broadcast_to(mean, x.shape), jnp.full(x.shape, 9.0)])
    found = reconstruction(xhat, jnp.asarray(x), jnp.asarray(mean))
    np.testing.assert_allclose(found.raw[0], 0, atol=1e-5)
    assert found.raw[1] < 0 == found.value[1]


def test_an_exact_reconstruction_says_what_eight_bits_hold(images):
    x, _, mean = images
    found = reconstruction(jnp.asarray(x)[None], jnp.asarray(x), jnp.asarray(mean))
    spread = np.sqrt(12 * np.square(x - mean).mean())
    np.testing.assert_allclose(found.bits_per_pixel, np.log2(255 * spread) + 0.5 / LOG2, rtol=1e-4)


@pytest.fixture(scope="module")
def linear():
    """g = x + sigma noise, in other coordinates: x and g are jointly Gaussian."""
    random = np.random.default_rng(1)
    x = 0.2 * random.normal(size=(5000, 4)) + 0.5
    turn = np.linalg.qr(random.normal(size=(4, 4)))[0]
    noise = random.normal(size=x.shape)
    sigmas = (0.05, 0.2, 1.0)
    rows = {str(s): jnp.asarray((x + s * noise) @ turn, jnp.float32) for s in sigmas}
    wide = jnp.asarray(random.normal(size=(5000, 40)), jnp.float32)
    return {**rows, "hides": wide}, jnp.asarray(x, jnp.float32), np.array(sigmas), np.arange(5000) % 5 % 3


def test_ridge_finds_the_mutual_information_of_a_gaussian_channel(linear):
    """I = (d / 2) log(1 + 0.2^2 / sigma^2), which a linear inverter reaches."""
    rows, x, sigmas, split = linear
    found = ridge(rows, x, split)
    np.testing.assert_allclose(found.value[:3], 2 * np.log1p(0.2**2 / sigmas**2), rtol=0.03, atol=0.02)
    assert abs(found.raw[3]) < 0.01
    np.testing.assert_allclose(found.pvi.mean(1), found.raw, atol=1e-5)
    np.testing.assert_allclose(found.mse_null, 0.04, rtol=0.05)


def test_scikit_learn_has_the_same_errors(linear):
    rows, x, _, split = linear
    small = np.arange(5000) < 60  # where the penalty matters
    rows, x, split = {"g": rows["hides"][small] + 3 * x[small, :1]}, np.asarray(x[small]), split[small]
    for penalty in (0.1, 3.0):
        found = ridge(rows, jnp.asarray(x), split, lambdas=(penalty,))
        g, train, test = np.asarray(rows["g"], float), split == 0, split == 2
        z = (g - g[train].mean(0)) / g[train].std(0)
        other = Ridge(alpha=penalty * train.sum()).fit(z[train], x[train])
        np.testing.assert_allclose(
            found.mse[0], np.square(other.predict(z[test]) - x[test]).mean(), rtol=1e-3
        )


def test_infinity_is_the_mean_image(linear):
    rows, x, _, split = linear
    found = ridge(rows, x, split, lambdas=(float("inf"),))
    np.testing.assert_allclose(found.raw, 0, atol=1e-6)
    np.testing.assert_allclose(found.mse, found.mse_null, rtol=1e-5)


def test_no_penalty_and_fewer_rows_than_entries_stays_finite(linear):
    rows, x, _, split = linear
    found = ridge({"hides": rows["hides"][:30]}, x[:30], split[:30], lambdas=(0.0,))
    assert np.isfinite(found.mse).all()


def test_principal_components_of_the_images_lose_what_they_leave_out(linear):
    _, x, _, split = linear
    x = x * jnp.array([4.0, 1.0, 0.1, 0.1])
    rows = {"copy": x}
    all_, two = ridge(rows, x, split, targets=4), ridge(rows, x, split, targets=2)
    np.testing.assert_allclose(two.mse[0], (0.02**2 * 2) / 4, rtol=0.1)
    assert all_.mse[0] < 0.01 * two.mse[0]


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("use xhat", lambda x: reconstruction(x, x, x[0])),
        ("tau must be > 0", lambda x: reconstruction(x[None], x, x[0], tau=0.0)),
        ("x must be one image an update, 6, got 5", lambda x: ridge({"a": x}, x[:5], np.arange(6) % 3)),
        ("lambdas must be >= 0", lambda x: ridge({"a": x}, x, np.arange(6) % 3, lambdas=(-1.0,))),
        ("lambdas must hold a penalty", lambda x: ridge({"a": x}, x, np.arange(6) % 3, lambdas=())),
        ("targets must be >= 1", lambda x: ridge({"a": x}, x, np.arange(6) % 3, targets=0)),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(InputError, match=message):
        call(jax.random.uniform(jax.random.key(0), (6, 2)))
