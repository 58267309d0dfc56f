"""Usable information about the images themselves: what a reconstruction, or a learnt inverter, knows of x.

The family f[g] = N(xhat(g), tau^2 I) over d pixels has -log f[g](x) = ||x - xhat||^2 / (2 tau^2) +
(d/2) log(2 pi tau^2) (V-information: Xu et al., ICLR 2020; this family for "original information", after Mo
et al., arXiv 2105.13929, is jleak's reconstruction). Against the mean image, with tau fitted to each,

    I_V = (d/2) log(MSE_0 / MSE),   and, for a tau given,   I_V = d (MSE_0 - MSE) / (2 tau^2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, number, whole
from jleak.leakage.layers import Rows
from jleak.leakage.projection import components
from jleak.leakage.usable.rows import Split, members, stacked

LEAST_VARIANCE = 1 / (12 * 255**2)
"""Of tau, that of rounding to 8 bits: an exact reconstruction knows x to that, not without limit."""

LAMBDAS = (*np.logspace(-4, 4, 17).tolist(), np.inf)
"""Penalties tried, in units of the mean square of a row's coordinates; infinity gives the mean image."""


class Original(NamedTuple):
    """What is known of the images, layer by layer or attack by attack. In nats but for `bits`.

    Attributes:
      mse: mean square error per pixel.
      mse_null: that of the mean image.
      raw: H_V(X|0) - H_V(X|G).
      value: the same, at least 0: I_V.
      bits: that in bits, and
      bits_per_pixel: over d.
      pvi: of each image; its mean is `raw`.
    """

    mse: Float[Array, " layers"]
    mse_null: Float[Array, ""]
    raw: Float[Array, " layers"]
    value: Float[Array, " layers"]
    bits: Float[Array, " layers"]
    bits_per_pixel: Float[Array, " layers"]
    pvi: Float[Array, "layers n"]


def reconstruction(
    xhat: Float[Array, "layers n ..."],
    x: Float[Array, "n ..."],
    mean: Float[Array, "..."],
    *,
    tau: float | None = None,
) -> Original:
    """I_V of attacks that have already been run, such as one restricted to each layer.

    Args:
      xhat: reconstructions, paired with the truths (`jleak.metrics.pair`).
      x: the truths.
      mean: the mean image of records that are not among them: what is guessed without an update.
      tau: None fits it to these very images, attack and mean image each for itself: the likeliest one,
        sqrt(MSE), at least that of 8-bit rounding. A number is both's.

    Raises:
      InputError: shapes that do not match, tau <= 0.

    >>> x, xhat = jnp.array([[0.0, 1.0], [1.0, 0.0]]), jnp.array([[[0.25, 0.75], [0.75, 0.25]]])
    >>> found = reconstruction(xhat, x, jnp.array([0.5, 0.5]))  # log2(0.25 / 0.0625) / 2 a pixel
    >>> round(float(found.bits_per_pixel[0]), 6)
    1.0
    """
    if xhat.shape[1:] != x.shape or mean.shape != x.shape[1:]:
        raise InputError(
            f"xhat must be (layers, *x.shape) and mean one image, got {xhat.shape}, x {x.shape} and mean "
            f"{mean.shape}; use xhat[None] for one attack"
        )
    if tau is not None:
        number("tau", tau, above=0)
    errors = jnp.square(xhat - x).reshape(*xhat.shape[:2], -1).mean(-1)
    blind = jnp.square(x - mean).reshape(len(x), -1).mean(-1)
    variance = (errors.mean(1), blind.mean()) if tau is None else (jnp.full(len(xhat), tau**2), tau**2)
    return _information(errors, blind, *variance, d=mean.size)


def ridge(
    rows: Rows,
    x: Float[Array, "m ..."],
    split: Split,
    *,
    targets: int | None = None,
    lambdas: tuple[float, ...] = LAMBDAS,
) -> Original:
    """I_V of a learnt inverter: ridge regression from each layer's rows to the pixels.

    xhat = mean + (Y^T Z) (Z^T Z + lambda m I)^-1 z, Z the standardised training rows and Y the training
    images less their mean. Lambda is the one of least error on validation, where tau is fitted, too; the test
    rows decide the rest. Infinity is among the lambdas, so that a layer may be ignored.

    Args:
      rows: the updates, a matrix a layer.
      x: what to predict of each: its image, in batches of one; of larger ones the mean image, say.
      split: of each update, 0 training, 1 validation, 2 test.
      targets: predicts so many principal components of the training images; None all pixels.
      lambdas: see above, each times the mean square of a row's coordinates, which is 1 but for constants.

    Raises:
      InputError: rows or images that do not match `split`, no lambda or one below 0.

    >>> x = jax.random.uniform(jax.random.key(0), (60, 2, 2, 1))
    >>> rows = {"copy": x.reshape(60, 4), "constant": jnp.ones((60, 3))}
    >>> [round(bits, 1) for bits in ridge(rows, x, np.arange(60) % 3).bits_per_pixel.tolist()]
    [8.8, 0.0]
    """
    z = stacked(rows, split)
    if len(x) != len(split):
        raise InputError(f"x must be one image an update, {len(split)}, got {len(x)}; give each its own")
    if not lambdas:
        raise InputError("lambdas must hold a penalty at least, got none; use (inf,) for the mean image")
    for penalty in lambdas:
        number("lambdas", penalty, least=0)
    pixels = jnp.reshape(x, (len(x), -1))
    train, validation, test = members(split)
    mean = pixels[train].mean(0)
    apart = pixels - mean
    wanted = apart if targets is None else _principal(apart, train, targets)
    xhat = jax.vmap(lambda z: _inverted(z, wanted, apart, (train, validation), jnp.asarray(lambdas)))(z)
    errors = jnp.square(xhat - apart).mean(-1)
    blind = jnp.square(apart).mean(-1)
    return _information(
        errors[:, test],
        blind[test],
        errors[:, validation].mean(1),
        blind[validation].mean(),
        d=pixels.shape[1],
    )


def _inverted(
    z: Float[Array, "m k"],
    wanted: Float[Array, "m d"],
    apart: Float[Array, "m d"],
    places: tuple[Split, Split],
    lambdas: Float[Array, " lambdas"],
) -> Float[Array, "m d"]:
    """The predictions of all rows, by the penalty of least error on validation."""
    train, validation = places
    # least singular values are kept apart from rounding by the penalty; one at 0 leads to no division by it
    sizes, axes = linalg.eigh(z[train].T @ z[train] / len(train))
    coordinates = z @ axes
    slopes = coordinates[train].T @ wanted[train] / len(train)
    sizes = jnp.maximum(sizes, 0.0)
    floor = sizes[-1] * z.shape[1] * jnp.finfo(z.dtype).eps

    def predicted(penalty, coordinates):
        kept = sizes + penalty > floor
        gains = jnp.where(kept, 1 / jnp.where(kept, sizes + penalty, 1.0), 0.0)
        return (coordinates * gains) @ slopes

    def error(penalty):
        return jnp.square(predicted(penalty, coordinates[validation]) - apart[validation]).mean()

    errors = jax.lax.map(error, lambdas)
    return predicted(lambdas[jnp.argmin(errors)], coordinates)


def _principal(apart: Float[Array, "m d"], train: Split, targets: int) -> Float[Array, "m d"]:
    """Images less their mean, projected on the principal components of the training ones."""
    whole("targets", targets)
    axes = components(apart[train], targets).axes
    length = jnp.linalg.norm(axes, axis=1, keepdims=True)
    axes = jnp.where(length > 0, axes / jnp.where(length > 0, length, 1.0), 0.0)
    return apart @ axes.T @ axes


def _information(
    errors: Float[Array, "layers n"],
    blind: Float[Array, " n"],
    variance: Float[Array, " layers"],
    variance_null: Float[Array, ""],
    *,
    d: int,
) -> Original:
    """I_V from mean square errors per pixel and the variances of the two Gaussians."""

    def nll(error, variance):
        variance = jnp.maximum(variance, LEAST_VARIANCE)
        return d / 2 * (jnp.log(2 * jnp.pi * variance) + error / variance)

    pvi = nll(blind, variance_null) - nll(errors, variance[:, None])
    raw = pvi.mean(1)
    value = jnp.maximum(raw, 0.0)
    bits = value / jnp.log(2.0)
    return Original(errors.mean(1), blind.mean(), raw, value, bits, bits / d, pvi)
