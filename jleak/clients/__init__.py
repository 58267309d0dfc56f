"""Clients, and the lifters that make defenses of plain functions.

A client is `(key, params, batch) -> update`: what leaves the device. A defense is `client -> client`, a
transformation as `jax.grad` is one.
"""

from jleak.clients.lifters import chain, from_optax, on_batch, on_example, on_update
from jleak.clients.telling import Telling, telling, told_model
from jleak.clients.training import CLIENTS, FedSGD, fedavg, fedsgd, fedsgd_dropout, secure_aggregation

__all__ = [
    "CLIENTS",
    "FedSGD",
    "Telling",
    "chain",
    "fedavg",
    "fedsgd",
    "fedsgd_dropout",
    "from_optax",
    "on_batch",
    "on_example",
    "on_update",
    "secure_aggregation",
    "telling",
    "told_model",
]
