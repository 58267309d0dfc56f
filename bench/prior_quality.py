"""How good a prior is, in numbers that need no network of somebody else's.

    python bench/prior_quality.py digits private:digits
    python bench/prior_quality.py /tmp/priors/faces32.safetensors private:npz:../shared/data/lfw_faces32.npz

Reconstruction: the PSNR at which 32 images that the prior has not seen are found in its range, by Adam on the
latents (200 steps, 8 starts an image, their classes given where the prior knows classes). Beside it the best
constant image, and as many principal components of the training images as the prior has latents.
Samples: how often a classifier of real images, trained on the same images as the prior, takes a sample of a
class for one of that class; beside it the classifier's accuracy on the images that the prior has not seen.
"""

import argparse
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import save

from jleak import data, models, priors
from jleak.losses import cross_entropy
from jleak.metrics import best_constant, psnr
from jleak.training import Pool, begun, judging, order, piece, transformation

IMAGES, STARTS, STEPS, LR = 32, 8, 200, 0.1
SAMPLES, EPOCHS = 2000, 10


def measured(prior: priors.Prior, seen: data.Images, unseen: data.Images, seed: int = 0) -> dict[str, float]:
    """All numbers of a prior."""
    key = jax.random.key(seed)
    batch = data.draw(key, unseen, IMAGES)
    found = np.asarray(psnr(reconstructed(prior, key, batch), batch.x))
    numbers = {
        "found_psnr": found.mean(),
        "found_psnr_half_width": 1.96 * found.std(ddof=1) / IMAGES**0.5,
        "constant_psnr": psnr(best_constant(batch.x), batch.x).mean(),
        "components_psnr": psnr(projected(seen, batch.x, prior.generator.latent), batch.x).mean(),
    }
    if prior.generator.classes:
        judge = classifier(key, seen)
        x, y = sampled(prior, key)
        numbers |= {"samples_right": accuracy(judge, x, y)}
        numbers |= {"real_right": accuracy(judge, data.pixels(unseen.x), unseen.labels)}
    return {name: round(float(number), 3) for name, number in numbers.items()}


def reconstructed(prior: priors.Prior, key, batch) -> jax.Array:
    """Of each image the nearest that is found in the prior's range, by squared error."""
    generator, tx = prior.generator, optax.adam(LR)
    y = jnp.repeat(batch.y, STARTS) if generator.classes else None
    truth = jnp.repeat(batch.x, STARTS, 0)
    z = jax.random.normal(key, (len(truth), generator.latent))

    def errors(z):
        return jnp.square(generator.apply(prior.params, z, y) - truth).sum((1, 2, 3))

    def step(carry, _):
        z, moments = carry
        updates, moments = tx.update(jax.grad(lambda z: errors(z).sum())(z), moments)
        return (optax.apply_updates(z, updates), moments), None

    (z, _), _ = jax.jit(lambda z: jax.lax.scan(step, (z, tx.init(z)), length=STEPS))(z)
    best = errors(z).reshape(IMAGES, STARTS).argmin(1) + STARTS * jnp.arange(IMAGES)
    return generator.apply(prior.params, z[best], None if y is None else y[best])


def projected(seen: data.Images, x: jax.Array, components: int) -> np.ndarray:
    """Images on the principal components of those that were seen."""
    rows = data.pixels(seen.x).reshape(seen.size, -1).astype(float)
    mean = rows.mean(0)
    _, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    basis = vectors[:, ::-1][:, :components]
    flat = np.asarray(x, float).reshape(len(x), -1) - mean
    return np.clip(flat @ basis @ basis.T + mean, 0, 1).reshape(x.shape).astype(np.float32)


def sampled(prior: priors.Prior, key) -> tuple[np.ndarray, np.ndarray]:
    """Samples and the classes that were asked for."""
    y = jnp.arange(SAMPLES) % prior.generator.classes
    z = jax.random.normal(key, (SAMPLES, prior.generator.latent))
    return np.asarray(jax.jit(prior.generator.apply)(prior.params, z, y)), np.asarray(y)


def classifier(key, seen: data.Images):
    """`(x, y) -> right` of a network trained on those images: two dense layers, Adam."""
    model = models.mlp(seen.shape, seen.classes, hidden=(256, 128), activation_fn="relu", init="torch")
    steps = EPOCHS * max(1, seen.size // 64) if seen.size > 10_000 else 2000
    tx = transformation("adam", lr=1e-3, schedule="cosine", steps=steps)
    pool = Pool(jnp.asarray(seen.x), jnp.asarray(seen.labels, jnp.int32))
    rows = order(key, seen.size, 64, 0, steps)
    state, _, _ = jax.jit(piece(model, cross_entropy, tx))(
        begun(tx, model.init(key)), key, pool, rows, jnp.asarray(steps)
    )
    judge = jax.jit(judging(model, cross_entropy))
    return functools.partial(judge, state.params)


def accuracy(judge, x: np.ndarray, y: np.ndarray) -> float:
    """The share of images that the classifier takes for what they are."""
    pool = Pool(jnp.asarray(x), jnp.asarray(y, jnp.int32))
    return float(judge(pool, jnp.arange(len(x)))[0].mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("prior")
    parser.add_argument("unseen", help="images that the prior has not seen, as --dataset of an audit")
    parser.add_argument("--save", help="name of the results in bench/results")
    given = parser.parse_args()
    prior = priors.load(given.prior)
    numbers = measured(prior, data.load(prior.card["dataset"]), data.load(given.unseen))
    print(json.dumps({"prior": given.prior} | numbers))
    if given.save:
        save(given.save, {"prior": priors.fingerprint(given.prior), "unseen": given.unseen} | numbers)
