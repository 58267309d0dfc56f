"""How much what a client shares moves when its images do: norms of the derivative, layer by layer.

After Mo, Borovykh, Malekzadeh, Demetriou, Gunduz and Haddadi, "Quantifying and Localizing Usable Information
Leakage from Neural Network Gradients" (arXiv 2105.13929), who tie sensitivity to how well images are
reconstructed, and (arXiv 2010.08762) to attributes. Which norm they take could not be read: several are here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.check import InputError, whole
from jleak.leakage.jacobian import linear
from jleak.leakage.layers import by_layer, layer_names
from jleak.tree import safe_sqrt, stream
from jleak.types import Batch, Client, Key, Model, Params

CHUNK = 8
"""Directions pushed through the derivative side by side."""


class Sensitivity(NamedTuple):
    """Norms of J_l = d vec(g_l) / d x_i, each layer's, root mean square over the images of the batch.

    Attributes:
      frobenius: ||J_l||_F.
      relative: ||J_l||_F ||x|| / ||g_l||: by which share the layer moves when the image does by its own
        length. Needs no unit.
      per_parameter: ||J_l||_F / sqrt(entries of the layer).
    """

    frobenius: Float[Array, " layers"]
    relative: Float[Array, " layers"]
    per_parameter: Float[Array, " layers"]


class OperatorNorms(NamedTuple):
    """Norms of J_l as a map, each layer's, over the pixels of the whole batch.

    Attributes:
      one: largest sum of a column's absolute values: the most that one pixel moves the layer.
      two: largest singular value: the most that any step of length one does.
    """

    one: Float[Array, " layers"]
    two: Float[Array, " layers"]


class AttributeSensitivity(NamedTuple):
    """How much an attribute of the images moves each layer.

    Attributes:
      along: ||J_l d||, d the step from the mean image without the attribute to the mean image with it.
      apart: ||E[g_l | a = 1] - E[g_l | a = 0]|| over the root of the mean variance within a value.
    """

    along: Float[Array, " layers"]
    apart: Float[Array, " layers"]


def sensitivity(
    key: Key, model: Model, client: Client, params: Params, batch: Batch, *, probes: int = 16
) -> Sensitivity:
    """The Frobenius norms, by Gaussian probes: ||J||_F^2 = E ||J v||^2, v ~ N(0, I), one JVP a probe.

    A batch of n divides every image's gradient by n, and its sensitivity with it.

    Args:
      key: for the probes and the client's randomness.
      model, client, params: what the server sent; the client with its defense.
      batch: what the client holds.
      probes: the relative error of a square is sqrt(2 / probes) at most, where one direction is all.

    Raises:
      InputError: `probes` is not a whole number >= 1.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jax.random.uniform(jax.random.key(0), (1, 2, 2, 1)), jnp.array([2]))
    >>> args = model, fedsgd(model, cross_entropy), model.init(jax.random.key(1)), batch
    >>> sensitivity(jax.random.key(2), *args).frobenius.shape
    (2,)
    """
    whole("probes", probes)
    at = linear(stream(key, "client"), model, client, params, batch)

    def square(key):
        moved = at.push(jax.random.normal(key, batch.x.shape, batch.x.dtype))
        return jnp.stack([row @ row for row in moved])

    keys = jax.random.split(stream(key, "probes"), probes)
    squares = lax.map(square, keys, batch_size=CHUNK).mean(0)
    frobenius = jnp.sqrt(squares / len(batch.x))
    own = jnp.stack([safe_sqrt(row @ row) for row in at.update])
    length = jnp.sqrt((batch.x**2).sum() / len(batch.x))
    sizes = jnp.array([len(row) for row in at.update])
    still = own == 0  # a dead layer moves by no share
    return Sensitivity(
        frobenius,
        jnp.where(still, 0.0, frobenius * length / jnp.where(still, 1.0, own)),
        frobenius / jnp.sqrt(sizes),
    )


def operator_norms(
    key: Key, model: Model, client: Client, params: Params, batch: Batch, *, steps: int = 20
) -> OperatorNorms:
    """The 1-norm by a JVP for every pixel; the 2-norm by power iteration on J^T J, from below.

    Args:
      key, model, client, params, batch: as `sensitivity`.
      steps: of the power iteration, for each layer.

    Raises:
      InputError: `steps` is not a whole number >= 1.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> batch = Batch(jax.random.uniform(jax.random.key(0), (1, 2, 2, 1)), jnp.array([2]))
    >>> args = model, fedsgd(model, cross_entropy), model.init(jax.random.key(1)), batch
    >>> norms = operator_norms(jax.random.key(2), *args)
    >>> bool((norms.two < 1.1 * sensitivity(jax.random.key(2), *args, probes=2000).frobenius).all())
    True
    """
    whole("steps", steps)
    at = linear(stream(key, "client"), model, client, params, batch)
    count, shape = len(at.update), batch.x.shape

    def column(i):
        moved = at.push(jnp.zeros(batch.x.size).at[i].set(1.0).reshape(shape))
        return jnp.stack([jnp.abs(row).sum() for row in moved])

    def largest(mask):
        def step(v, _):
            moved = tuple(m * row for m, row in zip(mask, at.push(v), strict=True))
            back = at.pull(moved)
            length = jnp.linalg.norm(back)
            return back / jnp.where(length > 0, length, 1.0), jnp.sqrt(sum(row @ row for row in moved))

        start = jax.random.normal(stream(key, "start"), shape, batch.x.dtype)
        return lax.scan(step, start / jnp.linalg.norm(start), length=steps)[1][-1]

    one = lax.map(column, jnp.arange(batch.x.size), batch_size=CHUNK).max(0)
    return OperatorNorms(one, lax.map(largest, jnp.eye(count)))


def attribute_sensitivity(
    key: Key, model: Model, client: Client, params: Params, batches: Batch, values: Float[Array, " m"]
) -> AttributeSensitivity:
    """How much a binary attribute moves each layer: along its mean step, and between its mean updates.

    Args:
      key, model, client, params: as `sensitivity`.
      batches: m batches, a leading axis before those of a batch.
      values: the attribute of each, 0 or 1; two of each at least.

    Raises:
      InputError: another number of values than of batches.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> x = jnp.repeat(jnp.array([0.2, 0.8]), 3)[:, None, None, None, None] * jnp.ones((6, 1, 2, 2, 1))
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(1))
    >>> batches, values = Batch(x, jnp.ones((6, 1), int)), jnp.array([0, 0, 0, 1, 1, 1])
    >>> attribute_sensitivity(jax.random.key(2), model, client, params, batches, values).along.shape
    (2,)
    """
    m = len(batches.x)
    if values.shape != (m,):
        raise InputError(f"values must be one a batch, shape ({m},), got {values.shape}; give 0 or 1 of each")
    names, keys = layer_names(model), jax.random.split(key, m)
    has = jnp.asarray(values, bool)
    x = batches.x.mean(1)
    step = _mean(x, has) - _mean(x, ~has)

    def one(args):
        key, batch = args
        at = linear(key, model, client, params, batch)
        moved = at.push(jnp.broadcast_to(step, batch.x.shape))
        return jnp.stack([safe_sqrt(row @ row) for row in moved])

    def share(args):
        return by_layer(names, client(args[0], params, args[1]))

    along = lax.map(one, (keys, batches)).mean(0)
    updates = lax.map(share, (keys, batches))
    return AttributeSensitivity(along, jnp.stack([_apart(rows, has) for rows in updates]))


def _mean(rows: Float[Array, "m ..."], of: Array) -> Float[Array, "..."]:
    weights = of / of.sum()
    return jnp.tensordot(weights, rows, 1)


def _apart(rows: Float[Array, "m p"], has: Array) -> Float[Array, ""]:
    """The distance of two means in units of the spread within."""
    with_, without = _mean(rows, has), _mean(rows, ~has)
    within = ((rows - jnp.where(has[:, None], with_, without)) ** 2).sum() / jnp.maximum(len(rows) - 2, 1)
    distance = safe_sqrt(((with_ - without) ** 2).sum())
    return jnp.where(within > 0, distance / jnp.sqrt(jnp.where(within > 0, within, 1.0)), 0.0)
