"""AVD of known distortions of CIFAR-10 images (note E.2, shared/PAPERS.md): `mixing.py calibration`."""

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
    whole = images(given)[0].astype(np.float32)
    others = {"another image": np.roll(whole, 1, 0), "shift": np.roll(whole, 1, 2), "flip": whole[:, :, ::-1]}
    for name, distorted in others.items():  # the mean over draws of 400, and where 95 % of draws lie
        score = np.asarray(avd(jnp.asarray(distorted), jnp.asarray(whole)))
        means = [score[rng.permutation(len(whole))[:400]].mean() for _ in range(1000)]
        found[f"{name}, 1000 draws of 400"] = [
            significant(v) for v in (np.mean(means), *np.quantile(means, (0.025, 0.975)))
        ]
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
