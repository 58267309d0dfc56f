"""Critics: networks that score how well an x and a g go together."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jleak.check import one_of
from jleak.models.perceptron import perceptron
from jleak.types import Key

FEATURES = 32
"""Products of which the score of a separable critic is the sum."""

CHUNK = 16
"""Rows of a joint critic's scores computed side by side."""

ACTIVATION = "gelu"


class Critic(NamedTuple):
    """A critic.

    Attributes:
      init: `key -> params`, of a critic that scores 0 everywhere.
      apply: `(params, x, g) -> scores`, x (n, dx), g (m, dg), scores (n, m): of every x with every g.
    """

    init: Callable[[Key], PyTree]
    apply: Callable[[PyTree, Float[Array, "n dx"], Float[Array, "m dg"]], Float[Array, "n m"]]


def separable(dx: int, dg: int, *, hidden: tuple[int, ...]) -> Critic:
    """T(x, g) = f(x) . h(g) + a(x) + b(g), with f a network beside an affine map.

    All scores of a batch for one pass of each network over it.

    >>> critic = separable(3, 2, hidden=(8,))
    >>> critic.apply(critic.init(jax.random.key(0)), jnp.ones((5, 3)), jnp.ones((4, 2))).shape
    (5, 4)
    """
    nets = {
        "x": perceptron(dx, FEATURES + 1, hidden=hidden, activation=ACTIVATION, still=True),
        "g": perceptron(dg, FEATURES + 1, hidden=hidden, activation=ACTIVATION, still=True),
        "straight x": perceptron(dx, FEATURES),  # not still: were both sides 0, neither would learn
        "straight g": perceptron(dg, FEATURES, still=True),
    }

    def init(key):
        keys = jax.random.split(key, len(nets))
        return {name: net.init(one) for (name, net), one in zip(nets.items(), keys, strict=True)}

    def side(params, name, rows):
        curved = nets[name].apply(params[name], rows)
        straight = nets[f"straight {name}"].apply(params[f"straight {name}"], rows)
        return curved[:, :FEATURES] + straight, curved[:, FEATURES]

    def apply(params, x, g):
        (f, a), (h, b) = side(params, "x", x), side(params, "g", g)
        return f @ h.T + a[:, None] + b

    return Critic(init, apply)


def joint(dx: int, dg: int, *, hidden: tuple[int, ...]) -> Critic:
    """T(x, g): a network on both, one pass for every pair; some hundred times as long as a separable one.

    >>> critic = joint(3, 2, hidden=(8,))
    >>> critic.apply(critic.init(jax.random.key(0)), jnp.ones((5, 3)), jnp.ones((4, 2))).shape
    (5, 4)
    """
    net = perceptron(dx + dg, 1, hidden=hidden, activation=ACTIVATION, still=True)

    def apply(params, x, g):
        def row(one):
            both = jnp.concatenate([jnp.broadcast_to(one, (len(g), dx)), g], 1)
            return net.apply(params, both)[:, 0]

        return lax.map(row, x, batch_size=min(len(x), CHUNK))

    return Critic(net.init, apply)


CRITICS: dict[str, Callable[..., Critic]] = {"separable": separable, "joint": joint}


def critic(name: str, dx: int, dg: int, *, hidden: tuple[int, ...]) -> Critic:
    """The critic of that name.

    Raises:
      InputError: there is none; a width that is not a whole number >= 1.

    >>> critic("joint", 3, 2, hidden=()).init(jax.random.key(0))["params"]["Dense_0"]["kernel"].shape
    (5, 1)
    """
    return CRITICS[one_of("critic", name, CRITICS)](dx, dg, hidden=hidden)
