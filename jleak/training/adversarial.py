"""What the trainings of a generator against a critic share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jleak.check import number
from jleak.priors.critics import Network, critic
from jleak.training.diffaugment import diffaugment
from jleak.training.prior import PriorState, descended, drawn
from jleak.types import Generator, Key, Labels, Params


class Game(NamedTuple):
    """A generator, its critic, the optimiser of both, and what is done to images before they are judged."""

    generator: Generator
    net: Network
    tx: optax.GradientTransformation
    change: Callable[[Key, Array], Array]


def game(generator: Generator, trunk: Any, *, lr: float, b1: float, b2: float, augment: str) -> Game:
    """The game of these settings, with a critic made of `trunk`.

    Raises:
      InputError: a number out of bounds, an unknown augmentation.
    """
    net = critic(trunk, generator.shape, generator.classes)
    return Game(generator, net, adam(lr, b1, b2), diffaugment(augment))


def adam(lr: float, b1: float, b2: float) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, ICLR 2015).

    Raises:
      InputError: a learning rate that is not above 0, decays outside [0, 1).
    """
    number("lr", lr, above=0)
    for name, decay in (("b1", b1), ("b2", b2)):
        number(name, decay, least=0, below=1)
    return optax.adam(lr, b1, b2)


def centred(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Images in [0, 1] as critics see them, in [-1, 1].

    >>> centred(jnp.array([0.0, 0.5, 1.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return 2 * x - 1


def pair(
    game: Game, params: Params, key: Key, x: Float[Array, "n h w c"], y: Labels
) -> tuple[Float[Array, "n h w c"], Float[Array, "n h w c"]]:
    """Real images in [0, 1] and as many generated ones, of the same classes, as the critic sees them."""
    k_latent, k_real, k_fake = jax.random.split(key, 3)
    fake = drawn(game.generator, params, k_latent, y, len(x))
    return game.change(k_real, centred(x)), game.change(k_fake, centred(fake))


def squared_slopes(net: Network, params: Params, x: Float[Array, "n h w c"], y: Labels) -> Float[Array, " n"]:
    """||grad_x D(x)||^2 of each image; no image's score depends on another image."""
    g = jax.grad(lambda x: net.apply(params, x, y).sum())(x)
    return jnp.square(g).sum((1, 2, 3))


def answered(
    game: Game, state: PriorState, key: Key, y: Labels, loss: Callable[[Float[Array, " n"]], Float[Array, ""]]
) -> PriorState:
    """The state after the generator's step along the gradient of `loss` of its images' scores: step t + 1."""
    k_latent, k_fake = jax.random.split(key)

    def objective(weights):
        x = drawn(game.generator, {**state.generator, "params": weights}, k_latent, y, len(y))
        return loss(game.net.apply(state.partner, game.change(k_fake, centred(x)), y))

    g = jax.grad(objective)(state.generator["params"])
    params, moments = descended(game.tx, state.generator, g, state.moments)
    return state._replace(generator=params, moments=moments, step=state.step + 1)
