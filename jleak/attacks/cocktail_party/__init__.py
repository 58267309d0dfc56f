"""The cocktail party attack: the images behind a wide dense layer's gradient as independent components."""

from jleak.attacks.cocktail_party.attack import cocktail_party

__all__ = ["cocktail_party"]
