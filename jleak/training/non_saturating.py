"""The non-saturating GAN with R1 and DiffAugment: for few images."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.check import number, whole
from jleak.priors.critics import Network
from jleak.training.adversarial import answered, game, pair, squared_slopes
from jleak.training.prior import Trainer, begun, descended
from jleak.types import Generator, Labels, Params


def non_saturating(
    generator: Generator,
    trunk: Any,
    *,
    gamma: float = 10.0,
    every: int = 16,
    lr: float = 2e-4,
    b1: float = 0.0,
    b2: float = 0.99,
    augment: str = "color-translation-cutout",
) -> Trainer:
    """Training by a classifier that tells real from generated images, both augmented alike.

    The critic D descends E softplus(-D(x)) + E softplus(D(G(z))) + gamma / 2 E ||grad D(x)||^2, the generator
    E softplus(-D(G(z))). Images are in [-1, 1]; the gradient is taken at the augmented ones. The last term
    (R1) is there in every `every`-th step only, times `every`. The loss is the critic's, without it.

    Source: Goodfellow et al., NeurIPS 2014, section 3; Mescheder, Geiger and Nowozin, ICML 2018, eq. 9 (R1,
    gamma 10); Karras et al., CVPR 2020, section 3.1 (every 16th step; Adam's decays); Zhao et al., NeurIPS
    2020 (augmentation).

    Args:
      generator: with BatchNorm in mode `batch`.
      trunk: what the critic is made of (`jleak.priors.critics.TRUNKS`).
      gamma: weight of R1; the smaller the images, the less (Karras et al. suggest 2e-4 h w / batch).
      every: steps between two with R1.
      lr, b1, b2: of Adam, for both.
      augment: what is done to all images that the critic sees (`jleak.training.diffaugment`).

    Raises:
      InputError: a number out of bounds, an unknown augmentation.
    """
    number("gamma", gamma, least=0)
    whole("every", every)
    play = game(generator, trunk, lr=lr, b1=b1, b2=b2, augment=augment)

    def step(state, key, x, y):
        k_critic, k_generator = jax.random.split(jax.random.fold_in(key, state.step))
        real, fake = pair(play, state.generator, k_critic, x, y)

        def judged(weights):
            return logistic_loss(play.net, {**state.partner, "params": weights}, real, fake, y)

        def penalised(weights):
            return gamma * every * r1(play.net, {**state.partner, "params": weights}, real, y)

        weights = state.partner["params"]
        loss, g = jax.value_and_grad(judged)(weights)
        more = lax.cond(
            state.step % every == 0, jax.grad(penalised), lambda w: jax.tree.map(jnp.zeros_like, w), weights
        )
        g = jax.tree.map(jnp.add, g, more)
        partner, moments = descended(play.tx, state.partner, g, state.partner_moments)
        state = state._replace(partner=partner, partner_moments=moments)
        return answered(play, state, k_generator, y, lambda s: jax.nn.softplus(-s).mean()), loss

    return Trainer(begun(generator, play.net, play.tx), step)


def logistic_loss(
    net: Network,
    params: Params,
    real: Float[Array, "n h w c"],
    fake: Float[Array, "n h w c"],
    y: Labels,
) -> Float[Array, ""]:
    """E softplus(-D(x)) + E softplus(D(G(z))): cross entropy of real against generated."""
    scores = net.apply(params, real, y), net.apply(params, fake, y)
    return jax.nn.softplus(-scores[0]).mean() + jax.nn.softplus(scores[1]).mean()


def r1(net: Network, params: Params, real: Float[Array, "n h w c"], y: Labels) -> Float[Array, ""]:
    """1/2 E ||grad D(x)||^2 at real images (Mescheder et al., ICML 2018, eq. 9)."""
    return 0.5 * squared_slopes(net, params, real, y).mean()
