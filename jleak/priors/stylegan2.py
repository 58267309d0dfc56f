"""The generator of StyleGAN2."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError, number, whole
from jleak.models.conv import convolution
from jleak.priors.build import checked, generator
from jleak.priors.resize import filtered, smooth
from jleak.priors.transposed import spread
from jleak.types import Generator

EPSILON = 1e-8
FIRST = 4
CHANNELS = 16384
"""Channels times side of the features, at a multiplier of 1, where that is less than the width."""


def stylegan2(
    shape: tuple[int, int, int],
    classes: int = 0,
    *,
    latent: int = 512,
    depth: int = 8,
    width: int = 512,
    multiplier: int = 2,
    truncation: float = 1.0,
    conv: str = "auto",
) -> Generator:
    """StyleGAN2's generator: a network maps z to styles w, which steer the convolutions of an image.

    Mapping: z / sqrt(mean z^2 + 1e-8), then `depth` dense layers, each leaky ReLU (slope 0.2) times sqrt 2.
    Synthesis: a learnt 4x4 image; a convolution; at every further size two, the first of which doubles the
    image (a transposed convolution, then the filter [1, 3, 3, 1]). A convolution's input channels are scaled
    by s = A w + b, its output channels by 1 / sqrt(sum over inputs and kernel of (s kernel)^2 + 1e-8); then
    fixed noise, bias and leaky ReLU. Every size adds to the image by a 1x1 convolution, the sum so far being
    enlarged. The image is (x + 1) / 2, cut off at 0 and 1, where its derivative is 0.

    Stages: the mapping, which gives w for every layer, (n, layers, latent); then one a size. Features between
    these are a dict: `x`, the image so far `rgb`, and `w`. Searches of W+ begin behind the mapping.

    Source: Karras et al., CVPR 2020, configuration F (B.3, figure 2), as the public PyTorch weights compute
    it; `jleak.priors.load` reads these. The factors of its equalised learning rate are multiplied into the
    weights, so a step on them is another than its. Noise is drawn once and is among the constants.

    Args:
      shape: (h, w, c) of an image: square, 4 times a power of two.
      classes: 0, it knows of none.
      latent: entries of z and w.
      depth: layers of the mapping.
      width: the most channels; at side s there are 16384 multiplier / s, if these are fewer.
      multiplier: 2 in configuration F, 1 in E.
      truncation: w is drawn towards its mean by this factor; 1 leaves it.
      conv: form of the convolutions, see `jleak.models.conv.convolution`.

    Raises:
      InputError: a number below one, classes, a truncation below 0, another shape, an unknown conv.

    >>> made = stylegan2((8, 8, 3), latent=4, depth=2, width=6)
    >>> params = made.init(jax.random.key(0))
    >>> made.apply(params, jnp.zeros((2, 4))).shape, made.stages[0](params, jnp.zeros((2, 4))).shape
    ((2, 8, 8, 3), (2, 4, 4))
    """
    checked(shape, classes, latent)
    if classes:
        raise InputError(f"stylegan2 knows of no classes, got classes={classes}; use 0, or biggan_deep")
    for name, size in {"depth": depth, "width": width, "multiplier": multiplier}.items():
        whole(name, size)
    number("truncation", truncation, least=0)
    convolution(conv)
    h, w, channels = shape
    doublings = (h // FIRST).bit_length() - 1
    if h != w or h != FIRST << max(doublings, 0):
        raise InputError(f"stylegan2 makes square images of 4 times a power of two, got {h}x{w}")
    layers = 2 * doublings + 2
    stages = [_Mapping(depth, layers, truncation)]
    for i in range(doublings + 1):
        features = min(width, CHANNELS * multiplier // (FIRST << i))
        stages.append(_Size(i, features, channels, i == doublings, conv))
    return generator(stages, latent=latent, shape=shape)


class _Mapping(nn.Module):
    depth: int
    layers: int
    truncation: float

    @nn.compact
    def __call__(self, z, y=None):
        w = z * lax.rsqrt(jnp.mean(jnp.square(z), -1, keepdims=True) + EPSILON)
        for i in range(self.depth):
            init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
            w = leaky(nn.Dense(z.shape[-1], kernel_init=init, name=f"dense{i}")(w))
        mean = self.variable("constants", "mean", jnp.zeros, (z.shape[-1],)).value
        w = mean + self.truncation * (w - mean)
        return jnp.broadcast_to(w[:, None], (len(w), self.layers, w.shape[-1]))


class _Size(nn.Module):
    """All layers of one size: number 0 begins with the learnt image, the last gives the image away."""

    number: int
    features: int
    channels: int
    last: bool
    conv: str

    @nn.compact
    def __call__(self, h, y=None):
        if self.number:
            x, rgb, w = h["x"], smooth(h["rgb"]), h["w"]
            first = 2 * self.number - 1
            x = self.styled(x, w[:, first], "up")
        else:
            normal = nn.initializers.normal(1.0)
            x, rgb, w = self.param("constant", normal, (FIRST, FIRST, self.features)), 0.0, h
            x, first = jnp.broadcast_to(x, (len(w), *x.shape)), -1
        x = self.styled(x, w[:, first + 1], "conv")
        styled = Modulated(self.channels, 1, demodulate=False, conv=self.conv, name="rgb")
        bias = self.param("rgb_bias", nn.initializers.zeros, (self.channels,))
        rgb = rgb + styled(x, w[:, first + 2]) + bias
        return jnp.clip((rgb + 1) / 2, 0, 1) if self.last else {"x": x, "rgb": rgb, "w": w}

    def styled(self, x, w, name):
        """A modulated convolution, noise, bias and activation."""
        x = Modulated(self.features, 3, up=name == "up", conv=self.conv, name=name)(x, w)
        noise = self.variable("constants", f"{name}_noise", self.noise, x.shape[1:3]).value
        strength = self.param(f"{name}_strength", nn.initializers.zeros, ())
        bias = self.param(f"{name}_bias", nn.initializers.zeros, (self.features,))
        return leaky(x + strength * noise + bias)

    def noise(self, sides):
        """N(0, 1), one number a pixel."""
        return jax.random.normal(self.make_rng("params"), (*sides, 1))


class Modulated(nn.Module):
    """A convolution without bias whose input channels a style scales (Karras et al., CVPR 2020, eq. 1 to 3).

    Attributes:
      width: output channels.
      side: of the kernel.
      up: whether it doubles the image; its kernel then lies as `jleak.priors.transposed` has it.
      demodulate: whether output channels are scaled back to unit variance.
      conv: form of the convolution.
    """

    width: int
    side: int
    up: bool = False
    demodulate: bool = True
    conv: str = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], w: Float[Array, "n latent"]) -> Float[Array, "n i j f"]:
        inputs, side = x.shape[-1], self.side
        shape = (inputs, side, side, self.width) if self.up else (side, side, inputs, self.width)
        deviation = 1 / math.sqrt(inputs * side**2)
        kernel = self.param("kernel", nn.initializers.normal(deviation), shape)
        s = nn.Dense(inputs, bias_init=nn.initializers.ones, name="style")(w)
        x = x * s[:, None, None]
        if self.up:
            x = filtered(spread(x, kernel), 1, 1)
        else:
            x = convolution(self.conv)(x, kernel, (1, 1), "SAME")
        if not self.demodulate:
            return x
        squares = jnp.square(kernel).sum((1, 2) if self.up else (0, 1))
        return x * lax.rsqrt(jnp.square(s) @ squares + EPSILON)[:, None, None]


def leaky(x: Array) -> Array:
    """Leaky ReLU of slope 0.2 times sqrt 2, which keeps a normal input's mean square close to 1.

    >>> [round(float(v), 4) for v in leaky(jnp.array([1.0, -1.0]))]
    [1.4142, -0.2828]
    """
    return math.sqrt(2) * nn.leaky_relu(x, 0.2)
