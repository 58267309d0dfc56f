"""The generator of BigGAN-deep."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError, number, whole
from jleak.models.conv import convolution
from jleak.models.pool import max_pool
from jleak.priors.build import checked, conditions, generator, unit
from jleak.priors.resize import nearest
from jleak.types import Generator

EPSILON = 1e-4
FIRST = 4
MULTIPLES = {
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
"""Channels at 4x4, 8x8 and so on in units of the width, by the image's side (Brock et al., tables 7 to 9)."""


def biggan_deep(
    shape: tuple[int, int, int],
    classes: int = 1000,
    *,
    latent: int = 128,
    width: int = 128,
    multiples: tuple[int, ...] = (),
    attention: int = 64,
    truncation: float = 1.0,
    rows: int = 51,
    conv: str = "auto",
) -> Generator:
    """BigGAN-deep's generator: residual bottlenecks whose BatchNorm is steered by z and the class.

    c = [z, E y] with a linear embedding E of `latent` entries; a dense layer of c to 4x4; at every size two
    blocks, the second of which doubles the image and may drop channels; self-attention once; BatchNorm, ReLU,
    a 3x3 convolution, the image as (tanh + 1) / 2. A block normalises, rectifies and convolves four times
    (1x1 to a quarter of the channels, 3x3, 3x3, 1x1) and adds its input, whose last channels it drops. Each
    norm is (x - mean) / sqrt(var + 1e-4) (1 + W c) + V c, with standing statistics of `rows` truncations.

    Every part is a stage: the start, the blocks, attention, the image. Features between stages are a dict:
    `x` the image so far, `c` of above, which all blocks read.

    Source: Brock, Donahue and Simonyan, ICLR 2019, appendix B, as their published weights compute it;
    `jleak.priors.load` reads these. Spectral normalisation is divided out when weights are read. Untrained
    layers start as LeCun's, not orthogonal, and are not normalised.

    Args:
      shape: (h, w, c) of an image: square, of a side in `MULTIPLES`, or 4 times a power of two.
      classes: of how many classes it draws images.
      latent: entries of z.
      width: channels of the last layers.
      multiples: channels at 4x4, 8x8 and so on, in units of the width; empty for those of `MULTIPLES`.
      attention: side of the features at which self-attention stands; 0 for none.
      truncation: to whose statistics BatchNorm looks, in [0, 1]; z is not changed by it.
      rows: how many truncations have statistics, evenly from 0 to 1; between two they are interpolated.
      conv: form of the convolutions, see `jleak.models.conv.convolution`.

    Raises:
      InputError: a number out of its bounds, a shape without multiples or not of their number, channels that
        do not divide, attention at no size, an unknown conv.

    >>> import jax
    >>> made = biggan_deep((8, 8, 3), 10, latent=4, width=16, multiples=(2, 1), attention=4)
    >>> params = made.init(jax.random.key(0))
    >>> made.apply(params, jnp.zeros((2, 4)), jnp.array([3, 7])).shape, len(made.stages)
    ((2, 8, 8, 3), 5)
    """
    checked(shape, classes, latent)
    whole("classes", classes, hint="biggan_deep draws images of a class")
    whole("width", width)
    whole("rows", rows, least=2)
    whole("attention", attention, least=0, hint="use 0 for none")
    number("truncation", truncation, least=0, most=1)
    convolution(conv)
    widths = [width * m for m in planned(shape, tuple(multiples), width)]
    norm = (rows, truncation)
    stages = [_Start(widths[0], latent, classes)]
    sides = [FIRST << i for i in range(len(widths) - 1)]
    if attention and attention not in sides:
        raise InputError(f"attention must be 0 or one of {sides}, got attention={attention}")
    for side, this, after in zip(sides, widths[:-1], widths[1:], strict=True):
        stages += [_Attention(this)] if side == attention else []
        stages += [_Block(this, this, False, *norm, conv), _Block(this, after, True, *norm, conv)]
    return generator([*stages, _Image(shape[2], *norm, conv)], latent=latent, shape=shape, classes=classes)


def planned(shape: tuple[int, int, int], multiples: tuple[int, ...], width: int) -> tuple[int, ...]:
    """The channels at every size, in units of the width.

    Raises:
      InputError: none are known or they do not lead to the image; they grow; a block's do not divide.
    """
    h, w, _ = shape
    multiples = tuple(whole("multiples", m) for m in multiples or MULTIPLES.get(h, ()))
    if h != w or h != FIRST << max(len(multiples) - 1, 0) or len(multiples) < 2:
        raise InputError(
            f"biggan_deep makes square images of side {', '.join(map(str, MULTIPLES))}, or 4 times a power "
            f"of two with a multiple for every size from 4x4 on, got {h}x{w} and multiples={multiples}"
        )
    if sorted(multiples, reverse=True) != list(multiples):
        raise InputError(
            f"multiples must not grow, got multiples={multiples}; a block can drop channels only"
        )
    if any(width * m % 8 for m in multiples[:-1]):
        raise InputError(f"8 must divide width times each multiple, got width={width}, multiples={multiples}")
    return multiples


class _Start(nn.Module):
    channels: int
    latent: int
    classes: int

    @nn.compact
    def __call__(self, z, y=None):
        embedded = nn.Dense(self.latent, use_bias=False, name="embed")(conditions(y, self.classes))
        c = jnp.concatenate([z, embedded], -1)
        x = nn.Dense(FIRST * FIRST * self.channels, name="dense")(c)
        return {"x": x.reshape(-1, FIRST, FIRST, self.channels), "c": c}


class _Norm(nn.Module):
    rows: int
    truncation: float

    @nn.compact
    def __call__(self, x, c=None):
        width = x.shape[-1]
        mean = standing(self.variable("constants", "mean", jnp.zeros, (self.rows, width)), self.truncation)
        var = standing(self.variable("constants", "var", jnp.ones, (self.rows, width)), self.truncation)
        if c is None:
            scale = self.param("scale", nn.initializers.ones, (width,))
            offset = self.param("offset", nn.initializers.zeros, (width,))
        else:
            scale = 1 + nn.Dense(width, use_bias=False, name="scale")(c)[:, None, None]
            offset = nn.Dense(width, use_bias=False, name="offset")(c)[:, None, None]
        return nn.relu((x - mean) * (lax.rsqrt(var + EPSILON) * scale) + offset)


def standing(table: nn.Variable, truncation: float) -> Float[Array, " c"]:
    """The row of that truncation, linear between two rows, whose shares the published code swaps."""
    rows = table.value
    at = truncation * (len(rows) - 1)
    low = jnp.clip(jnp.floor(at), 0, len(rows) - 2).astype(int)
    return rows[low] + (at - low) * (rows[low + 1] - rows[low])


class _Block(nn.Module):
    before: int
    after: int
    double: bool
    rows: int
    truncation: float
    conv: str

    @nn.compact
    def __call__(self, h, y=None):
        x, c = h["x"], h["c"]
        middle = self.before // 4
        short = x[..., : self.after]
        for i, (width, side) in enumerate(((middle, 1), (middle, 3), (middle, 3), (self.after, 1))):
            x = _Norm(self.rows, self.truncation, name=f"norm{i}")(x, c)
            x = nearest(x) if self.double and i == 1 else x
            x = convolve(width, side, self.conv, f"conv{i}")(x)
        return {"x": x + (nearest(short) if self.double else short), "c": c}


class _Attention(nn.Module):
    """Self-attention (Zhang et al., ICML 2019): queries of every pixel, keys and values pooled by 2x2."""

    channels: int

    @nn.compact
    def __call__(self, h, y=None):
        x = h["x"]
        n, height, width, channels = x.shape

        def mixed(features, name):
            return nn.Dense(features, use_bias=False, name=name)(x)

        query = mixed(channels // 8, "query").reshape(n, height * width, -1)
        key, value = (
            max_pool(mixed(features, name), 2, 2).reshape(n, height * width // 4, -1)
            for name, features in (("key", channels // 8), ("value", channels // 2))
        )
        weights = nn.softmax(jnp.einsum("nqc,nkc->nqk", query, key))
        out = jnp.einsum("nqk,nkc->nqc", weights, value).reshape(n, height, width, -1)
        gain = self.param("gain", nn.initializers.zeros, ())
        return {**h, "x": x + gain * nn.Dense(channels, use_bias=False, name="out")(out)}


class _Image(nn.Module):
    channels: int
    rows: int
    truncation: float
    conv: str

    @nn.compact
    def __call__(self, h, y=None):
        x = _Norm(self.rows, self.truncation, name="norm")(h["x"])
        return unit(convolve(self.channels, 3, self.conv, "conv")(x))


def convolve(width: int, side: int, conv: str, name: str) -> nn.Conv:
    """A convolution that keeps the size."""
    return nn.Conv(width, (side, side), name=name, conv_general_dilated=convolution(conv))
