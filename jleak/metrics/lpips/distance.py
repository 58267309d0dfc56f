"""LPIPS: distances between the features of a trained network."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.metrics.image import check_images
from jleak.metrics.lpips.networks import NETWORKS, Conv, Network, Pool
from jleak.metrics.lpips.weights import Weights, read
from jleak.types import Metric

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What images in [-1, 1] are brought to the network's inputs with (LPIPS 0.1)."""

EPS = 1e-10


def lpips(trunk: Path | str, heads: Path | str = "", *, net: str = "vgg16") -> Metric:
    """Learned perceptual image patch similarity, with the published weights. Lower is better, 0 is best.

    sum_l mean_hw sum_c w_lc (f_lc(x) - f_lc(truth))^2, f_l the network's features after layer l, each pixel's
    divided by its Euclidean norm over the channels (plus 1e-10). Source: Zhang, Isola, Efros, Shechtman and
    Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, eq. 1, in the
    form and with the constants of the authors' code, version 0.1. Grey images are repeated to three channels.

    The weights are not part of jleak. Without them `ms_gmsd` is what there is, which is no LPIPS.

    Args:
      trunk: the file of the network's weights (torchvision's), or a state dict of LPIPS itself.
      heads: the file of LPIPS's linear heads; empty where `trunk` holds them.
      net: `vgg16` (GGL's tables) or `alexnet` (the authors' advice for a metric).

    Returns:
      `(x, truth) -> (n,)` for images in [0, 1]; NaN where one holds something not finite.

    Raises:
      InputError: as `jleak.metrics.lpips.read`; when called, images that do not fit each other, neither grey
        nor of three channels, or too small for the network (16 pixels for `vgg16`, 31 for `alexnet`).

    >>> lpips("none.pth", net="vgg")
    Traceback (most recent call last):
    jleak.check.InputError: unknown net 'vgg'; did you mean 'vgg16'? known: alexnet, vgg16
    """
    return functools.partial(distance, read(trunk, heads, net=net), net=net)


def distance(
    weights: Weights, x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"], *, net: str = "vgg16"
) -> Float[Array, " n"]:
    """`lpips` with the weights as an argument, such as a compiled program wants.

    Args:
      weights: what `jleak.metrics.lpips.read` gives.
      x, truth: images in [0, 1].
      net: whose weights they are.
    """
    check_images(x=x, truth=truth)
    network = NETWORKS[net]
    channels, side = x.shape[3], min(x.shape[1:3])
    if channels not in (1, 3):
        raise InputError(f"lpips needs images of 1 or 3 channels, got {channels}; use ms_gmsd")
    if side < network.smallest:
        raise InputError(
            f"lpips with {net} needs images of at least {network.smallest} pixels a side, got {side}; "
            "enlarge them (and say so), or use ms_gmsd"
        )
    total = jnp.zeros(len(x))
    for a, b, w in zip(
        features(network, weights, x), features(network, weights, truth), weights.heads, strict=True
    ):
        total += jnp.mean(jnp.square(directions(a) - directions(b)) @ w, axis=(1, 2))
    return total


def features(network: Network, weights: Weights, x: Float[Array, "n h w c"]) -> list[Float[Array, "n i j f"]]:
    """What leaves the layers that are compared."""
    h = (2.0 * jnp.broadcast_to(x, (*x.shape[:3], 3)) - 1.0 - jnp.array(SHIFT)) / jnp.array(SCALE)
    arrays, found = iter(zip(weights.kernels, weights.biases, strict=True)), []
    for layer in network.layers:
        h = pooled(h, layer) if isinstance(layer, Pool) else convolved(h, layer, *next(arrays))
        if isinstance(layer, Conv) and layer.tapped:
            found.append(h)
    return found


def convolved(h: Array, layer: Conv, kernel: Array, bias: Array) -> Array:
    """A convolution and its ReLU."""
    out = lax.conv_general_dilated(
        h,
        kernel,
        (layer.stride, layer.stride),
        [(layer.padding, layer.padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return jax.nn.relu(out + bias)


def pooled(h: Array, layer: Pool) -> Array:
    """The largest of each window."""
    window, strides = ((1, side, side, 1) for side in (layer.window, layer.stride))
    return lax.reduce_window(h, -jnp.inf, lax.max, window, strides, "VALID")


def directions(f: Float[Array, "n i j c"]) -> Float[Array, "n i j c"]:
    """Features over their norm at each pixel."""
    return f / (jnp.sqrt(jnp.sum(f * f, axis=-1, keepdims=True)) + EPS)
