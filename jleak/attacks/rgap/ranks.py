"""The rank analysis of R-GAP: which layers determine their input."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jleak.attacks.rgap.layer import ACTIVATIONS, forward, layers, spread, stages, weights
from jleak.losses import cross_entropy
from jleak.types import Batch, Loss, Model, Params


class Rank(NamedTuple):
    """What a layer's gradient and output tell of its input, the padding being part of the input.

    Attributes:
      path: the layer's.
      gradient: gradient constraints, one an entry of its kernel.
      weight: weight constraints, one an entry of its output; 0 for the head, whose output nothing gives.
      padding: padding constraints: entries of the padded input that are 0.
      unknowns: entries of the padded input.
      rank: of all constraints together. `rank == unknowns` determines the input.
      condition: largest over smallest singular value of gradient and weight constraints, each block in units
        of its root mean square; infinite where they do not determine the input.
    """

    path: tuple[str, ...]
    gradient: int
    weight: int
    padding: int
    unknowns: int
    rank: int
    condition: float


def ranks(model: Model, params: Params, batch: Batch, *, loss: Loss = cross_entropy) -> tuple[Rank, ...]:
    """The constraints on every layer's input at this image, and their rank, in double precision.

    The client's own measure, before it shares anything: it needs the image, because the gradient constraints
    depend on the residuals there. Source: Zhu and Blaschko, ICLR 2021, section on rank analysis.

    Args:
      model, params: the model; a plain sequence of layers (`Model.stages`).
      batch: one image and its label.
      loss: the client's.

    Raises:
      InputError: as `rgap`.

    >>> from jleak.models import lenet
    >>> model = lenet((8, 8, 1), 10)
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (1, 8, 8, 1)), jnp.array([2]))
    >>> for rank in ranks(model, model.init(jax.random.key(0)), batch):
    ...     print(rank.path[0], rank.gradient, rank.weight, rank.padding, rank.unknowns, rank.rank)
    conv0 300 192 80 144 144
    conv1 3600 48 576 768 768
    conv2 3600 48 384 432 432
    head 480 0 0 48 48
    """
    steps, found = stages(model), []
    with jax.enable_x64(True):
        params = jax.tree.map(lambda u: jnp.asarray(u, jnp.float64), params)
        parts = layers(model, params, params["params"])
        act = ACTIVATIONS.get(model.activation)
        inputs = forward(parts, act, jnp.asarray(batch.x[0], jnp.float64))
        k = jax.grad(lambda z: loss(z[None], batch.y))(inputs[-1])
        for n in reversed(range(len(parts))):
            part, last = parts[n], n == len(parts) - 1
            a = weights(part)
            gradient = np.kron(np.asarray(spread(part, k)).T, np.eye(part.shape[2]))
            blocks = [gradient] if last else [gradient, np.asarray(a)]
            found.append(of(steps[n].path, blocks, part.shape, steps[n].padding, part.kernel.size))
            if n:
                k = (k @ a) * act.slope(inputs[n])
    return tuple(reversed(found))


def of(
    path: tuple[str, ...], blocks: list[np.ndarray], shape: tuple[int, int, int], padding: int, weights: int
) -> Rank:
    """The rank of one layer; zero padding is eliminated first, which changes it by just so many."""
    h, w, c = shape
    inputs = h * w * c
    padded = (h + 2 * padding) * (w + 2 * padding) * c
    units = [np.sqrt(np.mean(block**2)) or 1.0 for block in blocks]
    stacked = np.concatenate([block / unit for block, unit in zip(blocks, units, strict=True)])
    values = np.linalg.svd(stacked, compute_uv=False)
    rank = int(np.sum(values > values[0] * max(stacked.shape) * np.finfo(np.float64).eps))
    condition = float(values[0] / values[-1]) if rank == inputs else float("inf")
    outputs = len(blocks[1]) if len(blocks) > 1 else 0
    return Rank(path, weights, outputs, padded - inputs, padded, rank + padded - inputs, condition)
