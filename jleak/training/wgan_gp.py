"""WGAN-GP: a critic of nearly unit slope measures how far generated images are from real ones."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.check import number, whole
from jleak.priors.critics import Network
from jleak.training.adversarial import answered, game, pair, squared_slopes
from jleak.training.diffaugment import NONE
from jleak.training.prior import Trainer, begun, descended
from jleak.tree import safe_sqrt
from jleak.types import Generator, Key, Labels, Params


def wgan_gp(
    generator: Generator,
    trunk: Any,
    *,
    n_critic: int = 5,
    penalty: float = 10.0,
    lr: float = 1e-4,
    b1: float = 0.5,
    b2: float = 0.9,
    augment: str = NONE,
) -> Trainer:
    """Training by a critic whose gradient has norm 1 between real and generated images.

    The critic D descends E D(G(z)) - E D(x) + penalty E (||grad D(u)|| - 1)^2, with u = e x + (1 - e) G(z)
    and e uniform on [0, 1]; after `n_critic` of its steps the generator descends -E D(G(z)). Images are in
    [-1, 1]. The loss is the mean of the critic's.

    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, NeurIPS 2017, eq. 3 and alg. 1; Adam's b1 is
    0.5 in Li et al., CVPR 2022, appendix B (theirs: 0).

    Args:
      generator: with BatchNorm in mode `batch`.
      trunk: what the critic is made of (`jleak.priors.critics.TRUNKS`).
      n_critic: the critic's steps before each of the generator's; each takes another batch.
      penalty: weight of the gradient penalty.
      lr, b1, b2: of Adam, for both.
      augment: what is done to all images that the critic sees (`jleak.training.diffaugment`).

    Raises:
      InputError: a number out of bounds, an unknown augmentation.
    """
    whole("n_critic", n_critic)
    number("penalty", penalty, least=0)
    play = game(generator, trunk, lr=lr, b1=b1, b2=b2, augment=augment)

    def judged(state, given):
        key, x, y = given
        k_pair, k_between = jax.random.split(key)
        real, fake = pair(play, state.generator, k_pair, x, y)

        def objective(weights):
            params = {**state.partner, "params": weights}
            return critic_loss(play.net, params, k_between, real, fake, y, penalty)

        loss, g = jax.value_and_grad(objective)(state.partner["params"])
        partner, moments = descended(play.tx, state.partner, g, state.partner_moments)
        return state._replace(partner=partner, partner_moments=moments), loss

    def step(state, key, x, y):
        key, *keys = jax.random.split(jax.random.fold_in(key, state.step), n_critic + 1)
        batches = jnp.stack(keys), x.reshape(n_critic, -1, *x.shape[1:]), y.reshape(n_critic, -1)
        state, losses = lax.scan(judged, state, batches)
        return answered(play, state, key, batches[2][0], lambda scores: -scores.mean()), losses.mean()

    return Trainer(begun(generator, play.net, play.tx), step, n_critic)


def critic_loss(
    net: Network,
    params: Params,
    key: Key,
    real: Float[Array, "n h w c"],
    fake: Float[Array, "n h w c"],
    y: Labels,
    penalty: float,
) -> Float[Array, ""]:
    """The critic's loss on a batch, see `wgan_gp`; the key draws the points between the images."""
    e = jax.random.uniform(key, (len(real), 1, 1, 1))
    slopes = safe_sqrt(squared_slopes(net, params, e * real + (1 - e) * fake, y))
    distance = net.apply(params, fake, y).mean() - net.apply(params, real, y).mean()
    return distance + penalty * jnp.square(slopes - 1).mean()
