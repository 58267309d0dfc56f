"""How far one batch's numbers are from the next one's: `mixing.py spread`."""

import jax
import jax.numpy as jnp
import numpy as np
from mixing_data import drawn, images, ratio, significant, softmax_layer, told

from jleak.clients import fedsgd
from jleak.leakage import mixing
from jleak.losses import bce, cross_entropy, mse, sigmoid_mse

SHARES = (0.025, 0.25, 0.5, 0.75, 0.975)


def spread(given, seeds=400):
    """E.3's row, n = 100, B = 8, distinct labels, over many batches and weights: quantiles at `SHARES`.

    `denominator`: |db_y|, by which the ratio divides, the least of a batch in units of its largest residual.
    `share of E.3`: of the batches, how many have an RMSE below the notes' single number.
    """
    x, _ = images(given)
    model, found = softmax_layer(100), {}
    for loss, noted in ((cross_entropy, 0.02), (mse, 0.55), (sigmoid_mse, 0.29), (bce, 0.30)):

        @jax.jit
        def run(key, batch, loss=loss):
            params = jax.tree.map(lambda u: u.astype(float), model.init(key))
            update, score = fedsgd(model, loss)(key, params, batch), mixing(model, loss, params, batch)
            wrong = ratio(update, batch) - batch.x
            size = jnp.abs(score.residuals.sum(0))[batch.y] / jnp.abs(score.residuals).max()
            return {
                "mu": score.mu.mean(), "cond": score.condition, "denominator": size.min(),
                "rmse": jnp.sqrt(jnp.mean(wrong**2)),
                "rmse of the median image": jnp.median(jnp.sqrt(jnp.mean(wrong**2, axis=(1, 2, 3)))),
                "rmse clipped": jnp.sqrt(jnp.mean((jnp.clip(wrong + batch.x, 0, 1) - batch.x) ** 2)),
            }  # fmt: skip

        runs = [jax.device_get(run(jax.random.key(s), drawn(x, s, 8, 100))) for s in range(seeds)]
        cell = {k: [significant(q) for q in np.quantile([r[k] for r in runs], SHARES)] for k in runs[0]}
        cell["share of E.3"] = significant(np.mean([r["rmse"] < noted for r in runs]))
        found[loss.__name__] = told(cell)
    return found
