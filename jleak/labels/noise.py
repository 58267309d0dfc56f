"""How much noise an update carries, as far as it shows by itself."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from jleak.check import number
from jleak.labels.head import Head, head
from jleak.tree import select
from jleak.types import Model, Params

LEAST = 64
"""Entries from which a tensor is looked at by itself: of noise, it tells the scale to 9 %."""


class NoiseLevel(NamedTuple):
    """Standard deviation of the noise on an entry of an update, and its interval.

    Attributes:
      sigma: the estimate.
      low, high: the ends; `low` is 0 where all of it may as well be gradient. `high` holds whatever the
        client's loss is, `low` under softmax cross entropy.
    """

    sigma: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def noise_level(model: Model, update: Params, *, confidence: float = 0.95) -> NoiseLevel:
    """The standard deviation of independent noise of mean 0 and one scale on every entry of an update.

    Under softmax cross entropy sum_c dW_c = 0 and sum_c db_c = 0 for any batch, also summed over local steps.
    With noise these width + 1 sums over C classes are N(0, C sigma^2), so their mean square over C estimates
    sigma^2 with as many degrees of freedom. The mean square of a tensor of k >= 64 entries is sigma^2 and the
    gradient's own, so the tensor whose interval ends lowest bounds sigma from above whatever the loss is. The
    sums give the estimate (or the tensor does, should theirs lie above that bound) and the interval, cut at
    the bound; where they contradict it (another loss, for
    which they are not 0) the tensor's root mean square is the estimate, and 0 the lower end.

    Ends are chi-square quantiles (by Wilson and Hilferty, PNAS 1931), a third of 1 - `confidence` for each of
    the sums' two and for all tensors together; a tensor has the degrees of freedom that its entries' kurtosis
    leaves it, 2 k / (kurtosis - 1), so that Laplace noise has its due. Derived here.

    An update without noise gives its rounding, about 1e-8 of its entries. What pruned or masked entries leave
    is not told from less noise.

    Args:
      model: tells the classifier's layer.
      update: what the client sent.
      confidence: of the interval, above 0 and below 1.

    Raises:
      InputError: a confidence outside of that; the update lacks the classifier's layer.

    >>> from jleak.models import mlp
    >>> model = mlp((4, 4, 1), 10, hidden=64)
    >>> update = model.init(jax.random.key(0))["params"]
    >>> noisy = jax.tree.map(lambda u: 0.1 * jax.random.normal(jax.random.key(u.size), u.shape), update)
    >>> [round(float(s), 2) for s in noise_level(model, noisy)]
    [0.1, 0.09, 0.11]
    """
    number("confidence", confidence, above=0, below=1, hint="it is a probability: 0.95")
    layer, tail = head(model, update), (1 - confidence) / 3
    n, width = layer.kernel.shape
    variance, degrees = noise_variance(layer), width
    if layer.bias is not None:
        variance, degrees = (width * variance + layer.bias.sum() ** 2 / n) / (width + 1), width + 1
    sums = NoiseLevel(*jnp.sqrt(variance * jnp.stack([1.0, *ends(degrees, tail)])))
    tensors = [leaf for leaf in jax.tree.leaves(update) if leaf.size >= LEAST]
    if not tensors:
        return sums
    found = jnp.stack([jnp.stack(bound(leaf, tail / len(tensors))) for leaf in tensors])
    sigma, high = found[jnp.argmin(found[:, 1])]
    inside = jnp.where(sums.sigma <= high, sums.sigma, jnp.maximum(sigma, sums.low))
    cut = NoiseLevel(inside, sums.low, jnp.minimum(sums.high, high))
    return select(sums.low <= high, cut, NoiseLevel(sigma, jnp.zeros_like(sigma), high))


def ends(degrees: Float[Array, ""], tail: float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """By what to multiply an estimated variance for the ends of its interval, each missed with `tail`.

    >>> [round(float(end), 2) for end in ends(10, 0.025)]
    [0.49, 3.1]
    """
    part, z = 2 / (9 * jnp.asarray(degrees, float)), ndtri(1 - tail)
    return tuple((1 - part + sign * z * jnp.sqrt(part)).clip(1e-3) ** -3 for sign in (1, -1))


def bound(tensor: Array, tail: float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(root mean square, upper end) of a tensor's entries."""
    square = tensor.astype(float) ** 2
    variance = square.mean()
    scaled = square / jnp.where(variance > 0, variance, 1.0)
    degrees = 2 * tensor.size / (jnp.mean(scaled**2) - 1).clip(2.0)
    return jnp.sqrt(variance), jnp.sqrt(variance * ends(degrees, tail)[1])


def noise_variance(update: Head) -> Float[Array, ""]:
    """Variance of the noise on an entry, from the columns' sums over the classes, which would be 0 without.

    >>> noise_variance(Head(jnp.array([[1.0, 2.0], [-1.0, 0.0]]), None)).item()
    1.0
    """
    return jnp.mean(update.kernel.sum(0) ** 2) / len(update.kernel)
