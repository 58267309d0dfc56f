"""Label attacks on thousands of victims in one call: seconds, memory, and what calibrating once is worth.

One untrained LeNet (32x32x3, 10 classes, U(-.5, .5)), CIFAR-10-sized images, `VICTIMS` clients of 64 images
each; given are the classifier's gradients. Every attack infers all victims in one compiled call, `LANES` at a
time; calibration is timed apart. Asked: every method together within 5 s on two cores, memory flat.

    python bench/label_speed.py [--victims 10000] [--rounds 5]
"""

import argparse

import jax
import jax.numpy as jnp
from common import interleaved, quartiles, save
from jax import lax

from jleak import labels
from jleak.labels.dummies import natural
from jleak.labels.head import head
from jleak.losses import cross_entropy
from jleak.models import lenet
from jleak.types import Batch, Threat, View

LANES = 100
KEY = jax.random.key(0)


def methods(threat):
    """Every label attack that serves a batch of one gradient step, by name."""
    found = {name: labels.LABELS[name] for name in ("random", "bias_sign", "llg", "llg_star", "llg_plus")}
    made = {name: attack(threat) for name, attack in found.items()}
    for name in ("llg", "llg_star", "llg_plus"):
        made[f"{name} published"] = found[name](threat, exact=False)
    for pbar in ("flat", "natural", "auxiliary"):
        made[f"counts {pbar}"] = labels.counts(threat, pbar=pbar)
    return made | {"ilrg": labels.ilrg(threat), "demix": labels.demix(threat)}


def shared(model, params, features, victims, n):
    """The classifier's gradients of so many clients: R^T H of n images each (no backward pass needed)."""
    layer = head(model, params["params"])

    def one(key):
        k_x, k_y = jax.random.split(key)
        h = features[jax.random.randint(k_x, (n,), 0, len(features))]
        p = jax.nn.softmax(h @ layer.kernel.T + layer.bias)
        r = (p - jax.nn.one_hot(jax.random.randint(k_y, (n,), 0, model.classes), model.classes)) / n
        return {"head": {"kernel": h.T @ r, "bias": r.sum(0)}}

    return lax.map(one, jax.random.split(KEY, victims), batch_size=LANES)


def many(attack, params):
    """`(updates, known) -> counts` of all victims, `LANES` at a time."""

    def program(updates, known):
        keys = jax.random.split(KEY, len(updates["head"]["bias"]))
        return lax.map(
            lambda one: attack.infer(one[0], View(params, one[1]), known), (keys, updates), batch_size=LANES
        )

    return program


def main(victims, rounds):
    """All tables."""
    model = lenet((32, 32, 3), 10)
    params = model.init(KEY)
    features = jax.jit(model.features)(params, natural(jax.random.key(1), (2000, 32, 32, 3)))
    prior = Batch(natural(jax.random.key(2), (200, 32, 32, 3)), jnp.arange(200) % 10)
    results = {"victims": victims, "lanes": LANES}
    for n, count in ((64, victims), (1024, victims // 10), (4096, victims // 10)):
        threat = Threat(client=None, model=model, batch=n, loss=cross_entropy)
        updates = jax.jit(lambda f, n=n, count=count: shared(model, params, f, count, n))(features)
        tasks, memory = {}, {}
        for name, attack in methods(threat).items():
            known = jax.jit(lambda a=attack: a.calibrate(View(params, None, None, prior)))()
            program = jax.jit(many(attack, params)).lower(updates, known).compile()
            fewer = jax.tree.map(lambda u: u[: len(u) // 10], updates)
            smaller = jax.jit(many(attack, params)).lower(fewer, known).compile()
            memory[name] = [p.memory_analysis().temp_size_in_bytes / 2**20 for p in (smaller, program)]
            tasks[name] = lambda program=program, updates=updates, known=known: program(updates, known)
        seconds = {name: quartiles(s) for name, s in interleaved(tasks, rounds).items()}
        results[f"B={n}, {count} victims"] = {
            "seconds": seconds,
            "all_methods_seconds": round(sum(s[1] for s in seconds.values()), 3),
            "temporary_mib_a_tenth_and_all": {k: [round(v, 2) for v in m] for k, m in memory.items()},
        }
    results["calibration_seconds"] = calibration(model, params, prior, rounds)
    save("label-speed", results)


def calibration(model, params, prior, rounds):
    """Seconds of one calibration, B = 8 and 128: the reference repeats it for every victim."""
    tasks = {}
    for n in (8, 128):
        threat = Threat(client=None, model=model, batch=n, loss=cross_entropy)
        for name in ("llg_star", "llg_plus", "demix"):
            attack = labels.LABELS[name](threat)
            program = jax.jit(lambda p, attack=attack: attack.calibrate(View(p, None, None, prior)))
            tasks[f"{name}, B={n}"] = lambda program=program: program(params)
    return {name: quartiles(s) for name, s in interleaved(tasks, rounds).items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--victims", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    main(given.victims, given.rounds)
