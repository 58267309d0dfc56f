"""Clients, and the lifters that make defenses of plain functions.

A client is `(key, params, batch) -> update`: what leaves the device. A defense is `client -> client`, a
transformation as `jax.grad` is one. The lifters keep the common cases short::

    on_batch(fn)     fn(key, batch)  -> batch     before the gradient (mixing, augmentation)
    on_example(fn)   fn(key, update) -> update    on each example's gradient, then the mean (DP-SGD)
    on_update(fn)    fn(key, update) -> update    on the update (noise, clipping, pruning)
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jleak.check import InputError, number, whole
from jleak.tree import stream
from jleak.types import Batch, Client, Defense, Key, Loss, Model, Params


@dataclass(frozen=True)
class FedSGD:
    """The plain client, which shares its gradient. It tells its parts, so that attacks can compute with them.

    Attributes:
      model: the model that it trains.
      loss: its loss.
    """

    model: Model
    loss: Loss

    def __call__(self, key: Key, params: Params, batch: Batch) -> Params:
        del key  # draws nothing

        def objective(weights):
            return self.loss(self.model.apply({**params, "params": weights}, batch.x), batch.y)

        return jax.grad(objective)(params["params"])


def fedsgd(model: Model, loss: Loss) -> FedSGD:
    """The client of FedSGD: the gradient of the mean loss over its batch.

    Source: McMahan et al., AISTATS 2017 (FederatedSGD). The update has the structure of
    `params["params"]`; other Flax collections are held fixed.

    >>> import jax.numpy as jnp
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> params = model.init(jax.random.key(0))
    >>> batch = Batch(jnp.ones((1, 2, 2, 1)), jnp.array([2]))
    >>> update = fedsgd(model, cross_entropy)(jax.random.key(1), params, batch)
    >>> update["head"]["bias"].shape
    (3,)
    """
    return FedSGD(model, loss)


def fedavg(model: Model, loss: Loss, *, lr: float = 0.1, steps: int = 10, epochs: int = 1) -> Client:
    """The client of FedAvg: local SGD; the update is the sum of its gradients, (theta_0 - theta_end) / lr.

    An epoch goes through all n images once, in `steps` mini-batches of n / steps, in an order that the key
    draws anew for every epoch. One step of one epoch is `fedsgd`. Source: McMahan et al., AISTATS 2017
    (FederatedAveraging); that the server knows lr is usual in attacks on it (Dimitrov et al., TMLR 2022).

    Args:
      model, loss: as `fedsgd`.
      lr: learning rate of the local steps.
      steps: mini-batches an epoch.
      epochs: passes over the batch.

    Raises:
      InputError: lr < 0, no steps, no epochs; when called, a batch that `steps` does not divide.

    >>> import jax.numpy as jnp
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> params = model.init(jax.random.key(0))
    >>> batch = Batch(jnp.ones((4, 2, 2, 1)), jnp.array([2, 2, 0, 1]))
    >>> update = fedavg(model, cross_entropy, lr=0.1, steps=2)(jax.random.key(1), params, batch)
    >>> update["head"]["bias"].shape
    (3,)
    """
    number("lr", lr, least=0)
    whole("steps", steps)
    whole("epochs", epochs)
    gradient = fedsgd(model, loss)

    def client(key: Key, params: Params, batch: Batch) -> Params:
        n = len(batch.y)
        if n % steps:
            raise InputError(
                f"a client's batch must be a multiple of its steps, got batch={n} and steps={steps}; "
                f"use batch={steps * -(-n // steps)}, or steps=1"
            )

        def step(weights, picks):
            mini = jax.tree.map(lambda leaf: leaf[picks], batch)
            g = gradient(key, {**params, "params": weights}, mini)
            return jax.tree.map(lambda w, u: w - lr * u, weights, g), g

        keys = jax.random.split(stream(key, "order"), epochs)
        orders = jax.vmap(lambda k: jax.random.permutation(k, n))(keys)
        picks = orders.reshape(epochs * steps, n // steps)
        _, gradients = lax.scan(step, params["params"], picks)
        return jax.tree.map(lambda g: g.sum(0), gradients)

    return client


def fedsgd_dropout(model: Model, loss: Loss, *, rate: float = 0.5) -> Client:
    """`fedsgd` with dropout in front of the classifier: every feature is zeroed with probability `rate`.

    Features that stay are divided by 1 - rate; each image has a mask of its own, drawn by the key. Source:
    Srivastava et al., JMLR 2014; as a defense, Scheliga et al., "Dropout is NOT All You Need to Prevent
    Gradient Leakage", AAAI 2023, who break it. An attacker that imitates this client draws masks of its own.

    Args:
      model: one that tells its `features`.
      loss: as `fedsgd`.
      rate: in [0, 1); 0 is `fedsgd`.

    Raises:
      InputError: a rate outside of that, a model without `features`.

    >>> import jax.numpy as jnp
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jnp.ones((1, 2, 2, 1)), jnp.array([2]))
    >>> client = fedsgd_dropout(model, cross_entropy, rate=0.9)
    >>> update = client(jax.random.key(1), model.init(jax.random.key(0)), batch)
    >>> int((update["head"]["kernel"] == 0).all(1).sum()) >= 2
    True
    """
    number("rate", rate, least=0, below=1)
    if model.features is None:
        raise InputError("fedsgd_dropout needs a model that tells its features; give its Model a `features`")

    def apply(params, x, key):
        layer = params["params"]
        for name in model.head:
            layer = layer[name]
        h = model.features(params, x)
        h = jnp.where(jax.random.bernoulli(key, 1 - rate, h.shape), h / (1 - rate), 0.0)
        return h @ layer["kernel"] + layer.get("bias", 0.0)

    def client(key: Key, params: Params, batch: Batch) -> Params:
        masked = model._replace(apply=lambda params, x: apply(params, x, stream(key, "dropout")))
        return fedsgd(masked, loss)(key, params, batch)

    return client


CLIENTS: dict[str, Callable[..., Client]] = {
    "fedavg": fedavg,
    "fedsgd": fedsgd,
    "fedsgd_dropout": fedsgd_dropout,
}
"""How a client computes its update, by name: `(model, loss, *, ...) -> Client`."""


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

        return defended

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

        return defended

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

        return defended

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
