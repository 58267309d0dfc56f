"""What an attacker takes images to look like: generators, and their trained weights."""

from jleak.priors.biggan import biggan_deep
from jleak.priors.build import generator
from jleak.priors.dcgan import dcgan
from jleak.priors.fit import fitting
from jleak.priors.generators import GENERATORS
from jleak.priors.load import Prior, bundled, card, fingerprint, load, loaders, save
from jleak.priors.perceptron import mlp_gan, vae_decoder
from jleak.priors.stylegan2 import stylegan2
from jleak.priors.upsampling import upsampling_gan

PRIORS = loaders()
"""Name -> a function that loads the bundled prior."""

__all__ = [
    "GENERATORS",
    "PRIORS",
    "Prior",
    "biggan_deep",
    "bundled",
    "card",
    "dcgan",
    "fingerprint",
    "fitting",
    "generator",
    "load",
    "mlp_gan",
    "save",
    "stylegan2",
    "upsampling_gan",
    "vae_decoder",
]
