"""LPIPS, for those who have its published weights: the networks, their weights, the distance."""

from jleak.metrics.lpips.distance import distance, lpips
from jleak.metrics.lpips.networks import NETWORKS
from jleak.metrics.lpips.weights import Weights, read

__all__ = ["NETWORKS", "Weights", "distance", "lpips", "read"]
