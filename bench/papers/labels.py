"""Label attacks: success by data set, initialisation, batch size, draw, noise and training.

The sampling unit is the model: each row is so many models with one victim each. Rates are
|predicted and true counts in common| / predicted, in percent, with the half width of the 95 % interval
over models. `published` names the rules as their authors state them, the rest is jleak's default.
Data: the npz files of a folder (default ../shared/data), see its README.

    python bench/papers/labels.py [--data FOLDER] [--models 100] [--sizes 8,128]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from common import save

from jleak import data, labels
from jleak.clients import fedsgd
from jleak.defenses import gaussian
from jleak.losses import cross_entropy
from jleak.models import lenet
from jleak.types import Batch, Threat, View

SETS = {
    "cifar10": ("cifar10_test", "cifar10_train20k"),
    "cifar100": ("cifar100_test1k", "cifar100_test1k"),
    "mnist": ("mnist_test", "mnist_train"),
    "faces": ("lfw_faces32", "lfw_faces32"),
}
"""name -> (victims' images, auxiliary and training images). Where they are one file, halves are used."""

AUXILIARY = 20
"""Auxiliary images a class for LLG+ and `counts(pbar="auxiliary")`."""


def methods(threat):
    """What is compared, by name."""
    return {
        "random": labels.random(threat),
        "llg published": labels.llg(threat, exact=False),
        "llg": labels.llg(threat),
        "llg_star published": labels.llg_star(threat, exact=False),
        "llg_star": labels.llg_star(threat),
        "llg_plus published": labels.llg_plus(threat, exact=False),
        "llg_plus": labels.llg_plus(threat),
        "counts natural": labels.counts(threat, pbar="natural"),
        "counts auxiliary": labels.counts(threat, pbar="auxiliary"),
        "ilrg": labels.ilrg(threat),
        "demix": labels.demix(threat),
    }


def loaded(folder, name):
    """(victims' images, auxiliary images) of a data set, disjoint."""
    victims, other = (data.npz(folder / f"{file}.npz") for file in SETS[name])
    if SETS[name][0] == SETS[name][1]:
        half = np.arange(victims.size) % 2 == 0
        return (victims._replace(x=victims.x[m], labels=victims.labels[m]) for m in (half, ~half))
    return victims, other


def drawn(rng, images, n, iid):
    """A batch: labels uniform, or half of one class, a quarter of another and the rest uniform (LLG)."""
    y = rng.integers(0, images.classes, n)
    if not iid:
        a, b = rng.choice(images.classes, 2, replace=False)
        y[: n // 2], y[n // 2 : n // 2 + n // 4] = a, b
    picks = [rng.choice(np.flatnonzero(images.labels == c)) for c in y]
    return data.pixels(images.x[picks]), y


def auxiliary(rng, images):
    """A few images of every class."""
    picks = [rng.choice(np.flatnonzero(images.labels == c), AUXILIARY) for c in range(images.classes)]
    picks = np.concatenate(picks)
    return Batch(jnp.asarray(data.pixels(images.x[picks])), jnp.asarray(images.labels[picks]))


def attacked(model, n):
    """One model's program: `(params, x, y, prior, sigma, key) -> counts by method`."""
    threat = Threat(client=None, model=model, batch=n, loss=cross_entropy)
    found = methods(threat)
    client = fedsgd(model, cross_entropy)

    @jax.jit
    def program(params, x, y, prior, sigma, key):
        update = gaussian(sigma=sigma)(client)(key, params, Batch(x, y))
        view = View(params, update, None, prior)
        return {name: attack(key, view) for name, attack in found.items()}

    return program


def rates(program, weights, images, other, n, iid, sigma=0.0, seed=0):
    """Success of every method in percent: [mean, half width of the 95 % interval] over models."""
    rng = np.random.default_rng(seed)
    prior = auxiliary(rng, other)
    hits = {}
    for i, params in enumerate(weights):
        x, y = drawn(rng, images, n, iid)
        out = program(params, jnp.asarray(x), jnp.asarray(y), prior, sigma, jax.random.key(i))
        true = np.bincount(y, minlength=images.classes)
        for name, counts in out.items():
            counts = np.asarray(counts)
            hits.setdefault(name, []).append(100 * np.minimum(counts, true).sum() / max(counts.sum(), 1))
    return {
        name: [round(float(np.mean(h)), 1), round(float(1.96 * np.std(h, ddof=1) / len(h) ** 0.5), 1)]
        for name, h in hits.items()
    }


def trained(model, params, images, steps, seed, lr=0.1, n=8):
    """The parameters after so many steps of SGD on batches of `n` (LLG's training)."""
    client, rng = fedsgd(model, cross_entropy), np.random.default_rng(seed)
    x, y = jnp.asarray(images.x), jnp.asarray(images.labels)

    @jax.jit
    def run(params, picks):
        def step(params, pick):
            g = client(None, params, Batch(x[pick] / 255.0, y[pick]))
            return {"params": jax.tree.map(lambda w, g: w - lr * g, params["params"], g)}, None

        return jax.lax.scan(step, params, picks)[0]

    return run(params, jnp.asarray(rng.integers(0, len(y), (steps, n))))


def main(folder, models, sizes):
    """All tables."""
    results = {"models": models, "auxiliary_images_per_class": AUXILIARY, "untrained": {}, "noise": {}}
    for name in SETS:
        images, other = loaded(folder, name)
        for init in ("zhu", "lecun"):
            model = lenet(images.shape, images.classes, init=init)
            weights = [model.init(jax.random.key(s)) for s in range(models)]
            for n in sizes:
                program = attacked(model, n)
                for draw in ("iid", "non-iid"):
                    row = f"{name}, {init}, {draw}, B={n}"
                    results["untrained"][row] = rates(program, weights, images, other, n, draw == "iid")
                    print(row, results["untrained"][row], flush=True)
                if n == 8 and name.startswith("cifar"):
                    for sigma in (0.01, 0.1, 1.0):
                        row = f"{name}, {init}, iid, B=8, sigma={sigma}"
                        results["noise"][row] = rates(program, weights, images, other, n, True, sigma)
                        print(row, results["noise"][row], flush=True)
    results["training"] = training(folder)
    save("labels", results)


def training(folder, seeds=10, victims=10, stages=(0, 1000, 3000, 10_000), first=0):
    """CIFAR-10, U(-.5, .5), after so many steps: `seeds` models with `victims` victims each."""
    images, other = loaded(folder, "cifar10")
    model, found = lenet(images.shape, images.classes), {}
    for steps in stages:
        weights = [
            trained(model, model.init(jax.random.key(s)), other, steps, s)
            for s in range(first, first + seeds)
        ]
        for n in (8, 128):
            program = attacked(model, n)
            for draw in ("iid", "non-iid"):
                row = f"{steps} steps, {draw}, B={n}"
                found[row] = rates(program, weights * victims, images, other, n, draw == "iid", seed=first)
                print(row, found[row], flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[8, 128])
    parser.add_argument("--fresh", action="store_true", help="only 10,000 steps, on models not seen before")
    given = parser.parse_args()
    if given.fresh:
        save("labels-fresh", training(given.data, stages=(10_000,), first=1000))
    else:
        main(given.data, given.models, given.sizes)
