"""The batch size, where the server is not told it: the number that makes every class's share whole.

An update is a mean over the client's images, so it tells the shares w_c = lambda_c / B of the classes and
not B itself: B shows only in that all B w_c must be whole numbers. Derived here.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jleak.check import InputError, whole
from jleak.types import Threat

SIGNIFICANT = 0.01
"""A fit of less chance than this is believed."""

MOST = 256
"""The largest batch size that is considered unless told otherwise."""

RESOLUTION = 10_007
"""How many images a label attack reckons with in place of an unknown number: a prime (see `unknown`)."""

SHARELESS = ("bias_sign", "idlg", "yin")
"""Label attacks whose counts tell no shares: those of one image alone, or of no class twice."""


class Size(NamedTuple):
    """What the shares tell of the batch size.

    Attributes:
      batch: the batch size; 0 where no size fits significantly better than chance would.
      error: largest distance of batch * shares from whole numbers, in labels; of the best fit, where 0.
      chance: bound on the probability of such a fit at any size, were all wrong; of the best fit, where 0.
    """

    batch: Int[Array, ""]
    error: Float[Array, ""]
    chance: Float[Array, ""]


def batch_size(shares: Float[Array, " n"], *, most: int = MOST) -> Size:
    """The batch size that has these shares of the classes, if they are precise enough to tell it.

    Were a size B wrong, the distances of B w_c from whole numbers would be uniform in [-1/2, 1/2]. Let x be
    the largest, and k + 1 the number of classes of more than half a label at this B; k of them are free, as
    all sum to B. So a fit this good at B has a chance of (2x)^k at most; times B (1 + 1/2 + ... + 1/most)
    over all sizes (Bonferroni with the weights 1/B). The size of least chance is taken, if below 0.01; a
    multiple of it fits as many times worse. The smallest size below 0.01 would be wrong: 33, 33 and 34 of 100
    nearly fit B = 3. Derived here.

    What it cannot tell: any B where all labels are of one class (k = 0); and of counts with a common divisor
    d, anything but B / d (three of each class look like one of each). It needs shares more precise than the
    label attacks need to get the counts of a known B right: few classes and small sizes most of all, since
    then k is small. See `unknown` for how often they are.

    Args:
      shares: of the classes; they sum to one.
      most: the largest size considered, static.

    Raises:
      InputError: shares that do not sum to one (where their values are known), most below one.

    >>> batch_size(jnp.array([3, 0, 5, 4]) / 12).batch.item()
    12
    >>> batch_size(jnp.array([0.0, 1.0, 0.0])).batch.item()
    0
    """
    whole("most", most)
    _sums_to_one(shares)
    sizes = np.arange(1, most + 1)
    labels = sizes[:, None] * jnp.asarray(shares, jnp.float32)
    error = jnp.abs(labels - jnp.round(labels)).max(1)
    error = jnp.where(jnp.isfinite(error), error, 0.5)
    free = ((labels > 0.5).sum(1) - 1).clip(0)
    # Not below the rounding of the shares themselves, lest a multiple of B seem to fit better.
    x = jnp.maximum(error, sizes * jnp.finfo(labels.dtype).eps / 2)
    chance = free * jnp.log(2 * x) + np.log(sizes * (1 / sizes).sum())
    best = jnp.argmin(chance)
    chance = jnp.exp(jnp.minimum(chance[best], 0.0))
    batch = jnp.where(chance < SIGNIFICANT, best + 1, 0).astype(jnp.int32)
    return Size(batch, error[best], chance)


def unknown(threat: Threat, *, resolution: int = RESOLUTION) -> Threat:
    """The threat of a server that is not told the batch size: what to make a label attack for.

    A label attack made for `resolution` images gives the counts that so many would have. Divided by
    `resolution` they are the shares of the classes, rounded by 1 / (2 resolution) or a little more. Let it be
    a prime number: of shares in thousandths B = 250 makes every fourth whole, and a size is found in noise.

    Those of `SHARELESS` give no shares. Of the others, how often `batch_size` then finds B up to the
    common divisor, for B = 2, 4, 8, 16, 32 (digits, untrained LeNet and MLP of 32 units, 40 batches each):

        demix              95 95 95 90 97 %    75 93 100 100 70 %
        llg_plus            3 62 93 100 88 %    3 35 78 85 62 %
        counts, natural     0 25 60 57 25 %     0 17 20 10 0 %
        counts, auxiliary   0 72 95 95 82 %     0 60 88 97 72 %

    Nearly all the rest are 0; a wrong size in 5% at most. On models trained to 85 - 93% accuracy none of them
    found any B of these, and up to 7% were wrong: this is for models at the start of their training.

    Args:
      threat: what the attacker knows but for its `batch`, which is not looked at.
      resolution: how fine the shares are, best a prime number; the LLG family takes so many steps.

    Raises:
      InputError: resolution below one.

    >>> from jleak.models import mlp
    >>> unknown(Threat(client=None, model=mlp((2, 2, 1), 3), batch=7)).batch
    10007
    """
    return replace(threat, batch=whole("resolution", resolution))


def _sums_to_one(shares: Float[Array, " n"]) -> None:
    if isinstance(shares, jax.core.Tracer):
        return
    total = np.asarray(shares).sum()
    if not abs(total - 1) < 0.01:
        raise InputError(f"shares must sum to 1, got a sum of {total:g}; divide counts by their sum")
