"""Where a search looks for images. One space a file."""

from jleak.spaces.latent import generator_of, latent
from jleak.spaces.pixels import STARTS, pixels
from jleak.spaces.space import Space

__all__ = ["STARTS", "Space", "generator_of", "latent", "pixels"]
