"""What all trainings of a generator share: their state, their steps, the average that is kept."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jleak.check import number
from jleak.priors.critics import Network
from jleak.types import Generator, Key, Labels, Params


class PriorState(NamedTuple):
    """Where the training of a generator stands; with its settings all that going on needs.

    Attributes:
      generator: its variables.
      partner: those of what it is trained against: a critic, or for a VAE the encoder.
      average: the running average of the generator, which is what is kept in the end.
      moments, partner_moments: the states of the two optimisers.
      step: steps made.
    """

    generator: Params
    partner: Params
    average: Params
    moments: optax.OptState
    partner_moments: optax.OptState
    step: Int[Array, ""]


class Trainer(NamedTuple):
    """A way of training a generator.

    Attributes:
      init: `key -> PriorState`.
      step: `(state, key, x, y) -> (state, loss)`: images in [0, 1] and their labels, `batches` batches of
        them; everything random comes of the key and of `state.step`.
      batches: how many batches of images a step takes.
    """

    init: Callable[[Key], PriorState]
    step: Callable[[PriorState, Key, Float[Array, "n h w c"], Labels], tuple[PriorState, Float[Array, ""]]]
    batches: int = 1


def begun(generator: Generator, partner: Network, tx: optax.GradientTransformation) -> Callable:
    """`key -> PriorState` before the first step; both networks have the optimiser `tx`."""

    def init(key):
        k_generator, k_partner = jax.random.split(key)
        params, other = generator.init(k_generator), partner.init(k_partner)
        moments = tx.init(params["params"]), tx.init(other["params"])
        return PriorState(params, other, params, *moments, jnp.zeros((), jnp.int32))

    return init


def descended(
    tx: optax.GradientTransformation, params: Params, g: Params, moments: optax.OptState
) -> tuple[Params, optax.OptState]:
    """(params, moments) after a step of the optimiser along the gradient g of `params["params"]`."""
    updates, moments = tx.update(g, moments, params["params"])
    return {**params, "params": optax.apply_updates(params["params"], updates)}, moments


def drawn(
    generator: Generator, params: Params, key: Key, y: Labels, count: int
) -> Float[Array, "count h w c"]:
    """The images of `count` latents z ~ N(0, I), of the classes y where the generator knows classes."""
    z = jax.random.normal(key, (count, generator.latent))
    return generator.apply(params, z, y if generator.classes else None)


def averaging(trainer: Trainer, ema: float) -> Trainer:
    """The same training, of whose generator `average` follows the weights.

    After step t = 1, 2, ...: average <- d average + (1 - d) weights, with d = min(ema, (1 + t) / (10 + t)),
    so that the start is soon forgotten. Source: Karras et al., ICLR 2018, for the average; the growing
    d is our choice.

    Args:
      trainer: a training that leaves `average` alone.
      ema: what stays of the average in a step.

    Raises:
      InputError: an `ema` outside [0, 1).
    """
    number("ema", ema, least=0, below=1, hint="use 0 for the last weights")

    def step(state, key, x, y):
        state, loss = trainer.step(state, key, x, y)
        t = state.step.astype(jnp.float32)
        d = jnp.minimum(ema, (1 + t) / (10 + t))
        average = jax.tree.map(lambda a, w: d * a + (1 - d) * w, state.average, state.generator)
        return state._replace(average=average), loss

    return trainer._replace(step=step)
