"""The evidence lower bound against numbers written separately."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import priors
from jleak.priors.critics import encoder, mlp
from jleak.training import vae
from jleak.training.vae import divergence, log_likelihood

KEY = jax.random.key(0)


def test_the_divergence_is_its_integral():
    """KL(q || p) = integral of q log(q / p), by the trapezium rule, for two entries of a latent."""
    stats = pytest.importorskip("scipy.stats")
    mean, log_variance = np.array([0.7, -1.2]), np.array([-1.0, 0.5])
    u, total = np.linspace(-12, 12, 200_001), 0.0
    for m, v in zip(mean, log_variance, strict=True):
        q, p = stats.norm(m, np.exp(v / 2)), stats.norm()
        total += np.trapezoid(q.pdf(u) * (q.logpdf(u) - p.logpdf(u)), u)
    found = divergence(jnp.asarray(mean)[None], jnp.asarray(log_variance)[None])
    np.testing.assert_allclose(found, [total], rtol=1e-5)


def test_the_likelihood_is_bernoullis_and_ends_nowhere():
    stats = pytest.importorskip("scipy.stats")
    x = np.random.default_rng(0).integers(0, 2, (3, 2, 2, 1))
    p = np.random.default_rng(1).uniform(0.01, 0.99, (3, 2, 2, 1))
    wanted = stats.bernoulli(p).logpmf(x).sum((1, 2, 3))
    np.testing.assert_allclose(log_likelihood(jnp.asarray(p), jnp.asarray(x)), wanted, rtol=1e-5)
    ends = log_likelihood(jnp.array([[[[0.0]]], [[[1.0]]]]), jnp.array([[[[1.0]]], [[[0.0]]]]))
    assert np.isfinite(ends).all() and (np.asarray(ends) < -10).all()


def test_the_loss_of_a_step_is_the_bound_at_its_latents():
    """m + exp(v / 2) e with the noise of the key and the step; beta weighs the divergence."""
    generator = priors.vae_decoder((2, 2, 1), 3, latent=2, hidden=5)
    x = jax.random.uniform(KEY, (4, 2, 2, 1))
    y = jnp.array([0, 1, 2, 0])
    state = vae(generator, mlp(hidden=6)).init(KEY)._replace(step=jnp.asarray(7))
    loss_of = jax.jit(lambda beta: vae(generator, mlp(hidden=6), beta=beta).step(state, KEY, x, y)[1])
    losses = {beta: float(loss_of(beta)) for beta in (0.0, 1.0, 3.0)}
    net = encoder(mlp(hidden=6), (2, 2, 1), 3, latent=2)
    mean, log_variance = (np.asarray(u, float) for u in net.apply(state.partner, 2 * x - 1, y))
    e = np.asarray(jax.random.normal(jax.random.fold_in(KEY, 7), (4, 2)), float)
    p = np.asarray(generator.apply(state.generator, mean + np.exp(log_variance / 2) * e, y), float)
    likelihood = (np.asarray(x) * np.log(p) + (1 - np.asarray(x)) * np.log(1 - p)).sum((1, 2, 3))
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1)
    for beta, loss in losses.items():
        np.testing.assert_allclose(loss, (beta * kl - likelihood).mean(), rtol=1e-4)
