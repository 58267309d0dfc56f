"""Defenses from plain functions.

on_batch(fn)     fn(key, batch)  -> batch     before the gradient (mixing, augmentation)
on_example(fn)   fn(key, update) -> update    on each example's gradient, then the mean (DP-SGD)
on_update(fn)    fn(key, update) -> update    on the update (noise, clipping, pruning)
"""

from collections.abc import Callable

import jax
import optax

from jleak.clients.telling import telling
from jleak.tree import stream
from jleak.types import Batch, Client, Defense, Key, Params


def on_update(fn: Callable[[Key, Params], Params]) -> Defense:
    """The defense that changes the client's update.

    >>> import jax.numpy as jnp
    >>> halve = on_update(lambda key, update: jax.tree.map(lambda u: u / 2, update))
    >>> halve(lambda key, params, batch: jnp.ones(2))(jax.random.key(0), None, None).tolist()
    [0.5, 0.5]
    """

    def defense(client: Client) -> Client:
        def defended(key, params, batch):
            update = client(stream(key, "inner"), params, batch)
            return fn(stream(key, "update"), update)

        return telling(client, defended)

    return defense


def on_batch(fn: Callable[[Key, Batch], Batch]) -> Defense:
    """The defense that changes the client's batch before anything is computed from it.

    >>> import jax.numpy as jnp
    >>> darken = on_batch(lambda key, batch: batch._replace(x=batch.x / 2))
    >>> client = darken(lambda key, params, batch: batch.x)
    >>> client(jax.random.key(0), None, Batch(jnp.ones(2), None)).tolist()
    [0.5, 0.5]
    """

    def defense(client: Client) -> Client:
        def defended(key, params, batch):
            return client(stream(key, "inner"), params, fn(stream(key, "batch"), batch))

        return telling(client, defended)

    return defense


def on_example(fn: Callable[[Key, Params], Params]) -> Defense:
    """The defense that changes each example's update, then takes the mean over the batch.

    >>> import jax.numpy as jnp
    >>> clip = on_example(lambda key, u: jnp.minimum(u, 1.0))
    >>> client = clip(lambda key, params, batch: batch.x.mean())
    >>> float(client(jax.random.key(0), None, Batch(jnp.array([0.0, 5.0]), jnp.zeros(2))))
    0.5
    """

    def defense(client: Client) -> Client:
        def defended(key, params, batch):
            def one(key, x, y):
                update = client(stream(key, "inner"), params, Batch(x[None], y[None]))
                return fn(stream(key, "example"), update)

            keys = jax.random.split(stream(key, "examples"), batch.x.shape[0])
            updates = jax.vmap(one)(keys, batch.x, batch.y)
            return jax.tree.map(lambda u: u.mean(0), updates)

        return telling(client, defended)

    return defense


def from_optax(transformation: optax.GradientTransformation) -> Defense:
    """Any optax gradient transformation, at its first step, as a defense of the update.

    >>> import jax.numpy as jnp
    >>> client = from_optax(optax.clip(0.5))(lambda key, params, batch: jnp.ones(2))
    >>> client(jax.random.key(0), None, None).tolist()
    [0.5, 0.5]
    """

    def fn(key, update):
        del key  # optax keeps its own randomness
        return transformation.update(update, transformation.init(update))[0]

    return on_update(fn)


def chain(*defenses: Defense) -> Defense:
    """`defenses` one after the other, the first nearest the client.

    `chain()` is the identity.

    >>> import jax.numpy as jnp
    >>> add = on_update(lambda key, u: u + 1)
    >>> double = on_update(lambda key, u: 2 * u)
    >>> float(chain(add, double)(lambda key, params, batch: jnp.array(1.0))(jax.random.key(0), None, None))
    4.0
    """

    def defense(client: Client) -> Client:
        for one in defenses:
            client = one(client)
        return client

    return defense
