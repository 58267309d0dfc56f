"""Ratios, de-mixing and the cocktail party side by side, where gradients mix. Run by `mixing.py ica`."""

import jax
import jax.numpy as jnp
import numpy as np
from mixing_data import SHAPE, images, significant, told

from jleak.attacks import cocktail_party
from jleak.attacks.demixing import recover
from jleak.clients import fedsgd
from jleak.losses import cross_entropy, sigmoid_mse
from jleak.metrics import pair
from jleak.models import mlp
from jleak.search import best_of
from jleak.types import Batch, Threat, View


def ica(given):
    """PSNR where gradients mix: ratios, de-mixing and the cocktail party, from an MLP of 256 hidden units.

    The losses and labels: softmax of one class (its images), and sigmoid-MSE of random ones. Two starts.
    [least, median, greatest] over the seeds.
    """
    x, labels = images(given)
    x = x.astype(np.float32)
    model, found = mlp(SHAPE, 10, hidden=256), {}
    params = model.init(jax.random.key(0))
    for loss, draw in ((cross_entropy, "identical"), (sigmoid_mse, "random")):
        client = fedsgd(model, loss)
        for n in (4, 8, 16, 32):
            threat = Threat(client=client, model=model, batch=n, loss=loss)
            party = jax.jit(best_of(cocktail_party(threat), 2))
            solve = jax.jit(recover(threat))
            cells = []
            for seed in range(given.seeds):
                rng, key = np.random.default_rng(seed), jax.random.key(seed)
                held = np.flatnonzero(labels == seed % 10) if draw == "identical" else np.arange(len(x))
                picks = rng.permutation(held)[:n]
                batch = Batch(jnp.asarray(x[picks]), jnp.asarray(np.sort(labels[picks])))
                view = View(params, client(key, params, batch), batch.y)
                layer = view.update["dense0"]
                rows = jnp.argsort(-jnp.abs(layer["bias"]))[:n]
                simple = (layer["kernel"].T[rows] / layer["bias"][rows, None]).reshape(batch.x.shape)
                rec = party(key, view._replace(labels=None))
                cells.append({
                    "ratio": decibel(simple, batch.x), "demixing": decibel(solve(key, view).x, batch.x),
                    "cocktail_party": decibel(rec.x, batch.x), "its loss": rec.loss,
                })  # fmt: skip
            found[f"{loss.__name__}, {draw}, B={n}"] = told({
                k: [significant(q) for q in np.quantile([float(c[k]) for c in cells], (0.0, 0.5, 1.0))]
                for k in cells[0]
            })  # fmt: skip
    return found


def decibel(x, truth):
    """Mean PSNR over the images, best pairing, clipped to [0, 1]."""
    x = jnp.clip(jnp.nan_to_num(x), 0, 1)
    return jnp.mean(-10 * jnp.log10(jnp.mean((x[pair(x, truth)] - truth) ** 2, axis=(1, 2, 3))))
