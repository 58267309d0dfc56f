"""WGAN-GP: a critic of nearly unit slope measures how far generated images are from real ones."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float

from jleak.check import number, whole
from jleak.priors.critics import Network, critic
from jleak.training.diffaugment import NONE, diffaugment
from jleak.training.prior import Trainer, begun, descended, drawn
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
    tx, change = adam(lr, b1, b2), diffaugment(augment)
    net = critic(trunk, generator.shape, generator.classes)

    def judged(state, carry, given):
        params, moments = carry
        key, x, y = given
        k_latent, k_real, k_fake, k_between = jax.random.split(key, 4)
        fake = centred(drawn(generator, state.generator, k_latent, y, len(x)))
        pair = change(k_real, centred(x)), change(k_fake, fake)

        def objective(weights):
            return critic_loss(net, {**params, "params": weights}, k_between, *pair, y, penalty)

        loss, g = jax.value_and_grad(objective)(params["params"])
        return descended(tx, params, g, moments), loss

    def step(state, key, x, y):
        keys = jax.random.split(jax.random.fold_in(key, state.step), n_critic + 2)
        batches = keys[2:], x.reshape(n_critic, -1, *x.shape[1:]), y.reshape(n_critic, -1)
        (partner, partner_moments), losses = lax.scan(
            lambda carry, given: judged(state, carry, given), (state.partner, state.partner_moments), batches
        )
        y = batches[2][0]

        def objective(weights):
            x = drawn(generator, {**state.generator, "params": weights}, keys[0], y, len(y))
            return -net.apply(partner, change(keys[1], centred(x)), y).mean()

        params, moments = descended(
            tx, state.generator, jax.grad(objective)(state.generator["params"]), state.moments
        )
        state = state._replace(generator=params, moments=moments, step=state.step + 1)
        return state._replace(partner=partner, partner_moments=partner_moments), losses.mean()

    return Trainer(begun(generator, net, tx), step, n_critic)


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


def squared_slopes(net: Network, params: Params, x: Float[Array, "n h w c"], y: Labels) -> Float[Array, " n"]:
    """||grad_x D(x)||^2 of each image; no image's score depends on another image."""
    g = jax.grad(lambda x: net.apply(params, x, y).sum())(x)
    return jnp.square(g).sum((1, 2, 3))


def centred(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Images in [0, 1] as critics see them, in [-1, 1].

    >>> centred(jnp.array([0.0, 0.5, 1.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return 2 * x - 1


def adam(lr: float, b1: float, b2: float) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, ICLR 2015).

    Raises:
      InputError: a learning rate that is not above 0, decays outside [0, 1).
    """
    number("lr", lr, above=0)
    for name, decay in (("b1", b1), ("b2", b2)):
        number(name, decay, least=0, below=1)
    return optax.adam(lr, b1, b2)
