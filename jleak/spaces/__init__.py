"""Where a search looks for images. One space a file."""

from jleak.spaces.latent import latent
from jleak.spaces.pixels import STARTS, pixels
from jleak.spaces.space import Space

__all__ = ["STARTS", "Space", "latent", "pixels"]
