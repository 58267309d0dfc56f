"""BigGAN-deep's published format: a checkpoint written here, and its images by NumPy in PyTorch's layout."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.priors import biggan_deep, load
from jleak.priors.published import published

LATENT, CLASSES, WIDTH, ROWS = 3, 4, 16, 3
LAYERS = [(False, 2, 2), (True, 2, 2), "attention", (False, 2, 2), (True, 2, 1)]
"""As the published configuration has them: doubling, channels before and after in units of the width."""

EPSILON = 1e-4


class Made:
    """Random arrays under published names."""

    def __init__(self, seed=0):
        self.rng, self.arrays = np.random.default_rng(seed), {}

    def normal(self, name, *shape, scale=1.0, shift=0.0):
        self.arrays[name] = (shift + scale * self.rng.normal(size=shape)).astype(np.float32)

    def spectral(self, name, *shape, bias=True):
        """A weight with singular vectors that are near the largest, as after one step of their iteration."""
        self.normal(f"{name}.weight_orig", *shape)
        matrix = self.arrays[f"{name}.weight_orig"].reshape(shape[0], -1)
        u = self.rng.normal(size=shape[0])
        v = matrix.T @ u
        u = matrix @ (v / np.linalg.norm(v))
        self.arrays[f"{name}.weight_u"] = (u / np.linalg.norm(u)).astype(np.float32)
        self.arrays[f"{name}.weight_v"] = (v / np.linalg.norm(v)).astype(np.float32)
        if bias:
            self.normal(f"{name}.bias", shape[0], scale=0.3)

    def norm(self, name, width, steered=True):
        self.normal(f"{name}.running_means", ROWS, width, scale=0.1)
        self.arrays[f"{name}.running_vars"] = self.rng.uniform(0.5, 2, (ROWS, width)).astype(np.float32)
        for part in ("scale", "offset") if steered else ():
            self.spectral(f"{name}.{part}", width, 2 * LATENT, bias=False)


@pytest.fixture(scope="module")
def arrays():
    made = Made()
    made.normal("embeddings.weight", LATENT, CLASSES)
    made.spectral("generator.gen_z", 16 * 2 * WIDTH, 2 * LATENT)
    for i, layer in enumerate(LAYERS):
        name = f"generator.layers.{i}"
        if layer == "attention":
            made.normal(f"{name}.gamma", 1, shift=1.0)
            channels = 2 * WIDTH
            for part, out in (("theta", channels // 8), ("phi", channels // 8), ("g", channels // 2)):
                made.spectral(f"{name}.snconv1x1_{part}", out, channels, 1, 1, bias=False)
            made.spectral(f"{name}.snconv1x1_o_conv", channels, channels // 2, 1, 1, bias=False)
            continue
        before, after = (WIDTH * m for m in layer[1:])
        middle = before // 4
        shapes = [(middle, before, 1), (middle, middle, 3), (middle, middle, 3), (after, middle, 1)]
        for j, (out, inputs, side) in enumerate(shapes):
            made.norm(f"{name}.bn_{j}", inputs)
            made.spectral(f"{name}.conv_{j}", out, inputs, side, side)
    made.norm("generator.bn", WIDTH, steered=False)
    made.normal("generator.bn.weight", WIDTH)
    made.normal("generator.bn.bias", WIDTH)
    made.spectral("generator.conv_to_rgb", WIDTH, WIDTH, 3, 3)
    return made.arrays


def weight(arrays, name):
    w, u, v = (arrays[f"{name}.weight_{part}"].astype(np.float64) for part in ("orig", "u", "v"))
    return w / (u @ (w.reshape(len(w), -1) @ v))


def images(arrays, z, y, conv):
    """In [0, 1], (n, h, w, c), at truncation 1: the last of the statistics."""

    def norm(x, name, scale, offset):
        mean, var = (arrays[f"{name}.running_{what}"][-1][:, None, None] for what in ("means", "vars"))
        x = (x - mean) / np.sqrt(var + EPSILON) * scale[..., None, None] + offset[..., None, None]
        return np.maximum(x, 0)

    def steered(x, name):
        scale, offset = (c @ weight(arrays, f"{name}.{part}").T for part in ("scale", "offset"))
        return norm(x, name, 1 + scale, offset)

    def twice(x):
        return x.repeat(2, 2).repeat(2, 3)

    def pooled(x):
        n, channels, h, w = x.shape
        return x.reshape(n, channels, h // 2, 2, w // 2, 2).max((3, 5)).reshape(n, channels, -1)

    def attend(x, name):
        theta, phi, g = (conv(x, weight(arrays, f"{name}.snconv1x1_{p}")) for p in ("theta", "phi", "g"))
        scores = theta.reshape(*theta.shape[:2], -1).transpose(0, 2, 1) @ pooled(phi)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        seen = (pooled(g) @ shares.transpose(0, 2, 1)).reshape(g.shape)
        return x + arrays[f"{name}.gamma"] * conv(seen, weight(arrays, f"{name}.snconv1x1_o_conv"))

    c = np.concatenate([z, np.eye(CLASSES)[y] @ arrays["embeddings.weight"].T], 1)
    x = c @ weight(arrays, "generator.gen_z").T + arrays["generator.gen_z.bias"]
    x = x.reshape(-1, 4, 4, 2 * WIDTH).transpose(0, 3, 1, 2)
    for i, layer in enumerate(LAYERS):
        name = f"generator.layers.{i}"
        if layer == "attention":
            x = attend(x, name)
            continue
        short = x[:, : WIDTH * layer[2]]
        for j in range(4):
            x = steered(x, f"{name}.bn_{j}")
            x = twice(x) if layer[0] and j == 1 else x
            x = conv(x, weight(arrays, f"{name}.conv_{j}"), arrays[f"{name}.conv_{j}.bias"])
        x = x + (twice(short) if layer[0] else short)
    x = norm(x, "generator.bn", arrays["generator.bn.weight"], arrays["generator.bn.bias"])
    x = conv(x, weight(arrays, "generator.conv_to_rgb"), arrays["generator.conv_to_rgb.bias"])
    return (np.tanh(x[:, :3]).transpose(0, 2, 3, 1) + 1) / 2


def test_a_published_checkpoint_makes_the_same_images(arrays, conv, torch_saved, tmp_path):
    prior = load(torch_saved(tmp_path / "biggan.bin", arrays))
    generator = prior.generator
    assert (generator.shape, generator.classes, generator.latent) == ((16, 16, 3), CLASSES, LATENT)
    assert prior.card["source"].startswith("BigGAN-deep") and prior.card["generator"] == "biggan_deep"
    z, y = np.random.default_rng(1).normal(size=(3, LATENT)), np.array([0, 3, 1])
    got = generator.apply(prior.params, jnp.asarray(z, jnp.float32), jnp.asarray(y))
    wanted = images(arrays, z, y, conv)
    assert wanted.std() > 0.1 and wanted.std(0).mean() > 0.02
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_the_statistics_are_those_of_the_truncation(arrays):
    _, params, told = published(arrays, Path("biggan.bin"))
    z, y = jnp.ones((1, LATENT)), jnp.array([2])

    @jax.jit  # the truncation may be traced
    def of(truncation, constants):
        made = biggan_deep((16, 16, 3), CLASSES, truncation=truncation, **json.loads(told["generator_args"]))
        return made.apply({**params, "constants": constants}, z, y)

    def drawn(truncation, turn=lambda table: table):
        return of(truncation, jax.tree.map(turn, params["constants"]))

    middle = {0.0: lambda t: t[0], 0.5: lambda t: t[1], 0.75: lambda t: (t[1] + t[2]) / 2}
    for truncation, row in middle.items():
        only = drawn(1.0, lambda table, row=row: jnp.stack([row(table)] * ROWS))
        np.testing.assert_allclose(drawn(truncation), only, atol=1e-5)
    assert np.abs(drawn(0.5) - drawn(1.0)).max() > 1e-3


def test_weights_whose_normalisation_was_removed_are_taken_as_they_are(arrays):
    plain = {}
    for name, array in arrays.items():
        base, _, part = name.rpartition("_")
        if base.endswith(".weight") and part in ("orig", "u", "v"):
            plain[base] = weight(arrays, base.removesuffix(".weight")).astype(np.float32)
        else:
            plain[name] = array
    assert len(plain) < len(arrays)
    one, other = (published(given, Path("a.bin")) for given in (arrays, plain))
    for a, b in zip(*(jax.tree.leaves(prior.params) for prior in (one, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.pop("generator.layers.1.bn_2.scale.weight_v"),
            "layers.1.bn_2.scale.weight_v is missing",
        ),
        (lambda a: a.pop("generator.layers.2.gamma"), "generator.layers.2.gamma is missing"),
        (lambda a: a.update({"discriminator.weight": np.zeros(1)}), "discriminator.weight is not wanted"),
        (
            lambda a: a.update({"generator.layers.0.conv_1.bias": np.zeros(3, np.float32)}),
            r"generator.layers.0.conv_1.bias, of \(3,\), gives \(3,\), wanted is \(8,\)",
        ),
        (
            lambda a: a.update({"generator.conv_to_rgb.weight_orig": np.zeros((16, 16, 1, 3), np.float32)}),
            "conv_to_rgb.weight_v, of .* cannot be turned to",
        ),
    ],
)
def test_what_does_not_fit_is_named(arrays, change, message):
    changed = dict(arrays)
    change(changed)
    with pytest.raises(InputError, match=rf"^a.bin, taken for BigGAN-deep .*, does not fit: .*{message}"):
        published(changed, Path("a.bin"))
