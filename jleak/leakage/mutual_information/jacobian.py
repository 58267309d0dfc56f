"""Mutual information between a batch and its update where the update is taken for linear: in closed form.

With images X = mean + z F, z ~ N(0, I), and the update seen at a resolution sigma, G = J X + sigma n,

    I_sigma(X; G) = 1/2 log det(I + A^T A),    A = J (I (x) F^T) / sigma,

in nats. Without a resolution the update is a function of the batch and the information has no bound, so
sigma is part of the number. What is told about one image, given that the others are unknown too, is the same
without its columns subtracted. A layer's is that of its rows; of layers after one another the differences add
up to the total (chain rule). Labels are held fixed: what an update tells of an image by telling its label is
not in it.

After Liu, Zhu, Wang and Xiao, "A Quantitative Metric for Privacy Leakage in Federated Learning", ICASSP 2021
(arXiv 2102.13472), who judge a client's risk by the mutual information of its batch and gradient. Their
estimator could not be read: this one is jleak's reconstruction of the quantity, local to the batch.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, number, whole
from jleak.leakage.jacobian import linear, randomness
from jleak.leakage.mutual_information.lanczos import quadrature, solved
from jleak.tree import stream
from jleak.types import Batch, Client, Key, Model, Params

CHUNK = 8
"""Columns of the derivative computed side by side."""


class Information(NamedTuple):
    """What an update tells of the batch behind it, in nats.

    Attributes:
      total: I(X; G).
      layers: I(X; G_l), of each layer alone, input first.
      increments: I(X; G_l | the layers before it); they add up to the total.
      samples: I(x_i; G), of each image alone.
      mse: of each image, the mean squared error of a pixel that remains when all of this is known, at best:
        that of its mean given G, tr(F^T (I + A^T A)^-1 F) / d over its own columns. Directions that F leaves
        out are not in it.
      sigmas: the resolution at which each layer was seen, its own randomness included.
      error, sample_errors, mse_errors: standard errors of the total, of the samples and of mse; 0 where they
        are exact.
    """

    total: Float[Array, ""]
    layers: Float[Array, " layers"]
    increments: Float[Array, " layers"]
    samples: Float[Array, " n"]
    mse: Float[Array, " n"]
    sigmas: Float[Array, " layers"]
    error: Float[Array, ""]
    sample_errors: Float[Array, " n"]
    mse_errors: Float[Array, " n"]

    @property
    def bits(self) -> Float[Array, ""]:
        """The total in bits."""
        return self.total / jnp.log(2.0)


def jacobian_gaussian(
    key: Key,
    model: Model,
    client: Client,
    params: Params,
    batch: Batch,
    *,
    sigma: float,
    factor: Float[Array, "r d"],
    draws: int = 8,
) -> Information:
    """I_sigma by all columns of A: exact, r JVPs an image, n r x entries of memory.

    By triangular factors and singular values, not by products of the columns: in float32 those would lose
    what is told of directions that show a thousandth as well as the best one.

    Args:
      key: for the client's randomness.
      model, client, params: as the server sent and the client trains; the client with its defense.
      batch: what the client holds.
      sigma: the resolution at which the update is seen, in its own units. The randomness of the client
        (`jleak.leakage.jacobian.randomness`) is added to it layer by layer, as independent noise is.
      factor: how images vary (`jleak.leakage.jacobian.factor`).
      draws: updates from which that randomness is measured.

    Raises:
      InputError: sigma <= 0, or a factor of another number of pixels.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jax.random.uniform(jax.random.key(0), (2, 2, 2, 1)), jnp.array([2, 0]))
    >>> found = jacobian_gaussian(jax.random.key(1), model, fedsgd(model, cross_entropy),
    ...     model.init(jax.random.key(2)), batch, sigma=0.1, factor=0.2 * jnp.eye(4))
    >>> bool(found.increments.sum() - found.total < 1e-4), bool((found.layers < found.total).all())
    (True, True)
    """
    _check(sigma, factor, batch)
    at = linear(stream(key, "client"), model, client, params, batch)
    sigmas = _sigmas(key, model, client, params, batch, sigma, draws)
    n, r, shape = len(batch.x), len(factor), batch.x.shape

    def column(i):
        image = jnp.zeros((n, factor.shape[1])).at[i // r].set(factor[i % r])
        return at.push(image.reshape(shape))

    columns = lax.map(column, jnp.arange(n * r), batch_size=CHUNK)
    layers = [linalg.qr((a / s).T, mode="r") for a, s in zip(columns, sigmas, strict=True)]
    until = list(itertools.accumulate(layers, lambda one, more: linalg.qr(jnp.vstack([one, more]), mode="r")))
    totals = jnp.stack([_half_log_determinant(one) for one in until])
    others = 1 - jnp.eye(n)  # without the columns of each image
    without = lax.map(lambda keep: _half_log_determinant(until[-1] * jnp.repeat(keep, r)), others)
    return Information(
        totals[-1],
        jnp.stack([_half_log_determinant(one) for one in layers]),
        jnp.diff(totals, prepend=0.0),
        totals[-1] - without,
        _least_error(until[-1], factor, n),
        sigmas,
        jnp.zeros(()),
        jnp.zeros(n),
        jnp.zeros(n),
    )


def jacobian_lanczos(
    key: Key,
    model: Model,
    client: Client,
    params: Params,
    batch: Batch,
    *,
    sigma: float,
    factor: Float[Array, "r d"],
    probes: int = 4,
    steps: int = 30,
    draws: int = 8,
) -> Information:
    """I_sigma without ever holding a column of A: tr log(I + A^T A) by stochastic Lanczos quadrature.

    Random signs v give E[v^T log(I + A^T A) v]; each is computed in the Krylov space of `steps` products with
    A^T A, a JVP and a VJP each (Ubaru, Chen and Saad, "Fast Estimation of tr(f(A))", SIAM J. Matrix Anal.
    Appl. 2017). All parts of the result share the signs. One image's part is a difference of two estimates:
    look at its error. It takes (2 + n + 2 layers) x probes x steps of them, and the memory of a few updates
    and of `steps` batches.

    The error that remains is a trace, too: with a random z_i for each image, E[z_i z_i^T] = F F^T, that of
    image i is E[z_i^T y_i] / d, y = (I + A^T A)^-1 z from such a space. Too few steps make it too small.

    Args:
      key, model, client, params, batch, sigma, factor, draws: as `jacobian_gaussian`.
      probes: how many v; the relative error falls as 1 / sqrt(probes n r).
      steps: of Lanczos.

    Raises:
      InputError: as `jacobian_gaussian`; fewer than two probes, which tell no error.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jax.random.uniform(jax.random.key(0), (1, 2, 2, 1)), jnp.array([2]))
    >>> args = jax.random.key(1), model, fedsgd(model, cross_entropy), model.init(jax.random.key(2)), batch
    >>> exact, found = (of(*args, sigma=0.1, factor=0.2 * jnp.eye(4)) for of in
    ...     (jacobian_gaussian, jacobian_lanczos))
    >>> bool(abs(found.total - exact.total) < 4 * found.error + 1e-3)
    True
    """
    _check(sigma, factor, batch)
    whole("probes", probes, least=2, hint="one probe tells no error")
    whole("steps", steps)
    at = linear(stream(key, "client"), model, client, params, batch)
    sigmas = _sigmas(key, model, client, params, batch, sigma, draws)
    n, count, shape = len(batch.x), len(sigmas), batch.x.shape

    def product(z, layers, images):
        v = (z * images[:, None]) @ factor
        pushed = at.push(v.reshape(shape))
        pulled = at.pull(tuple(w * row for w, row in zip(layers / sigmas**2, pushed, strict=True)))
        return (pulled.reshape(n, -1) @ factor.T) * images[:, None]

    def part(masks):
        def one(v):
            return quadrature(lambda z: product(z, *masks), v, min(steps, v.size)) / 2

        return lax.map(one, signs)

    def least(z):
        every = jnp.ones(count), jnp.ones(n)
        y = solved(lambda v: product(v, *every), z, min(steps, z.size))
        return (z * y).sum(1) / factor.shape[1]

    signs = jax.random.rademacher(stream(key, "probes"), (probes, n, len(factor)), factor.dtype)
    found = lax.map(part, _parts(count, n))
    return _assembled(found, lax.map(least, _with_products(factor, signs)).T, sigmas)


def _with_products(factor: Float[Array, "r d"], signs: Float[Array, "... r"]) -> Float[Array, "... r"]:
    """z with E[z z^T] = F F^T, along its axes, so that z^T z is its trace whatever the signs."""
    axes, sizes, _ = linalg.svd(factor, full_matrices=False)
    return (signs[..., : len(sizes)] * sizes) @ axes.T


def _check(sigma: float, factor: Float[Array, "r d"], batch: Batch) -> None:
    number("sigma", sigma, above=0, hint="without a resolution the information has no bound")
    pixels = batch.x[0].size
    if factor.shape[1:] != (pixels,):
        raise InputError(
            f"factor must have a column for each of the {pixels} pixels, got shape {factor.shape}; make it "
            "of images of the same shape with jleak.leakage.jacobian.factor"
        )


def _sigmas(key, model, client, params, batch, sigma, draws) -> Float[Array, " layers"]:
    own = randomness(stream(key, "randomness"), model, client, params, batch, draws=draws)
    return jnp.sqrt(sigma**2 + own**2)


def _parts(layers: int, n: int) -> tuple[Float[Array, "parts layers"], Float[Array, "parts n"]]:
    """Which layers and images count: all; each layer; each with those before it; without each image."""
    each, all_ = jnp.eye(layers), jnp.ones(layers)
    of_layers = jnp.concatenate([all_[None], each, jnp.tril(jnp.ones_like(each))])
    if n == 1:
        return of_layers, jnp.ones((len(of_layers), 1))
    images = jnp.concatenate([jnp.ones((len(of_layers), n)), 1 - jnp.eye(n)])
    return jnp.concatenate([of_layers, jnp.broadcast_to(all_, (n, layers))]), images


def _assembled(
    found: Float[Array, "parts probes"], least: Float[Array, "n probes"], sigmas: Float[Array, " layers"]
) -> Information:
    """The estimates of `_parts`, and of what remains, as what is known of the whole, of layers, of images."""
    count = len(sigmas)
    total, layers, until, without = jnp.split(found, (1, 1 + count, 1 + 2 * count))
    samples = total - without if len(without) else total
    return Information(
        total.mean(),
        layers.mean(1),
        jnp.diff(until.mean(1), prepend=0.0),
        samples.mean(1),
        least.mean(1),
        sigmas,
        _standard_error(total)[0],
        _standard_error(samples),
        _standard_error(least),
    )


def _standard_error(found: Float[Array, "parts probes"]) -> Float[Array, " parts"]:
    return found.std(axis=1, ddof=1) / jnp.sqrt(found.shape[1])


def _half_log_determinant(a: Float[Array, "p k"]) -> Float[Array, ""]:
    """1/2 log det(I + A^T A), by singular values: their squares would lose the small ones."""
    return jnp.log1p(linalg.svd(a, compute_uv=False) ** 2).sum() / 2


def _least_error(a: Float[Array, "p k"], factor: Float[Array, "r d"], n: int) -> Float[Array, " n"]:
    """The mean squared error of each image's pixels, given G."""
    k = a.shape[1]
    padded = jnp.vstack([a, jnp.zeros((max(k - len(a), 0), k))])
    _, sizes, axes = linalg.svd(padded, full_matrices=False)
    seen = (axes / jnp.sqrt(1 + sizes[:, None] ** 2)).reshape(k, n, len(factor))
    return ((seen.swapaxes(0, 1) @ factor) ** 2).sum((1, 2)) / factor.shape[1]
