"""Direct recovery, mixing as a defense, and AVD: notes E.2 to E.5 (shared/PAPERS.md), on CIFAR-10 pixels.

    python bench/papers/mixing.py PART... [--data FOLDER] [--seeds 5]

`single`, `peeling` and `table` run in double precision, clients included, the others in single precision.
One result file a part.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import quartiles, save

from jleak.attacks import cocktail_party
from jleak.attacks.demixing import Status, recover
from jleak.attacks.demixing.solve import Dense, corrected
from jleak.clients import fedsgd
from jleak.leakage import mixing
from jleak.losses import bce, cross_entropy, mse, sigmoid_mse
from jleak.metrics import avd, avd_2022, pair, variation
from jleak.models import lenet, mlp
from jleak.search import best_of
from jleak.types import Batch, Model, Threat, View

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


def single(given):
    """E.4: one softmax layer, distinct labels; labels found by the attack."""
    x, _ = images(given)
    found = {}
    for classes, n in ((10, 4), (10, 8), (10, 9), (100, 8), (100, 32), (100, 64)):
        model = softmax_layer(classes)
        client = fedsgd(model, cross_entropy)
        attack = recover(Threat(client=client, model=model, batch=n), starts=1)

        @jax.jit
        def run(key, batch, model=model, client=client, attack=attack):
            params = jax.tree.map(lambda u: u.astype(float), model.init(key))
            update = client(key, params, batch)
            head, layer = update["head"], params["params"]["head"]
            dense = Dense(head["kernel"].T, head["bias"], layer["kernel"].T, layer["bias"])
            middle = corrected(dense, batch.y, jnp.full(PIXELS, 0.5))[0].reshape(batch.x.shape)
            rec = attack(key, View(params, update))
            return {
                "ratio": rmse(ratio(update, batch), batch.x),
                "corrected": rmse(middle, batch.x),
                "fixed point": rmse(rec.x, batch.x),
                "labels": jnp.mean(rec.y == batch.y),
                "proven": jnp.mean(rec.status == Status.PROVEN),
            }

        cell = over_seeds(lambda s, n=n, c=classes, run=run: run(jax.random.key(s), drawn(x, s, n, c)), given)
        found[f"n={classes}, B={n}"] = told(cell)
    return found


def told(cell):
    print(cell, flush=True)
    return cell


def peeling(given):
    """E.4: a perceptron 3072-256-128-100, B = 90, noise relative to each tensor's root mean square."""
    x, _ = images(given)
    found = {}
    for activation in ("sigmoid", "relu", "tanh", "leaky_relu"):
        model = mlp(SHAPE, 100, hidden=(256, 128), activation_fn=activation, init="torch")
        client = fedsgd(model, cross_entropy)
        attack = recover(Threat(client=client, model=model, batch=90), starts=1, rounds=given.rounds)

        @jax.jit
        def run(key, batch, noise, model=model, client=client, attack=attack):
            params = jax.tree.map(lambda u: u.astype(float), model.init(key))
            update = client(key, params, batch)
            leaves, tree = jax.tree.flatten(update)
            keys = jax.random.split(key, len(leaves))
            leaves = [
                u + noise * jnp.sqrt(jnp.mean(u**2)) * jax.random.normal(k, u.shape)
                for u, k in zip(leaves, keys, strict=True)
            ]
            rec = attack(key, View(params, jax.tree.unflatten(tree, leaves)))
            error = jnp.sqrt(jnp.mean((rec.x[pair(rec.x, batch.x)] - batch.x) ** 2, axis=(1, 2, 3)))
            return {
                "worst image": error.max(),
                "rmse": jnp.sqrt(jnp.mean(error**2)),
                "residual": rec.residual,
                "labels": jnp.mean(rec.y == batch.y),
                "proven": jnp.mean(rec.status == Status.PROVEN),
                "noisy": jnp.mean(rec.status == Status.NOISY),
            }

        for noise in (0.0, 1e-8, 1e-6, 1e-4):
            cell = over_seeds(
                lambda s, run=run, noise=noise: run(jax.random.key(s), drawn(x, s, 90, 100), noise), given
            )
            found[f"{activation}, noise={noise:g}"] = told(cell)
    return found


def table(given):
    """E.3, E.5: mixing per loss, draw of labels and batch size, n = 100; labels and loss are known."""
    x, _ = images(given)
    found = {}
    for loss in (cross_entropy, mse, sigmoid_mse, bce):
        for n in (8, 32):
            run = jax.jit(functools.partial(mixed, softmax_layer(100), loss))
            for labels in ("distinct", "random", "identical"):
                cell = over_seeds(
                    lambda s, run=run, n=n, labels=labels: run(
                        jax.random.key(s), drawn(x, s, n, 100, labels)
                    ),
                    given,
                )
                found[f"{loss.__name__}, {labels}, B={n}"] = told(cell)
    return found


def mixed(model, loss, key, batch):
    """One victim of the table."""
    client = fedsgd(model, loss)
    params = jax.tree.map(lambda u: u.astype(float), model.init(key))
    update = client(key, params, batch)
    score = mixing(model, loss, params, batch)
    simple = ratio(update, batch)
    threat = Threat(client=client, model=model, batch=len(batch.y), loss=loss)
    rec = recover(threat)(key, View(params, update, batch.y))
    full = rec.x[pair(rec.x, batch.x)]
    return {
        "mu": score.mu.mean(),
        "cond": score.condition,
        "effective rank": score.rank,
        "ratio rmse": jnp.sqrt(jnp.mean((simple - batch.x) ** 2)),
        "ratio rmse to the mean": jnp.sqrt(jnp.mean((simple - batch.x.mean(0)) ** 2)),
        "ratio avd": avd(simple, batch.x).mean(),
        "recovered rmse": jnp.sqrt(jnp.mean((full - batch.x) ** 2)),
        "recovered avd": avd(full, batch.x).mean(),
        "residual": rec.residual,
        "proven": jnp.mean(rec.status == Status.PROVEN),
        "ambiguous": jnp.mean(rec.status == Status.AMBIGUOUS),
    }


def calibration(given):
    """E.2: [AVD, its standard error, the older form] of distortions of the first 400 test images."""
    x = images(given)[0][:400]
    rng = np.random.default_rng(0)
    constant = np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)
    blurred = np.stack([blur(image) for image in x])
    noises = {f"gaussian {s}": x + s * rng.normal(size=x.shape) for s in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)}
    cases = {
        "identical": x, "inverted": 1 - x, "0.5 x": 0.5 * x, **noises,
        "uniform noise": rng.random(x.shape), "another image": np.roll(x, 1, 0), "constant": constant,
        "mean of 8": x.reshape(50, 8, *SHAPE).mean(1).repeat(8, 0),
        "0.9 x + 0.1 other": 0.9 * x + 0.1 * np.roll(x, 1, 0),
        "blur 1": blurred, "shift": np.roll(x, 1, 2), "flip": x[:, :, ::-1],
    }  # fmt: skip
    found = {}
    for name, distorted in cases.items():
        score = np.asarray(avd(jnp.asarray(distorted, jnp.float32), jnp.asarray(x, jnp.float32)))
        old = avd_2022(jnp.asarray(distorted, jnp.float32), jnp.asarray(x, jnp.float32))
        error = score.std() / np.sqrt(len(x))
        found[name] = [significant(v) for v in (score.mean(), error, np.mean(old))]
    shifted = variation(jnp.asarray(x + 0.2, jnp.float32), jnp.asarray(x, jnp.float32), clip=False)
    found["x + 0.2, not clipped"] = [significant(shifted.mean()), 0.0]
    return found


def blur(image, sigma=1.0):
    """Gaussian blur with reflected borders."""
    taps = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        width = [(4, 4) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, width, mode="symmetric")
        image = sum(t * np.take(padded, range(k, k + 32), axis) for k, t in enumerate(taps))
    return image


def speed(given, victims=1000, n=8):
    """1,000 victims of a 3072-100 layer in one compiled call, single precision in, labels found."""
    x, _ = images(given)
    model = softmax_layer(100)
    client, key = fedsgd(model, cross_entropy), jax.random.key(0)
    params = model.init(key)
    batches = [drawn(x, seed, n, 100) for seed in range(victims)]
    batches = jax.tree.map(lambda *u: jnp.stack(u).astype(jnp.result_type(u[0])), *batches)
    updates = jax.jit(lambda b: jax.lax.map(lambda one: client(key, params, one), b, batch_size=50))(batches)
    found = {}
    for labels, rounds, steps in (("counts", 0, 12), ("counts", 1, 12), ("demix", 0, 12)):
        attack = recover(
            Threat(client=client, model=model, batch=n), labels=labels, starts=1, rounds=rounds, steps=steps
        )

        def all_of(updates, attack=attack):
            return jax.lax.map(lambda u: attack(key, View(params, u)), updates, batch_size=4)

        program = jax.jit(all_of).lower(updates).compile()
        seconds = []
        for _ in range(2):
            clock = time.perf_counter()
            recs = jax.block_until_ready(program(updates))
            seconds.append(time.perf_counter() - clock)
        errors = jnp.sqrt(jnp.mean((recs.x - batches.x) ** 2, axis=(1, 2, 3, 4)))
        found[f"labels={labels}, rounds={rounds}, steps={steps}"] = told({
            "seconds": quartiles(seconds), "rmse median": significant(jnp.median(errors)),
            "rmse worst victim": significant(errors.max()),
            "labels": significant(jnp.mean(recs.y == batches.y)),
            "proven": significant(jnp.mean(recs.status == Status.PROVEN)),
        })  # fmt: skip
    return found


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


def ica(given):
    """PSNR where gradients mix: ratios, de-mixing and the cocktail party, from an MLP of 256 hidden units.

    The losses and labels: softmax of one class (its images), and sigmoid-MSE of random ones. Two starts.
    """
    x, labels = images(given)
    x = x.astype(np.float32)
    model, found = mlp(SHAPE, 10, hidden=256), {}
    params = model.init(jax.random.key(0))
    for loss, draw in ((cross_entropy, "identical"), (sigmoid_mse, "random")):
        client = fedsgd(model, loss)
        for n in (8, 16, 32):
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
            found[f"{loss.__name__}, {draw}, B={n}"] = told(
                {k: significant(np.median([float(c[k]) for c in cells])) for k in cells[0]}
            )
    return found


def decibel(x, truth):
    """Mean PSNR over the images, best pairing, clipped to [0, 1]."""
    x = jnp.clip(jnp.nan_to_num(x), 0, 1)
    return jnp.mean(-10 * jnp.log10(jnp.mean((x[pair(x, truth)] - truth) ** 2, axis=(1, 2, 3))))


PARTS = {part.__name__: part for part in (single, peeling, table, calibration, speed, price, ica)}
DOUBLE = ("single", "peeling", "table")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1, help="of counting labels anew, in peeling")
    given = parser.parse_args()
    for part in given.parts:
        jax.config.update("jax_enable_x64", part in DOUBLE)
        save(f"mixing-{part}", {"seeds": given.seeds, "rows": PARTS[part](given)})
