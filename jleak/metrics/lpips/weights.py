"""The published weights of LPIPS: read, named, checked and laid out for JAX."""

import re
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak import torch_file, weights
from jleak.check import InputError, one_of
from jleak.metrics.lpips.networks import NETWORKS, Network

TRUNK = re.compile(r"(?:.*\.)?(?:features|slice\d)\.(\d+)\.(weight|bias)")
"""Names of the trunk's arrays: torchvision's, or those inside a state dict of LPIPS itself."""

HEAD = re.compile(r"(?:.*\.)?lin(\d)\.model\.1\.weight")
"""Names of the linear heads'."""


class Weights(NamedTuple):
    """Arrays of one network, in the order of its layers.

    Attributes:
      kernels: (height, width, in, out) of every convolution.
      biases: (out,) of every convolution.
      heads: (channels,) of every layer that is compared.
    """

    kernels: tuple[Float[Array, "h w i o"], ...]
    biases: tuple[Float[Array, " o"], ...]
    heads: tuple[Float[Array, " channels"], ...]


def read(trunk: Path | str, heads: Path | str = "", *, net: str = "vgg16") -> Weights:
    """The weights in the published files, each safetensors (by its suffix) or of PyTorch.

    Args:
      trunk: torchvision's network, or a state dict of LPIPS, which holds the heads as well.
      heads: LPIPS's linear heads; empty where the first file holds them.
      net: one of `NETWORKS`.

    Raises:
      InputError: an unknown network, a file that cannot be read, arrays that are missing or of another shape
        (named).

    >>> read("none.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: no weights of vgg16 at none.pth; give torchvision's vgg16-397923af.pth and the ...
    """
    network = NETWORKS[one_of("net", net, NETWORKS)]
    arrays = {name: array for path in (trunk, heads) if path for name, array in content(path, net).items()}
    found = {}
    for name, array in arrays.items():
        if match := TRUNK.fullmatch(name):
            found[int(match[1]), match[2]] = array
        elif match := HEAD.fullmatch(name):
            found["lin", int(match[1])] = array
    wrong = missing(network, found) or misshapen(network, found)
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise InputError(
            f"{trunk} {f'and {heads} are' if heads else 'is'} not LPIPS with {net}: {', '.join(wrong[:4])}"
            f"{more}; {remedy(network)}"
        )
    convolutions = [(found[c.index, "weight"], found[c.index, "bias"]) for c in network.convolutions]
    return Weights(
        tuple(jnp.asarray(np.transpose(w, (2, 3, 1, 0)), jnp.float32) for w, _ in convolutions),
        tuple(jnp.asarray(b, jnp.float32) for _, b in convolutions),
        tuple(jnp.asarray(found["lin", i].ravel(), jnp.float32) for i in range(len(network.tapped))),
    )


def content(path: Path | str, net: str) -> dict[str, np.ndarray]:
    """The file's arrays by their names."""
    if not Path(path).is_file():
        raise InputError(f"no weights of {net} at {path}; {remedy(NETWORKS[net])}")
    if Path(path).suffix == ".safetensors":
        return weights.read(path).arrays
    return {name: leaf for name, leaf in torch_file.read(path).items() if isinstance(leaf, np.ndarray)}


def remedy(network: Network) -> str:
    """Which files to give."""
    return f"give torchvision's {network.file} and the heads lpips/weights/{network.heads} of LPIPS"


def missing(network: Network, found: dict) -> list[str]:
    """Names of the arrays that are not there, as the published files have them."""
    wanted = {
        (c.index, kind): f"features.{c.index}.{kind}"
        for c in network.convolutions
        for kind in ("weight", "bias")
    }
    wanted |= {("lin", i): f"lin{i}.model.1.weight" for i in range(len(network.tapped))}
    return [f"{name} is missing" for key, name in wanted.items() if key not in found]


def misshapen(network: Network, found: dict) -> list[str]:
    """Arrays that do not follow each other. Widths are the files' own; the windows are the network's."""
    wrong, channels, heads = [], 3, []
    for layer in network.convolutions:
        kernel, bias = found[layer.index, "weight"], found[layer.index, "bias"]
        out = len(bias) if bias.ndim == 1 else 0
        wanted = (out, channels, layer.kernel, layer.kernel)
        if kernel.shape != wanted:
            wrong.append(f"features.{layer.index}.weight is {kernel.shape}, wanted is {wanted}")
        channels = out
        heads += [out] if layer.tapped else []
    for i, channels in enumerate(heads):
        shape = found["lin", i].shape
        if shape != (1, channels, 1, 1):
            wrong.append(f"lin{i}.model.1.weight is {shape}, wanted is {(1, channels, 1, 1)}")
    return wrong
