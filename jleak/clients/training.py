"""How a client computes its update: `(model, loss, *, ...) -> Client`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jleak.check import InputError, number, whole
from jleak.clients.telling import Telling
from jleak.tree import stream
from jleak.types import Batch, Client, Key, Loss, Model, Params


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

    return Telling(model, client)


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

    return Telling(model, client)


def secure_aggregation(
    model: Model, loss: Loss, *, members: int = 4, lr: float = 0.1, steps: int = 1, epochs: int = 1
) -> Client:
    """Several clients of which the server sees the mean update alone: secure aggregation.

    The batch is that of all members together, each holding as many consecutive images; every member is a
    `fedavg` of its own (of one step, the default, `fedsgd`). Source: Bonawitz et al., "Practical Secure
    Aggregation for Privacy-Preserving Machine Learning", CCS 2017, of whose protocol only the outcome matters
    here.

    Args:
      model, loss: as `fedsgd`.
      members: clients in the sum.
      lr, steps, epochs: of each member's local training, as `fedavg`.

    Raises:
      InputError: no members; when called, a batch that they do not divide; as `fedavg`.

    >>> import jax.numpy as jnp
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> params = model.init(jax.random.key(0))
    >>> batch = Batch(jnp.ones((4, 2, 2, 1)), jnp.array([2, 2, 0, 1]))
    >>> some, all = (secure_aggregation(model, cross_entropy, members=m)(jax.random.key(1), params, batch)
    ...              for m in (2, 4))
    >>> bool(jnp.allclose(some["head"]["bias"], all["head"]["bias"], atol=1e-6))
    True
    """
    whole("members", members)
    member = fedavg(model, loss, lr=lr, steps=steps, epochs=epochs)

    def client(key: Key, params: Params, batch: Batch) -> Params:
        n = len(batch.y)
        if n % members:
            raise InputError(
                f"the members' batches must be equal, got batch={n} and members={members}; "
                f"use batch={members * -(-n // members)}"
            )
        shares = jax.tree.map(lambda leaf: leaf.reshape(members, n // members, *leaf.shape[1:]), batch)
        keys = jax.random.split(stream(key, "members"), members)
        updates = jax.vmap(member, (0, None, 0))(keys, params, shares)
        return jax.tree.map(lambda u: u.mean(0), updates)

    return Telling(model, client)


CLIENTS: dict[str, Callable[..., Client]] = {
    "fedavg": fedavg,
    "fedsgd": fedsgd,
    "fedsgd_dropout": fedsgd_dropout,
    "secure_aggregation": secure_aggregation,
}
"""How a client computes its update, by name: `(model, loss, *, ...) -> Client`."""
