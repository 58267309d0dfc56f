"""StyleGAN2's published format: a checkpoint written here, and its images by NumPy in PyTorch's layout."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jleak.check import InputError
from jleak.priors import load, stylegan2
from jleak.priors.published import published

LATENT, DEPTH, WIDTH, SIDE = 4, 2, 6, 16
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16


@pytest.fixture(scope="module")
def arrays():
    rng, made = np.random.default_rng(0), {}

    def normal(name, *shape, scale=1.0, shift=0.0):
        made[name] = (shift + scale * rng.normal(size=shape)).astype(np.float32)

    def modulated(name, inputs, outputs, side):
        normal(f"{name}.weight", 1, outputs, inputs, side, side)
        normal(f"{name}.modulation.weight", inputs, LATENT)
        normal(f"{name}.modulation.bias", inputs, shift=1.0, scale=0.2)

    def styled(name):
        modulated(f"{name}.conv", WIDTH, WIDTH, 3)
        normal(f"{name}.noise.weight", 1, scale=0.3)
        normal(f"{name}.activate.bias", WIDTH, scale=0.3)

    def to_rgb(name):
        modulated(f"{name}.conv", WIDTH, 3, 1)
        normal(f"{name}.bias", 1, 3, 1, 1, scale=0.1)

    for i in range(1, DEPTH + 1):
        normal(f"style.{i}.weight", LATENT, LATENT, scale=100.0)
        normal(f"style.{i}.bias", LATENT, scale=30.0)
    normal("input.input", 1, WIDTH, 4, 4)
    styled("conv1")
    to_rgb("to_rgb1")
    normal("noises.noise_0", 1, 1, 4, 4)
    for i in range(2):
        for j in (2 * i, 2 * i + 1):
            styled(f"convs.{j}")
            normal(f"noises.noise_{j + 1}", 1, 1, 8 << i, 8 << i)
        made[f"convs.{2 * i}.conv.blur.kernel"] = FILTER.astype(np.float32)
        made[f"to_rgbs.{i}.upsample.kernel"] = FILTER.astype(np.float32)
        to_rgb(f"to_rgbs.{i}")
    return made


@pytest.fixture(scope="module")
def mean():
    return np.linspace(-1, 1, LATENT).astype(np.float32)


def images(arrays, z, mean, truncation, conv):
    """In [0, 1], (n, h, w, c); kernels are modulated for every image, as the paper writes them."""
    a = {name: array.astype(np.float64) for name, array in arrays.items()}

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)

    def each(fn, x):
        return np.stack([np.stack([fn(channel) for channel in image]) for image in x])

    def blurred(channel, before, after):
        return scipy.signal.convolve2d(np.pad(channel, (before, after)), FILTER, "valid")

    def enlarged(channel):
        zeros = np.zeros((2 * len(channel), 2 * len(channel)))
        zeros[::2, ::2] = channel
        return blurred(zeros, 2, 1)

    def spread(image, w):
        """PyTorch's transposed convolution of stride 2 without padding; w is (out, in, 3, 3)."""
        out = np.zeros((len(w), 2 * image.shape[1] + 1, 2 * image.shape[2] + 1))
        for i, j in np.ndindex(image.shape[1:]):
            out[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("c,ocab->oab", image[:, i, j], w)
        return out

    def modulated(x, w, name, up=False, demodulate=True):
        kernel = a[f"{name}.weight"][0]
        kernel = kernel / np.sqrt(np.prod(kernel.shape[1:]))
        out = []
        for image, style in zip(x, w, strict=True):
            s = a[f"{name}.modulation.weight"] @ style / np.sqrt(LATENT) + a[f"{name}.modulation.bias"]
            own = kernel * s[:, None, None]
            if demodulate:
                own = own / np.sqrt((own**2).sum((1, 2, 3), keepdims=True) + 1e-8)
            out.append(spread(image, own) if up else conv(image[None], own)[0])
        return each(lambda channel: blurred(channel, 1, 1), out) if up else np.stack(out)

    def styled(x, w, name, noise, up=False):
        x = modulated(x, w, f"{name}.conv", up) + a[f"{name}.noise.weight"] * a[f"noises.noise_{noise}"]
        return leaky(x + a[f"{name}.activate.bias"][:, None, None])

    def to_rgb(x, w, name):
        return modulated(x, w, f"{name}.conv", demodulate=False) + a[f"{name}.bias"]

    w = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    for i in range(1, DEPTH + 1):
        w = leaky(w @ (a[f"style.{i}.weight"] * 0.01 / np.sqrt(LATENT)).T + 0.01 * a[f"style.{i}.bias"])
    w = mean + truncation * (w - mean)
    x = styled(np.repeat(a["input.input"], len(z), 0), w, "conv1", 0)
    rgb = to_rgb(x, w, "to_rgb1")
    for i in range(2):
        x = styled(x, w, f"convs.{2 * i}", 2 * i + 1, up=True)
        x = styled(x, w, f"convs.{2 * i + 1}", 2 * i + 2)
        rgb = each(enlarged, rgb) + to_rgb(x, w, f"to_rgbs.{i}")
    return np.clip((rgb.transpose(0, 2, 3, 1) + 1) / 2, 0, 1)


Z = np.random.default_rng(1).normal(size=(3, LATENT))


def test_a_published_checkpoint_makes_the_same_images(arrays, mean, conv, torch_saved, tmp_path):
    other = {name: 0 * array for name, array in arrays.items()}
    path = torch_saved(tmp_path / "faces.pt", {"g": other, "g_ema": arrays, "latent_avg": mean})
    generator, params, card = load(path)
    assert (generator.shape, generator.latent, len(generator.stages)) == ((SIDE, SIDE, 3), LATENT, 4)
    assert card["source"].startswith("StyleGAN2 of rosinality")
    got = generator.apply(params, jnp.asarray(Z, jnp.float32))
    wanted = images(arrays, Z, mean, 1.0, conv)
    assert ((wanted > 0) & (wanted < 1)).mean() > 0.4
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    args = {"latent": LATENT, "depth": DEPTH, "width": WIDTH, "truncation": 0.5}
    drawn = stylegan2((SIDE, SIDE, 3), **args).apply(params, jnp.asarray(Z, jnp.float32))
    np.testing.assert_allclose(drawn, images(arrays, Z, mean, 0.5, conv), atol=1e-5)


def test_styles_may_differ_from_layer_to_layer(arrays):
    """What searches of W+ need: behind the mapping every layer has its own w."""
    generator, params, _ = published(arrays, Path("a.pt"))
    w = generator.stages[0](params, jnp.asarray(Z, jnp.float32), None)
    assert w.shape == (3, 6, LATENT)  # two layers at 4x4 and at each size after it, as the paper counts them
    whole = generator.after(1, params, w)
    for layer in range(6):
        other = generator.after(1, params, w.at[:, layer].add(1.0))
        assert np.abs(other - whole).max() > 1e-4, layer


def test_a_state_dict_alone_is_read_with_a_mean_of_zero(arrays, mean):
    one, other = published(arrays, Path("a.pt")), published({"latent_avg": mean, **arrays}, Path("a.pt"))
    assert one.params["constants"]["stage0"]["mean"].tolist() == [0.0] * LATENT
    np.testing.assert_array_equal(other.params["constants"]["stage0"]["mean"], mean)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("convs.1.noise.weight"), "convs.1.noise.weight is missing"),
        (lambda a: a.pop("style.1.bias"), "style.1.bias is missing"),
        (lambda a: a.pop("to_rgbs.1.bias"), "to_rgbs.1.bias is missing"),
        (lambda a: a.update({"convs.7.conv.weight": np.zeros(1)}), "convs.7.conv.weight is not wanted"),
        (
            lambda a: a.update({"convs.0.conv.blur.kernel": np.ones((4, 4)) / 4}),
            r"convs.0.conv.blur.kernel is another filter than \[1, 3, 3, 1\]",
        ),
        (
            lambda a: a.update({"noises.noise_2": np.zeros((1, 1, 4, 4))}),
            r"noises.noise_2, of \(1, 1, 4, 4\), gives \(4, 4, 1\), wanted is \(8, 8, 1\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(arrays, change, message):
    changed = dict(arrays)
    change(changed)
    with pytest.raises(InputError, match=rf"^a.pt, taken for StyleGAN2 .*, does not fit: .*{message}"):
        published(changed, Path("a.pt"))
