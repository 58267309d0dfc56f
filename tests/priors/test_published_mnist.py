"""The three public MNIST generators, on made-up arrays and on the real ones, against their description."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.priors import load, save
from jleak.priors.published import published

DATA = Path("/work/shared/data")
SHAPES = {
    "gen_mnist_mlp_gan": {"0": (7, 5), "2": (6, 7), "4": (16, 6)},
    "gen_mnist_vae_decoder": {"fc3": (7, 5), "fc4": (16, 7)},
    "gen_mnist_cond_wgangp": {
        "label_emb": (3, 2),
        "l1.0": (24, 7),
        "conv_blocks.0": (6,),
        "conv_blocks.2": (6, 6, 3, 3),
        "conv_blocks.3": (6,),
        "conv_blocks.6": (3, 6, 3, 3),
        "conv_blocks.7": (3,),
        "conv_blocks.9": (1, 3, 3, 3),
    },
}
"""Of small ones, the shapes of their weights: latents of 5, images of 4x4 and of 8x8."""


def made_up(name):
    rng, arrays = np.random.default_rng(0), {}
    for layer, shape in SHAPES[name].items():
        arrays[f"{layer}.weight"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        if layer != "label_emb":
            arrays[f"{layer}.bias"] = rng.normal(size=shape[0])
        if len(shape) == 1:
            arrays[f"{layer}.running_mean"] = rng.normal(size=shape)
            arrays[f"{layer}.running_var"] = rng.uniform(0.5, 2, shape)
    return {key: array.astype(np.float32) for key, array in arrays.items()}


@pytest.fixture(params=["made up", "real"])
def file(request, tmp_path):
    def named(name):
        if request.param == "made up":
            path = tmp_path / f"{name}.npz"
            np.savez(path, **made_up(name))
            return path
        path = DATA / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"{path} is not there")
        return path

    return named


def opened(path):
    with np.load(path) as file:
        arrays = {name: file[name].astype(np.float64) for name in file.files}
    prior = load(path)
    rng = np.random.default_rng(1)
    return arrays, prior, rng.normal(size=(3, prior.generator.latent)), rng


def relu(x):
    return np.maximum(x, 0)


def linear(arrays, name, x):
    return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def drawn(prior, z, y=None):
    y = None if y is None else jnp.asarray(y)
    return np.asarray(prior.generator.apply(prior.params, jnp.asarray(z, jnp.float32), y))


def test_the_mlp_gan(file):
    arrays, prior, z, _ = opened(file("gen_mnist_mlp_gan"))
    x = np.tanh(linear(arrays, "4", relu(linear(arrays, "2", relu(linear(arrays, "0", z))))))
    wanted = (x.reshape(3, *prior.generator.shape) + 1) / 2
    assert wanted.std(0).max() > 0.02
    np.testing.assert_allclose(drawn(prior, z), wanted, atol=1e-5)


def test_the_vae_decoder(file):
    arrays, prior, z, _ = opened(file("gen_mnist_vae_decoder"))
    x = 1 / (1 + np.exp(-linear(arrays, "fc4", relu(linear(arrays, "fc3", z)))))
    assert x.std(0).max() > 0.02
    np.testing.assert_allclose(drawn(prior, z), x.reshape(3, *prior.generator.shape), atol=1e-5)


def test_the_conditional_wgan_gp(file, conv):
    arrays, prior, z, rng = opened(file("gen_mnist_cond_wgangp"))
    y = rng.integers(prior.generator.classes, size=3)

    def norm(x, number, epsilon):
        name = f"conv_blocks.{number}"
        mean, var, scale, shift = (
            arrays[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + epsilon) * scale + shift

    def block(x, number):
        return conv(x, arrays[f"conv_blocks.{number}.weight"], arrays[f"conv_blocks.{number}.bias"])

    def twice(x):
        return x.repeat(2, 2).repeat(2, 3)

    x = linear(arrays, "l1.0", np.concatenate([z, arrays["label_emb.weight"][y]], 1))
    side = prior.generator.shape[0] // 4
    x = norm(x.reshape(3, -1, side, side), 0, 1e-5)
    x = relu(norm(block(twice(x), 2), 3, 0.8))
    x = relu(norm(block(twice(x), 6), 7, 0.8))
    wanted = (np.tanh(block(x, 9)).transpose(0, 2, 3, 1) + 1) / 2
    assert wanted.std(0).max() > 0.02
    np.testing.assert_allclose(drawn(prior, z, y), wanted, atol=2e-5)


def test_what_is_read_can_be_saved_as_ours(file, tmp_path):
    prior = load(file("gen_mnist_cond_wgangp"))
    save(tmp_path / "a.safetensors", prior)
    again = load(tmp_path / "a.safetensors")
    assert again.card == prior.card and again.card["source"].startswith("conditional WGAN-GP")
    z, y = np.ones((2, prior.generator.latent)), [0, 2]
    np.testing.assert_array_equal(drawn(again, z, y), drawn(prior, z, y))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gen_mnist_mlp_gan", lambda a: a.pop("2.bias"), "2.bias is missing"),
        ("gen_mnist_mlp_gan", lambda a: a.update(note=np.zeros(1)), "note is not wanted"),
        (
            "gen_mnist_mlp_gan",
            lambda a: a.update({"4.weight": np.zeros((15, 6))}),
            "15 pixels, wanted is a sq",
        ),
        ("gen_mnist_vae_decoder", lambda a: a.update({"fc4.weight": np.zeros(9)}), r"fc4.weight, of \(9,\),"),
        (
            "gen_mnist_cond_wgangp",
            lambda a: a.pop("conv_blocks.3.running_var"),
            "conv_blocks.3.running_var is missing",
        ),
        (
            "gen_mnist_cond_wgangp",
            lambda a: a.update({"label_emb.weight": np.zeros((3, 9))}),
            "latent must be >= 1",
        ),
    ],
)
def test_what_does_not_fit_is_named(name, change, message):
    arrays = made_up(name)
    change(arrays)
    with pytest.raises(InputError, match=f"^a.npz, taken for .*, does not fit: .*{message}"):
        published(arrays, Path("a.npz"))
