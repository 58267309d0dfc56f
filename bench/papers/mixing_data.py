"""What the parts of `mixing.py` share: CIFAR-10 pixels, drawn batches, one softmax layer, errors.

from mixing_data import drawn, images, rmse, softmax_layer
"""

import jax
import jax.numpy as jnp
import numpy as np

from jleak.metrics import pair
from jleak.types import Batch, Model

SHAPE, PIXELS = (32, 32, 3), 3072


def images(given, name="cifar10_test"):
    """Images in [0, 1] and labels of a file."""
    held = np.load(given.data / f"{name}.npz")
    return held["images"] / 255, held["labels"]


def softmax_layer(classes):
    """One dense layer on the pixels, every number uniform in +- 1/sqrt(3072) (the default of PyTorch)."""

    def init(key):
        bound = PIXELS**-0.5
        kernel = jax.random.uniform(key, (PIXELS, classes), minval=-bound, maxval=bound)
        bias = jax.random.uniform(jax.random.fold_in(key, 1), (classes,), minval=-bound, maxval=bound)
        return {"params": {"head": {"kernel": kernel, "bias": bias}}}

    def features(params, x):
        return x.reshape(len(x), -1)

    def apply(params, x):
        head = params["params"]["head"]
        return features(params, x) @ head["kernel"] + head["bias"]

    return Model(init, apply, SHAPE, classes, ("head",), features, (("head",),))


def drawn(x, seed, n, classes, labels="distinct"):
    """Images and labels of a batch: distinct labels, random or identical ones, whatever is on the images."""
    rng = np.random.default_rng(seed)
    picks = rng.permutation(len(x))[:n]
    y = {"distinct": lambda: rng.permutation(classes)[:n], "identical": lambda: np.full(n, seed % classes)}
    y = y.get(labels, lambda: rng.integers(0, classes, n))()
    return Batch(jnp.asarray(x[picks]), jnp.asarray(np.sort(y)))


def rmse(x, truth):
    """Root mean square over all pixels, best pairing."""
    x = x[pair(x, truth)]
    return jnp.sqrt(jnp.mean((x - truth) ** 2))


def ratio(update, batch):
    """dW_y / db_y."""
    head = update["head"]
    return (head["kernel"].T / head["bias"][:, None])[batch.y].reshape(batch.x.shape)


def over_seeds(trial, given, *args):
    """Medians over seeds of a dict of numbers."""
    runs = [jax.device_get(trial(seed, *args)) for seed in range(given.seeds)]
    return {k: significant(np.median([r[k] for r in runs])) for k in runs[0]}


def significant(number):
    return float(f"{float(number):.3g}")


def told(cell):
    print(cell, flush=True)
    return cell
