"""Direct recovery, mixing as a defense, and AVD: notes E.2 to E.5 (shared/PAPERS.md), on CIFAR-10 pixels.

    python bench/papers/mixing.py PART... [--data FOLDER] [--seeds 5]

`single`, `peeling`, `table` and `spread` run in double precision, clients included, the others in single. One
result file a part.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
from common import quartiles, save
from mixing_avd import calibration
from mixing_data import (
    PIXELS,
    SHAPE,
    drawn,
    images,
    over_seeds,
    ratio,
    rmse,
    significant,
    softmax_layer,
    told,
)
from mixing_ica import ica
from mixing_price import price
from mixing_spread import spread

from jleak.attacks.demixing import Status, recover
from jleak.attacks.demixing.solve import Dense, corrected
from jleak.clients import fedsgd
from jleak.leakage import mixing
from jleak.losses import bce, cross_entropy, mse, sigmoid_mse
from jleak.metrics import avd, pair
from jleak.models import mlp
from jleak.types import Threat, View


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
    for labels, rounds, steps in (("auto", 1, 12), ("counts", 0, 12), ("counts", 1, 12)):
        attack = recover(
            Threat(client=client, model=model, batch=n), labels=labels, starts=1, rounds=rounds, steps=steps
        )

        def all_of(updates, attack=attack):
            return jax.lax.map(lambda u: attack(key, View(params, u)), updates, batch_size=4)

        program = jax.jit(all_of).lower(updates).compile()
        seconds = []
        for _ in range(3):
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


PARTS = {part.__name__: part for part in (single, peeling, table, spread, calibration, speed, price, ica)}
DOUBLE = ("single", "peeling", "table", "spread")

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
