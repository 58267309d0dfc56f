"""The formats that are known, and by which arrays each is recognised."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jleak.check import InputError
from jleak.priors.prior import Prior
from jleak.priors.published.biggan import biggan
from jleak.priors.published.mnist import conditional, perceptron, vae
from jleak.priors.published.plan import Arrays
from jleak.priors.published.stylegan2 import stylegan2


class Format(NamedTuple):
    """A kind of published weights.

    Attributes:
      read: from the arrays to a prior.
      marks: a file is of this kind if it holds all of these.
    """

    read: Callable[[Arrays], Prior]
    marks: tuple[str, ...]


FORMATS = {
    "BigGAN-deep of pytorch_pretrained_biggan": Format(biggan, ("embeddings.weight", "generator.bn.bias")),
    "StyleGAN2 of rosinality/stylegan2-pytorch (g_ema)": Format(stylegan2, ("g_ema.input.input",)),
    "StyleGAN2 of rosinality/stylegan2-pytorch": Format(stylegan2, ("input.input", "conv1.conv.weight")),
    "MLP GAN of csinva/gan-vae-pretrained-pytorch": Format(perceptron, ("0.weight", "2.weight")),
    "VAE decoder of csinva/gan-vae-pretrained-pytorch": Format(vae, ("fc3.weight", "fc4.weight")),
    "conditional WGAN-GP of HayatoHongo/MNIST-Conditional-WGAN-gp": Format(
        conditional, ("l1.0.weight", "label_emb.weight")
    ),
}
"""By title, which the card gives as the source."""


def published(arrays: Arrays, path: Path) -> Prior:
    """The prior in published arrays; `path`, where they were read, is for messages and the card.

    Raises:
      InputError: no format that is known, or arrays that are missing, too many, or of another shape.

    >>> import numpy as np
    >>> z, h = np.ones((3, 2)), np.ones((4, 3))
    >>> arrays = {"fc3.weight": z, "fc3.bias": z[:, 0], "fc4.weight": h, "fc4.bias": h[:, 0]}
    >>> prior = published(arrays, Path("a.npz"))
    >>> prior.generator.shape, prior.generator.latent, prior.card["file"]
    ((2, 2, 1), 2, 'a.npz')
    """
    for title, known in FORMATS.items():
        if all(mark in arrays for mark in known.marks):
            try:
                prior = known.read(arrays)
            except InputError as error:
                raise InputError(
                    f"{path}, taken for {title}, does not fit: {error}; take the original file"
                ) from None
            return prior._replace(card=prior.card | {"source": title, "file": path.name})
    some = ", ".join(sorted(arrays)[:4]) or "nothing"
    raise InputError(
        f"{path} holds no generator that is known (it has: {some}); known are {', '.join(FORMATS)}, and what "
        "`jleak train-prior` writes"
    )
