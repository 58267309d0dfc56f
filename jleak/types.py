"""The vocabulary: what travels between the parts of jleak.

Arrays travel in NamedTuples (JAX pytrees), descriptions in frozen dataclasses (static).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

Key = PRNGKeyArray
Params = PyTree[Array]

Labels = Int[Array, " n"]
"""Hard labels, one class number an image."""

Counts = Int[Array, " classes"]
"""How often each class occurs in a batch."""

SoftLabels = Float[Array, "n classes"]
"""Label distributions, one row an image; rows sum to one."""


class Batch(NamedTuple):
    """The client's secret: images in [0, 1] and their labels.

    Normalisation, where a model wants it, lives inside the model.
    """

    x: Float[Array, "n h w c"]
    y: Labels | SoftLabels


class View(NamedTuple):
    """Every *array* that the curious server holds. An attack sees nothing else.

    Attributes:
      params: the Flax variables that the server sent (batch statistics included).
      update: what came back from the client, after its defense; shaped like `params["params"]`.
      labels: the batch's labels, only where the threat grants them.
      prior: public side arrays (a generator's weights, or auxiliary images), or None.
      statistics: the BatchNorm statistics of the client's batch, shaped like `params["batch_stats"]`, only
        where the client sends them. No defense acts on them.
    """

    params: Params
    update: Params
    labels: Labels | None = None
    prior: PyTree | None = None
    statistics: PyTree | None = None


class Status(IntEnum):
    """What a recovered image (or vector of features) is, as far as the attacker can vouch for it.

    Attributes:
      PROVEN: the true one up to rounding; the gradient determines it, and both parts of its certificate are
        at the rounding of the update's type.
      NOISY: the same up to the noise that the update shows of itself; `Recovery.error` of `demixing` tells
        how far.
      APPROXIMATE: it does not explain the gradient; read the residual.
      CLASS_MEAN: the batch holds its label more than once, and the mean of its class is what was found.
      COMMON_OFFSET: under softmax no class is absent, or there are as many images as classes or more: right
        up to an offset that all vectors share, and that no gradient of this layer tells.
      RANK_DEFICIENT: the layer's gradient does not determine all images (too narrow, or dead units).
      AMBIGUOUS: it explains the gradient as PROVEN or NOISY ones do, but the batch holds its label more than
        once. Turning the images of one class among each other (keeping their sum and second moments) changes
        the gradient little under softmax, not at all under a loss with linear residuals (`mse`), so other
        images may explain it as well. True or not, nothing here tells.
      MASKED: entries of the gradient that is read first were removed (pruning, say): they are zero though
        neither their row nor their column is.
      UNREADABLE: the update is all zeros or not finite in a layer that is needed; the vector is NaN.
    """

    PROVEN = 0
    NOISY = 1
    APPROXIMATE = 2
    CLASS_MEAN = 3
    COMMON_OFFSET = 4
    RANK_DEFICIENT = 5
    UNREADABLE = 6
    AMBIGUOUS = 7
    MASKED = 8

    @property
    def title(self) -> str:
        """As reports write it.

        >>> Status.CLASS_MEAN.title
        'class mean'
        """
        return self.name.lower().replace("_", " ")


class Certificate(NamedTuple):
    """What vouches for a reconstruction: nothing in it needs the truth, the attacker computes it himself.

    Attributes:
      status: `Status` of each image.
      residual: the largest relative error of a tensor of the gradient computed anew from the images.
      consistency: of each image, how far the probabilities at it are from those that the solution rests on;
        0 where the attack has no such check.
    """

    status: Int[Array, " n"]
    residual: Float[Array, ""]
    consistency: Float[Array, " n"]


class Reconstruction(NamedTuple):
    """What an attack believes the client's batch to be.

    Attributes:
      x: images in [0, 1].
      y: class numbers, or label distributions where the attack optimised them.
      loss: the attacker's own score of this reconstruction (lower is better); never the truth's.
      evaluations: gradient evaluations of the victim model that the attack has spent.
      certificate: what vouches for it; None from attacks that cannot vouch, as those that search.
    """

    x: Float[Array, "n h w c"]
    y: Labels | SoftLabels
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]
    certificate: Certificate | None = None


class Stage(NamedTuple):
    """A dense layer or a square convolution of a plain sequence of layers.

    Attributes:
      path: of the layer inside `params["params"]`; its kernel tells which of the two it is.
      stride, padding: of the convolution, in both directions.
    """

    path: tuple[str, ...]
    stride: int = 1
    padding: int = 0


class Model(NamedTuple):
    """A classifier as two pure functions and the facts that an attacker may know of it.

    Attributes:
      init: `key -> params`.
      apply: `(params, x) -> logits`, x of shape (n, *shape), logits (n, classes).
      shape: (h, w, c) of one image.
      classes: the number of classes.
      head: path of the classifier's dense layer inside `params["params"]`. Label attacks find
        the layer by this declaration, never by its position in the tree.
      features: `(params, x) -> h`, the input of that layer, (n, width); None if the model does not say.
      chain: the paths of its dense layers from the input to the head, where it is nothing but these with
        `activation` between them (an MLP); empty otherwise.
      activation: the name of that function (`jleak.models.build.ACTIVATIONS`).
      stages: its convolutions, then its dense layers, from the input to the head, where it is nothing but
        these with `activation` between them; empty otherwise, and where `chain` says it.
      statistics: `(params, x) -> batch statistics`, mean and variance of x at every BatchNorm layer, shaped
        like `params["batch_stats"]`; None without BatchNorm.
      sends_statistics: whether clients send these along with their update.
    """

    init: Callable[[Key], Params]
    apply: Callable[[Params, Float[Array, "n h w c"]], Float[Array, "n classes"]]
    shape: tuple[int, int, int]
    classes: int
    head: tuple[str, ...]
    features: Callable[[Params, Float[Array, "n h w c"]], Float[Array, "n width"]] | None = None
    chain: tuple[tuple[str, ...], ...] = ()
    activation: str | None = None
    statistics: Callable[[Params, Float[Array, "n h w c"]], PyTree] | None = None
    sends_statistics: bool = False
    stages: tuple[Stage, ...] = ()


class Generator(NamedTuple):
    """A generator of images as pure functions: what an attacker takes images to look like.

    Attributes:
      init: `key -> params`.
      stages: each `(params, h, y) -> h`; one after the other they lead from latents, (n, latent), to images
        in [0, 1]. What lies between two of them are features that can be searched as well: an array, or a
        dict of arrays, `x` being the image so far and the others what steers the stages that follow.
      latent: entries of z; images are likely where z ~ N(0, I).
      shape: (h, w, c) of one image.
      classes: of how many classes it draws images on demand; 0 for one that ignores y.
      statistics: `(params, z, y) -> batch statistics`, mean and variance at every BatchNorm layer, shaped
        like `params["batch_stats"]`; None without BatchNorm.
    """

    init: Callable[[Key], Params]
    stages: tuple[Callable[[Params, PyTree[Array], Labels | SoftLabels | None], PyTree[Array]], ...]
    latent: int
    shape: tuple[int, int, int]
    classes: int = 0
    statistics: Callable[[Params, Float[Array, "n latent"], Labels | SoftLabels | None], PyTree] | None = None

    def apply(
        self, params: Params, z: Float[Array, "n latent"], y: Labels | SoftLabels | None = None
    ) -> Float[Array, "n h w c"]:
        """The images of these latents, and of these classes where it is conditional."""
        return self.after(0, params, z, y)

    def after(
        self, stage: int, params: Params, h: PyTree[Array], y: Labels | SoftLabels | None = None
    ) -> Float[Array, "n h w c"]:
        """The images of these features, which are what stage number `stage` takes."""
        for one in self.stages[stage:]:
            h = one(params, h, y)
        return h


Loss = Callable[[Float[Array, "n classes"], Labels | SoftLabels], Float[Array, ""]]
Client = Callable[[Key, Params, Batch], Params]
Defense = Callable[[Client], Client]
Attack = Callable[[Key, View], Reconstruction]
Metric = Callable[[Float[Array, "n h w c"], Float[Array, "n h w c"]], Float[Array, " n"]]
Distance = Callable[[Params, Params], Float[Array, ""]]


@dataclass(frozen=True, kw_only=True)
class Threat:
    """What the attacker knows that is not an array.

    Attributes:
      client: the client it believes in: plain (naive), or defended (adaptive attacker).
      model: the model under attack, as the server sent it.
      batch: how many images the client holds in all.
      loss: the client's loss; None where the attacker is not told (label attacks take it for cross entropy).
      local_steps: gradient steps behind the update (FedAvg), which is the sum of their gradients.
      epochs: how often these steps pass over the batch.
      lr: the client's learning rate in these steps.
    """

    client: Client
    model: Model
    batch: int = 1
    loss: Loss | None = None
    local_steps: int = 1
    epochs: int = 1
    lr: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, c) of the batch to recover."""
        return (self.batch, *self.model.shape)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.model.classes

    @property
    def mini_batch(self) -> float:
        """Images of a local step; no whole number where the batch size is not the client's."""
        return self.batch * self.epochs / self.local_steps


@dataclass(frozen=True)
class LabelAttack:
    """A label attack: from a view to the counts of the labels behind it.

    In two stages, because what can be learnt without the update (from the model, from public data) is the
    same for every victim: calibrate once, infer thousands of times. Calling it does both.

    Attributes:
      infer: `(key, view, known) -> counts`; of the update it reads the classifier's layer alone, unless
        the threat has local steps.
      calibrate: `view -> known`; reads the view's parameters and prior, never its update.
    """

    infer: Callable[[Key, View, PyTree], Counts]
    calibrate: Callable[[View], PyTree] = lambda view: None

    def __call__(self, key: Key, view: View) -> Counts:
        return self.infer(key, view, self.calibrate(view))
