"""Generators that others have published: recognised by the names of their arrays, put into our layout."""

from jleak.priors.published.formats import FORMATS, published

__all__ = ["FORMATS", "published"]
