"""The variational autoencoder: a generator whose images explain the data, with an encoder beside it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import number
from jleak.priors.critics import encoder
from jleak.training.adversarial import adam, centred
from jleak.training.prior import Trainer, begun, descended
from jleak.types import Generator

LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1, where their logarithms end."""


def vae(
    generator: Generator,
    trunk: Any,
    *,
    beta: float = 1.0,
    lr: float = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
) -> Trainer:
    """Training by the evidence lower bound: G is the decoder.

    Both networks descend -E log p(x | G(z)) + beta KL(N(m, s^2) || N(0, I)), with z = m + s e, e ~ N(0, I),
    and m, log s^2 the encoder's. A pixel of G is the probability of a Bernoulli variable, of which the
    image's pixel in [0, 1] is taken for the mean.

    Source: Kingma and Welling, ICLR 2014, eq. 10 and appendix C.1; beta: Higgins et al., ICLR 2017, eq. 4.

    Args:
      generator: with BatchNorm in mode `batch`.
      trunk: what the encoder is made of (`jleak.priors.critics.TRUNKS`).
      beta: weight of the divergence; near pixels of 1/2, where a Bernoulli variable is wide, 4 s^2 stands for
        normal noise of deviation s, so for photographs less than 1 keeps more of them.
      lr, b1, b2: of Adam, for both.

    Raises:
      InputError: a number out of bounds.
    """
    number("beta", beta, least=0)
    tx = adam(lr, b1, b2)
    net = encoder(trunk, generator.shape, generator.classes, latent=generator.latent)

    def step(state, key, x, y):
        e = jax.random.normal(jax.random.fold_in(key, state.step), (len(x), generator.latent))

        def objective(weights):
            decoding, encoding = weights
            mean, log_variance = net.apply({**state.partner, "params": encoding}, centred(x), y)
            z = mean + jnp.exp(log_variance / 2) * e
            p = generator.apply({**state.generator, "params": decoding}, z, y if generator.classes else None)
            return (beta * divergence(mean, log_variance) - log_likelihood(p, x)).mean()

        weights = state.generator["params"], state.partner["params"]
        loss, (g, partner_g) = jax.value_and_grad(objective)(weights)
        params, moments = descended(tx, state.generator, g, state.moments)
        partner, partner_moments = descended(tx, state.partner, partner_g, state.partner_moments)
        state = state._replace(generator=params, moments=moments, step=state.step + 1)
        return state._replace(partner=partner, partner_moments=partner_moments), loss

    return Trainer(begun(generator, net, tx), step)


def log_likelihood(p: Float[Array, "n h w c"], x: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """sum over pixels of x log p + (1 - x) log(1 - p), of each image.

    >>> round(float(log_likelihood(jnp.full((1, 2, 1, 1), 0.5), jnp.ones((1, 2, 1, 1)))[0]), 4)
    -1.3863
    """
    p = jnp.clip(p, LEAST, 1 - LEAST)
    return (x * jnp.log(p) + (1 - x) * jnp.log1p(-p)).sum((1, 2, 3))


def divergence(mean: Float[Array, "n latent"], log_variance: Float[Array, "n latent"]) -> Float[Array, " n"]:
    """KL(N(m, s^2) || N(0, I)) = -1/2 sum(1 + log s^2 - m^2 - s^2), of each latent.

    >>> float(divergence(jnp.array([[1.0]]), jnp.array([[0.0]]))[0])
    0.5
    """
    return -0.5 * (1 + log_variance - jnp.square(mean) - jnp.exp(log_variance)).sum(-1)
