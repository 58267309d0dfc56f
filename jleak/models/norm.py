"""Normalisation layers, and the three ways in which BatchNorm computes under attack."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError, one_of

NORMS = ("batch", "group", "none")
"""Normalisation layers by name."""

BATCHNORMS = ("eval", "batch", "batch+sent")
"""How BatchNorm computes: by running statistics, by the batch's, by the batch's, which clients send too."""

EPSILON = 1e-5
MOST_GROUPS = 32


def normalisation(norm: str, batchnorm: str = "eval") -> Callable[[str], Callable[[Array], Array]]:
    """The normalisation of that name: from a layer's name to the layer.

    Args:
      norm: `"batch"` (Ioffe & Szegedy, ICML 2015), `"group"` (Wu & He, ECCV 2018; the most groups up to 32
        that divide the channels), or `"none"`.
      batchnorm: how BatchNorm computes: `"eval"` by running statistics, `"batch"` by the mean and the
        biased variance of the batch, differentiated through; `"batch+sent"` the same.

    Raises:
      InputError: an unknown norm or batchnorm; a batchnorm other than `"eval"` without BatchNorm.

    >>> normalisation("none")("norm0")(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """
    one_of("norm", norm, NORMS)
    one_of("batchnorm", batchnorm, BATCHNORMS)
    if norm != "batch" and batchnorm != "eval":
        raise InputError(
            f"batchnorm={batchnorm!r} says how BatchNorm computes, got norm={norm!r}; use norm=batch"
        )
    layers = {
        "batch": functools.partial(BatchNorm, batchnorm != "eval"),
        "group": GroupNorm,
        "none": lambda name: lambda x: x,
    }
    layer = layers[norm]
    return lambda name: layer(name=name)


def moments(x: Float[Array, "*n c"]) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Mean and biased variance of every channel.

    >>> [u.tolist() for u in moments(jnp.array([[1.0, 5.0], [3.0, 5.0]]))]
    [[2.0, 5.0], [1.0, 0.0]]
    """
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - mean).mean(axes)


class BatchNorm(nn.Module):
    """scale (x - mean) / sqrt(var + 1e-5) + bias, channel by channel (Ioffe & Szegedy, ICML 2015, alg. 1).

    The running statistics are never updated: where `batch_stats` is mutable, the moments of x stand there
    after the call, in either mode.

    Attributes:
      batch: normalise by the moments of x and not by `batch_stats`.

    Raises:
      InputError: when called, a batch of one value a channel, all of which is its mean.
    """

    batch: bool

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        running = (
            self.variable("batch_stats", "mean", jnp.zeros, width),
            self.variable("batch_stats", "var", jnp.ones, width),
        )
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        if self.is_initializing():
            return x
        if self.batch and math.prod(x.shape[:-1]) == 1:
            raise InputError(
                f"BatchNorm {self.name!r} has one value a channel, of which nothing stays, in a batch of 1; "
                "use larger images, a larger batch, batchnorm=eval or norm=group"
            )
        mean, var = moments(x) if self.batch else [known.value for known in running]
        if self.is_mutable_collection("batch_stats"):
            for known, new in zip(running, moments(x), strict=True):
                known.value = new
        return (x - mean) * (lax.rsqrt(var + EPSILON) * scale) + bias


class GroupNorm(nn.Module):
    """The same within each image, over groups of channels (Wu & He, ECCV 2018)."""

    @nn.compact
    def __call__(self, x):
        groups = most_groups(x.shape[-1])
        if math.prod(x.shape[1:]) == groups:
            raise InputError(
                f"GroupNorm {self.name!r} has {groups} groups of one value, of which nothing stays: a layer "
                "shrinks to nothing; use larger images or another model"
            )
        return nn.GroupNorm(groups, epsilon=EPSILON, use_fast_variance=False, name="group")(x)


def most_groups(channels: int) -> int:
    """The largest number up to 32 that divides the channels.

    >>> most_groups(64), most_groups(48), most_groups(6)
    (32, 24, 6)
    """
    return max(groups for groups in range(1, MOST_GROUPS + 1) if channels % groups == 0)
