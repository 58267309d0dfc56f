"""The noise that an update shows of itself: known scales, whole intervals, and another loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from jleak.check import InputError
from jleak.clients import fedavg, fedsgd
from jleak.defenses import gaussian, laplace
from jleak.labels import noise_level
from jleak.labels.head import Head
from jleak.labels.noise import ends, noise_variance
from jleak.losses import cross_entropy, mse
from jleak.models import mlp
from jleak.types import Batch

KEYS = jax.random.split(jax.random.key(5), 300)
MODEL = mlp((4, 4, 1), 10, hidden=(24, 40))
PARAMS = MODEL.init(jax.random.key(0))
BATCH = Batch(jax.random.uniform(jax.random.key(1), (8, 4, 4, 1)), jnp.arange(8))
SIGMAS = [1e-5, 1e-3, 1e-2, 0.1, 10.0]


def plain(client):
    return client(jax.random.key(0), PARAMS, BATCH)


CLIENTS = {
    "fedsgd": fedsgd(MODEL, cross_entropy),
    "fedavg": fedavg(MODEL, cross_entropy, steps=4),
    "mse": fedsgd(MODEL, mse),
}
UPDATES = {name: plain(client) for name, client in CLIENTS.items()}


@jax.jit
def of_gaussian(update, sigma):
    return jax.vmap(
        lambda key: noise_level(MODEL, gaussian(sigma=sigma)(lambda *_: update)(key, None, None))
    )(KEYS)


@jax.jit
def of_laplace(update, sigma):
    defense = laplace(scale=sigma / 2**0.5)
    return jax.vmap(lambda key: noise_level(MODEL, defense(lambda *_: update)(key, None, None)))(KEYS)


FOUND = {"gaussian": of_gaussian, "laplace": of_laplace}


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("noise", FOUND)
@pytest.mark.parametrize("client", ["fedsgd", "fedavg"])
def test_a_known_level_is_found_and_lies_in_the_interval(client, noise, sigma):
    """41 sums of ten classes: 11 % each; of 300 intervals of 95 %, 270 or more hold the truth."""
    found = FOUND[noise](UPDATES[client], sigma)
    assert abs(np.mean(found.sigma) / sigma - 1) < 0.06
    assert np.std(found.sigma) / sigma < 0.15
    held = (found.low <= sigma) & (sigma <= found.high)
    assert np.mean(held) > 0.9
    assert 0.1 < np.mean(found.high - found.low) / sigma < 0.6  # so it says something
    assert found.sigma.dtype == jnp.float32


@pytest.mark.parametrize("noise", FOUND)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_of_another_loss_the_tensors_give_an_upper_end(noise, sigma):
    found = FOUND[noise](UPDATES["mse"], sigma)
    assert np.mean(found.high >= sigma) > 0.9
    assert np.mean(found.low <= sigma) > (
        0.6 if sigma == 0.1 else 0.9
    )  # 0.1: the sums' own size without noise
    small = min(float(jnp.std(u)) for u in jax.tree.leaves(UPDATES["mse"]) if u.size >= 64)
    if sigma < small / 2:  # the gradient hides it, and the lower end says so
        assert (found.low == 0).all()
        np.testing.assert_allclose(found.sigma, small, rtol=0.5)


def test_without_noise_there_is_rounding_alone():
    size = max(float(abs(u).max()) for u in jax.tree.leaves(UPDATES["fedsgd"]))
    assert float(noise_level(MODEL, UPDATES["fedsgd"]).high) < 1e-6 * size
    assert float(noise_level(MODEL, jax.tree.map(jnp.zeros_like, UPDATES["fedsgd"])).high) == 0.0
    broken = jax.tree.map(lambda u: u.at[0].set(jnp.nan), UPDATES["fedsgd"])
    assert np.isnan(noise_level(MODEL, broken).sigma)


def test_the_sums_are_those_of_the_columns_and_of_the_bias():
    """Without a tensor of 64 entries; in double precision."""
    rng, model = np.random.default_rng(0), mlp((2, 1, 1), 5, hidden=12)
    kernel, bias = rng.normal(size=(12, 5)), rng.normal(size=5)
    sums = np.append(kernel.sum(1), bias.sum())
    for update, degrees in (({"kernel": kernel, "bias": bias}, 13), ({"kernel": kernel}, 12)):
        update = {"head": jax.tree.map(jnp.float32, update)}
        found = noise_level(model, update, confidence=0.97)
        variance = np.mean(sums[:degrees] ** 2) / 5
        np.testing.assert_allclose(found.sigma**2, variance, rtol=1e-5)
        wanted = [degrees * variance / chi2.ppf(p, degrees) for p in (0.99, 0.01)]
        np.testing.assert_allclose([found.low**2, found.high**2], wanted, rtol=0.02)
    np.testing.assert_allclose(
        noise_variance(Head(jnp.float32(kernel.T), None)), np.mean(sums[:12] ** 2) / 5, rtol=1e-5
    )


@pytest.mark.parametrize("degrees", [10, 33, 513, 100_000])
@pytest.mark.parametrize("tail", [0.025, 0.001])
def test_the_ends_are_the_chi_square_quantiles(degrees, tail):
    wanted = [degrees / chi2.ppf(p, degrees) for p in (1 - tail, tail)]
    np.testing.assert_allclose(ends(degrees, tail), wanted, rtol=0.08 if degrees == 10 else 0.01)


def test_bad_arguments_are_refused():
    for confidence in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="confidence must be"):
            noise_level(MODEL, UPDATES["fedsgd"], confidence=confidence)
    with pytest.raises(InputError, match="declares its classifier at 'head'"):
        noise_level(MODEL, {"dense0": UPDATES["fedsgd"]["dense0"]})
