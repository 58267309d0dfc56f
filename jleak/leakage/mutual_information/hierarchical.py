"""Mutual information layer by layer, by the chain rule."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.leakage.layers import Rows
from jleak.leakage.mutual_information.estimate import Dims, Estimate, leading, matrix
from jleak.leakage.mutual_information.gaussian import gaussian
from jleak.types import Key

MOST = 8, 4
"""Components of x, and of each layer, by default."""


class Hierarchy(NamedTuple):
    """What each layer of an update tells, alone and beyond those before it.

    Attributes:
      own: I(X; G_l), of each layer by name.
      upto: I(X; G_1 .. G_l), of each layer and all before it.
      increments: I(X; G_l | G_1 .. G_l-1) in nats: differences of `upto`, which add up to the total. Below 0
        where the estimator falls short by more than the layer adds.

    The `explained` of several layers is the mean of theirs.
    """

    own: dict[str, Estimate]
    upto: dict[str, Estimate]
    increments: dict[str, Float[Array, ""]]

    @property
    def total(self) -> Estimate:
        """I(X; G), of all layers."""
        return list(self.upto.values())[-1]


def hierarchical(
    key: Key,
    x: Float[Array, "m p"],
    layers: Rows,
    *,
    estimator: Callable[..., Estimate] = gaussian,
    dims: Dims = None,
    **settings,
) -> Hierarchy:
    """I(X; G) = sum_l I(X; G_l | G_<l), with I(X; G_l | G_<l) = I(X; G_<=l) - I(X; G_<l).

    Every layer is reduced to its own principal components first, so that later ones do not crowd it out.
    After the idea of Liu, Zhu, Wang and Xiao, "A Quantitative Metric for Privacy Leakage in Federated
    Learning", ICASSP 2021 (arXiv 2102.13472), to measure the information of gradient and batch in spite of
    their dimension. Their method could not be read: this combination is jleak's reconstruction.

    Args:
      key: split for the estimates.
      x: a row a batch.
      layers: of each layer, in the order of the chain, a row an update (`jleak.leakage.by_layer`), or a
        sketch of it (`jleak.leakage.projection.sketch`).
      estimator: one of `ESTIMATORS`.
      dims: components of x and of each layer, where it has as many; None: all, up to 8 and 4.
      settings: the estimator's own.

    Raises:
      InputError: no layers; as `estimator`.

    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 1000, 1))
    >>> found = hierarchical(jax.random.key(1), x, {"first": x + noise, "copy": 2 * (x + noise)})
    >>> [round(found.increments[name].item(), 1) for name in ("first", "copy")]
    [0.3, 0.0]
    """
    if not layers:
        raise InputError("layers must name at least one layer, got none")
    most_x, most = dims or MOST
    for name, rows in {"x": x, **layers}.items():
        matrix(name, rows)
    x, share = leading("x", x, most_x if dims else min(most_x, *x.shape))
    reduced = {name: leading(name, rows, min(most, *rows.shape)) for name, rows in layers.items()}

    def estimated(key, names):
        rows, shares = zip(*[reduced[name] for name in names], strict=True)
        g = jnp.concatenate(rows, 1)
        found = estimator(key, x, g, dims=(x.shape[1], g.shape[1]), **settings)
        return found._replace(explained=jnp.stack([share, sum(shares) / len(shares)]))

    names, keys = list(layers), jax.random.split(key, (2, len(layers)))
    own = {name: estimated(one, [name]) for name, one in zip(names, keys[0], strict=True)}
    upto = {names[0]: own[names[0]]}
    for i in range(1, len(names)):
        upto[names[i]] = estimated(keys[1][i], names[: i + 1])
    nats = [jnp.zeros(()), *(found.nats for found in upto.values())]
    rises = [now - before for before, now in itertools.pairwise(nats)]
    return Hierarchy(own, upto, dict(zip(names, rises, strict=True)))
