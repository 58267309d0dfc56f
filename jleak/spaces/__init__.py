"""Where a search looks for images. One space a file."""

from jleak.spaces.latent import latent
from jleak.spaces.layers import layers
from jleak.spaces.pixels import STARTS, pixels
from jleak.spaces.space import Space
from jleak.spaces.weights import weights

__all__ = ["STARTS", "Space", "latent", "layers", "pixels", "weights"]
