"""Every generator by its name."""

from collections.abc import Callable

from jleak.priors.biggan import biggan_deep
from jleak.priors.dcgan import dcgan
from jleak.priors.perceptron import mlp_gan, vae_decoder
from jleak.priors.stylegan2 import stylegan2
from jleak.priors.upsampling import upsampling_gan
from jleak.types import Generator

GENERATORS: dict[str, Callable[..., Generator]] = {
    "biggan_deep": biggan_deep,
    "dcgan": dcgan,
    "mlp_gan": mlp_gan,
    "stylegan2": stylegan2,
    "upsampling_gan": upsampling_gan,
    "vae_decoder": vae_decoder,
}
"""Name -> factory `(shape, classes=0, *, ...)`."""
