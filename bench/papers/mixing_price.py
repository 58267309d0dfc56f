"""What mixing costs in accuracy. Run by `mixing.py price`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from mixing_data import SHAPE, images, significant, told

from jleak.losses import bce, cross_entropy, mse, sigmoid_mse
from jleak.models import lenet, mlp


def price(given, steps=3000, batch=32):
    """Test accuracy after equal training (Adam, 1e-3) per loss, and with batches of one class: [mean, sd]."""
    found = {}
    for data, model in (("mnist", mlp((28, 28, 1), 10)), ("cifar10", lenet(SHAPE, 10, init="lecun"))):
        held, test = (
            images(given, {"mnist": "mnist_train", "cifar10": "cifar10_train20k"}[data]),
            images(given, f"{data}_test"),
        )
        held, test = (tuple(jnp.asarray(u) for u in (v[0].astype(np.float32), v[1])) for v in (held, test))
        for name, loss in (
            ("cross_entropy", cross_entropy),
            ("mse", mse),
            ("sigmoid_mse", sigmoid_mse),
            ("bce", bce),
        ):
            for labels in ("random", "identical")[: 2 if name == "cross_entropy" else 1]:
                accuracy = [trained(model, loss, held, test, labels, seed, steps, batch) for seed in range(3)]
                found[f"{data}, {name}, {labels}"] = told(
                    [significant(100 * np.mean(accuracy)), significant(100 * np.std(accuracy))]
                )
    return found


def trained(model, loss, held, test, labels, seed, steps, batch):
    """Test accuracy after training on batches of random images, or of one class each."""
    x, y = held
    rng = np.random.default_rng(seed)
    if labels == "identical":
        members = [np.flatnonzero(np.asarray(y) == c) for c in range(10)]
        picks = np.stack([rng.choice(members[rng.integers(10)], batch) for _ in range(steps)])
    else:
        picks = rng.integers(0, len(y), (steps, batch))
    optimizer, params = optax.adam(1e-3), model.init(jax.random.key(seed))

    def step(carry, rows):
        params, state = carry
        grads = jax.grad(lambda p: loss(model.apply(p, x[rows]), y[rows]))(params)
        moves, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, moves), state), None

    (params, _), _ = jax.jit(lambda c, rows: jax.lax.scan(step, c, rows))(
        (params, optimizer.init(params)), picks
    )
    guesses = jax.lax.map(lambda v: model.apply(params, v[None]).argmax(), test[0], batch_size=500)
    return float(jnp.mean(guesses.ravel() == test[1]))
