"""LPIPS on small random weights in the published format, against numbers that PyTorch 2.13 computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from torch_format import archive, tensor

from jleak.check import InputError
from jleak.metrics.lpips import NETWORKS, distance, lpips, read

CONVOLUTIONS = {
    "vgg16": ([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], {2, 7, 14, 21, 28}),
    "alexnet": ([0, 3, 6, 8, 10], {0, 3, 6, 8, 10}),
}
"""Their numbers in torchvision's `features`, and those that are compared."""

WANTED = {
    ("vgg16", 16, 3): [1.14283289, 1.09718087],
    ("vgg16", 32, 3): [1.14501484, 1.12457154],
    ("vgg16", 31, 1): [1.1340725, 1.15768144],
    ("alexnet", 32, 3): [0.74697946, 0.847910975],
    ("alexnet", 31, 1): [0.914430667, 0.818999459],
    ("alexnet", 48, 1): [1.01540631, 0.95878011],
}
"""(network, height, channels): of the two pairs of `images`, by torch.nn.functional in double precision."""


def checkpoint(net):
    """Arrays of the published names and layouts, with few channels."""
    rng, channels, arrays, widths = np.random.default_rng(7), 3, {}, []
    indices, tapped = CONVOLUTIONS[net]
    for i, index in enumerate(indices):
        side, out = ({0: 11, 3: 5}.get(index, 3) if net == "alexnet" else 3), 4 + i % 3
        kernel = rng.normal(size=(out, channels, side, side)) * np.sqrt(2 / (channels * side * side))
        arrays[f"features.{index}.weight"] = kernel.astype(np.float32)
        arrays[f"features.{index}.bias"] = (0.1 * rng.normal(size=out)).astype(np.float32)
        widths += [out] if index in tapped else []
        channels = out
    for i, width in enumerate(widths):
        arrays[f"lin{i}.model.1.weight"] = rng.random((1, width, 1, 1)).astype(np.float32)
    return arrays


def images(side, channels):
    rng = np.random.default_rng(side)
    return [rng.random((2, side, side + 3, channels)).astype(np.float32) for _ in range(2)]


def of_torch(path, arrays):
    """Written as PyTorch writes a state dict."""
    tree = {
        name: tensor(str(i), a.size, a.shape, tuple(s // 4 for s in a.strides))
        for i, (name, a) in enumerate(arrays.items())
    }
    return archive(path, tree, {str(i): a for i, a in enumerate(arrays.values())})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(trunk, heads) of each network, in files of PyTorch."""
    folder, found = tmp_path_factory.mktemp("lpips"), {}
    for net in CONVOLUTIONS:
        arrays = checkpoint(net)
        parts = [{k: v for k, v in arrays.items() if k.startswith(part)} for part in ("features", "lin")]
        parts[0]["classifier.6.weight"] = np.zeros((2, 2), np.float32)  # as torchvision's have
        found[net] = [of_torch(folder / f"{net}{i}.pth", part) for i, part in enumerate(parts)]
    return found


@pytest.mark.parametrize(("net", "side", "channels"), WANTED)
def test_agrees_with_pytorch(net, side, channels, files):
    x, truth = map(jnp.asarray, images(side, channels))
    metric = lpips(*files[net], net=net)
    np.testing.assert_allclose(metric(x, truth), WANTED[net, side, channels], rtol=2e-5)
    np.testing.assert_allclose(metric(truth, x), WANTED[net, side, channels], rtol=2e-5)
    np.testing.assert_array_equal(metric(x, x), [0, 0])


@pytest.mark.parametrize("net", CONVOLUTIONS)
def test_reads_every_form_of_the_weights(net, files, tmp_path):
    wanted = read(*files[net], net=net)
    arrays = checkpoint(net)
    whole = {f"net.slice1.{n[9:]}" if n.startswith("features") else n: a for n, a in arrays.items()}
    whole |= {"scaling_layer.shift": np.zeros((1, 3, 1, 1), np.float32)}
    whole |= {n.replace("lin0", "lins.0"): a for n, a in arrays.items() if n.startswith("lin0")}
    own = of_torch(tmp_path / "lpips.pth", whole)
    safe = tmp_path / "all.safetensors"
    safetensors.numpy.save_file(arrays, safe)
    for found in (read(own, net=net), read(safe, net=net)):
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), wanted, found))
    index = CONVOLUTIONS[net][0][1]
    np.testing.assert_array_equal(wanted.kernels[1][0, 2], arrays[f"features.{index}.weight"][:, :, 0, 2].T)


def test_compiles_with_the_weights_as_an_argument_and_spoils_only_the_broken_image(files):
    weights = read(*files["vgg16"])
    x, truth = map(jnp.asarray, images(32, 3))
    score = jax.jit(distance)
    np.testing.assert_allclose(score(weights, x, truth), WANTED["vgg16", 32, 3], rtol=2e-5)
    for poison in (jnp.nan, jnp.inf):
        broken = score(weights, x.at[1, 3, 3].set(poison), truth)
        assert not np.isfinite(broken[1]) and np.isfinite(broken[0])


def test_images_that_it_cannot_take_are_refused(files):
    for net, least in (("vgg16", 16), ("alexnet", 31)):
        metric = lpips(*files[net], net=net)
        small = jnp.zeros((1, least - 1, 40, 1))
        with pytest.raises(InputError, match=f"{net} needs images of at least {least} pixels a side, got"):
            metric(small, small)
        with pytest.raises(InputError, match="1 or 3 channels, got 2"):
            metric(jnp.zeros((1, 32, 32, 2)), jnp.zeros((1, 32, 32, 2)))
        assert NETWORKS[net].smallest == least


def test_files_that_are_not_its_weights_are_refused(files, tmp_path):
    def refused(*parts, arrays=None, args=()):
        if arrays is not None:
            args = (of_torch(tmp_path / "spoilt.pth", arrays), *args)
        with pytest.raises(InputError) as error:
            read(*args)
        for part in parts:
            assert part in str(error.value)

    arrays = checkpoint("vgg16")
    refused("no weights of vgg16 at none.pth", "vgg16-397923af.pth", args=("none.pth",))
    refused("lin0.model.1.weight is missing", "lin3", "and 1 more", args=files["vgg16"][:1])
    refused("features.2.weight is missing", "and ", "give torchvision's", args=files["alexnet"])
    refused(
        "features.7.weight is (4, 6, 1, 1), wanted is (4, 6, 3, 3)",
        arrays=arrays | {"features.7.weight": np.zeros((4, 6, 1, 1), np.float32)},
    )
    refused(
        "lin1.model.1.weight is (1, 9, 1, 1), wanted is",
        arrays=arrays | {"lin1.model.1.weight": np.zeros((1, 9, 1, 1), np.float32)},
    )
    (tmp_path / "text.pth").write_text("not weights")
    refused("is no PyTorch file", args=(tmp_path / "text.pth",))
