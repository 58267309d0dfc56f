"""R-GAP: the image of one gradient, layer by layer from the head down, by linear algebra.

`rgap` is the attack, `ranks` counts what determines the input of every layer.
"""

from jleak.attacks.rgap.attack import rgap
from jleak.attacks.rgap.ranks import Rank, ranks

__all__ = ["Rank", "ranks", "rgap"]
