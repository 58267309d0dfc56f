"""Every generator by its name."""

from collections.abc import Callable

from jleak.priors.dcgan import dcgan
from jleak.priors.perceptron import mlp_gan, vae_decoder
from jleak.types import Generator

GENERATORS: dict[str, Callable[..., Generator]] = {
    "dcgan": dcgan,
    "mlp_gan": mlp_gan,
    "vae_decoder": vae_decoder,
}
"""Name -> factory `(shape, classes=0, *, ...)`."""
