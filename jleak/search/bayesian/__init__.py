"""Bayesian optimisation with trust regions."""

from jleak.search.bayesian.turbo import turbo, turboing

__all__ = ["turbo", "turboing"]
