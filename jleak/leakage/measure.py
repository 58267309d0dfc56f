"""What every measure of leakage is to whoever runs it, whatever it measures."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from jleak.types import Client, Loss, Model, Params, Threat

Kernels = tuple[tuple[int, ...] | None, ...]
"""Of each layer the shape of its kernel, or None; static."""


class Subject(NamedTuple):
    """Whose leakage is measured.

    Attributes:
      model, params: what the server sent.
      client: who trains on it, with the defense.
      loss: the client's.
      threat: what an attacker knows who takes the client for undefended.
    """

    model: Model
    params: Params
    client: Client
    loss: Loss
    threat: Threat


class Sample(NamedTuple):
    """Updates of many batches, for measures that learn from examples.

    Attributes:
      rows: of each layer, input first, a row an update: its entries, or a sketch of them
        (`jleak.leakage.projection.sketch`).
      x: the images behind each.
      value: the attribute of each batch; 0 where batches were not drawn by one.
      split: 0 for training, 1 for validation, 2 for test (`jleak.leakage.usable`).
      sets: which batches are matched in all but the attribute. All three on the host: what is computed is
        shaped by them.
      kernels: for measures that look at kernels, of each layer the shape of its kernel where it slides over
        an image, and rows are then whole gradients; else None (`jleak.leakage.usable.spatial_kernels`).
        Empty for other measures.
    """

    rows: tuple[Float[Array, "m k"], ...]
    x: Float[Array, "m n h w c"]
    value: Int[np.ndarray, " m"]
    split: Int[np.ndarray, " m"]
    sets: Int[np.ndarray, " m"]
    kernels: Kernels = ()


class Leak(NamedTuple):
    """What a measure has found.

    Attributes:
      layers: numbers of every layer, input first, by name.
      whole: numbers of the whole update, by name.
      pvi: of measures that learn from many updates, where they know it: pointwise usable information of each
        test update, in bits, layer by layer and last by all layers together. On `images` it is that of the
        batch's first image.
    """

    layers: dict[str, Float[Array, " layers"]]
    whole: dict[str, Float[Array, ""]]
    pvi: Float[Array, "sets tests"] | None = None


class Measure(NamedTuple):
    """A measure of leakage, ready to run.

    Attributes:
      on: what it is a function of. `batch`: one batch, `(key, subject, batch, known) -> Leak`. `images`,
        `attribute`: updates of many batches, `(key, sample) -> Leak`, drawn in any way, or in matched sets by
        an attribute.
      fn: that function.
      layer: the number of a layer that a map of the layers shows; empty for a measure of the whole alone.
      whole: the number that stands for the measure where it is compared with what attacks recover.
      unit: of these two.
      prepare: of a measure on batches, `images -> known`: what it takes from public images, (m, h, w, c),
        the same for every batch.
      traced: whether JAX can compile it.
      kernels: whether it looks at kernels as such (`Sample.kernels`).
      note: what is to be said beside its numbers, of layers of these names and kernels.
    """

    on: str
    fn: Callable[..., Leak]
    layer: str
    whole: str
    unit: str = ""
    prepare: Callable[[Float[Array, "m h w c"]], Any] = lambda images: None
    traced: bool = True
    kernels: bool = False
    note: Callable[[Sequence[str], Kernels], str] = lambda names, kernels: ""


ON = ("batch", "images", "attribute")
"""What a measure can be a function of."""
