"""AVD of known distortions of CIFAR-10 images (note E.2, shared/PAPERS.md): `mixing.py calibration`."""

import jax
import jax.numpy as jnp
import numpy as np
from mixing_data import SHAPE, images, significant

from jleak.metrics import avd, avd_2022, variation


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
    found |= drawn_apart(images(given)[0].astype(np.float32), rng)
    shifted = variation(jnp.asarray(x + 0.2, jnp.float32), jnp.asarray(x, jnp.float32), clip=False)
    found["x + 0.2, not clipped"] = [significant(shifted.mean()), 0.0]
    return found


def drawn_apart(whole, rng, draws=40_000):
    """How far draws of 400 are from each other, and what those have that agree with E.2 otherwise.

    [mean, 2.5 %, 97.5 %] over draws: of each definition of a shift, of flip and others; then of those draws
    whose `KNOWN` are E.2's to the digits given, `another image` under two pairings.
    """
    scores = {name: score(fn(whole), whole) for name, fn in DISTORTIONS.items()}
    picks = np.stack([rng.permutation(len(whole))[:400] for _ in range(draws)])
    means = {
        name: np.concatenate([s[part].mean(1) for part in np.split(picks, 40)]) for name, s in scores.items()
    }
    alike = np.all([np.abs(means[name] - noted) <= 5e-4 for name, noted in KNOWN.items()], axis=0)
    found = {f"{name}, draws of 400": interval(m) for name, m in means.items()}
    found["images, draws, draws alike"] = [len(whole), draws, int(alike.sum())]
    for title, chosen in (("any", picks[:200]), ("draws alike", picks[alike][:200])):
        for name, pairing in PAIRINGS.items():
            others = [score(whole[p[pairing(len(p), rng)]], whole[p]).mean() for p in chosen]
            found[f"another image ({name}), {title}"] = interval(others)
    return found | {f"{name}, draws alike": interval(m[alike]) for name, m in means.items()}


def score(x, truth):
    """AVD, some images after the other."""
    return np.concatenate([np.asarray(JITTED(*part)) for part in zip(chunks(x), chunks(truth), strict=True)])


def chunks(x):
    return [x[i : i + 400] for i in range(0, len(x), 400)]


def interval(numbers):
    return [significant(v) for v in (np.mean(numbers), *np.quantile(numbers, (0.025, 0.975)))]


def replicated(x, axis):
    """Moved by a pixel, the border repeated."""
    moved = np.roll(x, 1, axis)
    edge = [slice(None)] * 4
    edge[axis] = 0
    moved[tuple(edge)] = x[tuple(edge)]
    return moved


JITTED = jax.jit(avd)

DISTORTIONS = {
    "0.5 x": lambda x: 0.5 * x,
    "constant": lambda x: np.zeros_like(x),
    "blur 1": lambda x: np.stack([blur(image) for image in x]),
    "flip": lambda x: x[:, :, ::-1],
    "flip, upside down": lambda x: x[:, ::-1],
    "shift right, wrapped": lambda x: np.roll(x, 1, 2),
    "shift down, wrapped": lambda x: np.roll(x, 1, 1),
    "shift right, edge": lambda x: replicated(x, 2),
    "shift down, edge": lambda x: replicated(x, 1),
    "shift right, 8 bits": lambda x: np.round(255 * np.roll(x, 1, 2)) / 255,
}

KNOWN = {"0.5 x": 0.089, "constant": 0.178, "blur 1": 0.123, "flip": 0.169}
"""What E.2 has of the distortions that leave no choice."""

PAIRINGS = {
    "the next one": lambda n, rng: np.roll(np.arange(n), 1),
    "permuted": lambda n, rng: rng.permutation(n),
}


def blur(image, sigma=1.0):
    """Gaussian blur with reflected borders."""
    taps = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        width = [(4, 4) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, width, mode="symmetric")
        image = sum(t * np.take(padded, range(k, k + 32), axis) for k, t in enumerate(taps))
    return image
