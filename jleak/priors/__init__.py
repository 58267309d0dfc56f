"""What an attacker takes images to look like: generators, and their trained weights."""

from jleak.priors.build import generator
from jleak.priors.dcgan import dcgan
from jleak.priors.fit import fitting
from jleak.priors.generators import GENERATORS
from jleak.priors.load import Prior, bundled, card, fingerprint, load, save
from jleak.priors.perceptron import mlp_gan, vae_decoder

__all__ = [
    "GENERATORS",
    "Prior",
    "bundled",
    "card",
    "dcgan",
    "fingerprint",
    "fitting",
    "generator",
    "load",
    "mlp_gan",
    "save",
    "vae_decoder",
]
