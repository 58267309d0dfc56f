"""A small client, to try a label attack on."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch, Threat, View

SHAPE, CLASSES = (4, 4, 1), 3


def example(labels: Sequence[int], *, steps: int = 1, lr: float = 0.0) -> tuple[Threat, View]:
    """What the server knows and sees of a client with random images of these labels.

    An untrained perceptron of three classes; `view.prior` holds an image of each.

    Args:
      labels: class numbers, 0 to 2; a multiple of `steps`.
      steps: local steps, each on its own mini-batch.
      lr: their learning rate.

    >>> threat, view = example([0, 2, 2, 2, 2])
    >>> threat.batch, threat.classes, view.update["head"]["bias"].shape, view.prior.y.tolist()
    (5, 3, (3,), [0, 1, 2])
    """
    model, n = mlp(SHAPE, CLASSES, hidden=16), len(labels)
    params = model.init(jax.random.key(0))
    x, y = jax.random.uniform(jax.random.key(1), (n + CLASSES, *SHAPE)), jnp.asarray(labels)

    def loss(weights, x, y):
        return cross_entropy(model.apply({"params": weights}, x), y)

    weights, update = params["params"], jax.tree.map(jnp.zeros_like, params["params"])
    for i in range(steps):
        g = jax.grad(loss)(weights, x[i:n:steps], y[i::steps])
        weights = jax.tree.map(lambda w, u: w - lr * u, weights, g)
        update = jax.tree.map(jnp.add, update, g)
    threat = Threat(client=None, model=model, batch=n, local_steps=steps, lr=lr)
    return threat, View(params, update, prior=Batch(x[n:], jnp.arange(CLASSES)))
