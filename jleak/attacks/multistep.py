"""Data leakage in federated averaging: the client's local steps unrolled."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jleak import distances, penalties
from jleak.check import InputError, number
from jleak.clients import FedSGD
from jleak.labels import labels_first
from jleak.losses import cross_entropy
from jleak.search import Search, descend, optimizer, schedule
from jleak.spaces import pixels
from jleak.types import Batch, Key, LabelAttack, Labels, Params, Threat


def multistep(
    threat: Threat,
    *,
    steps: int = 4800,
    lr: float = 0.1,
    tv: float = 1e-4,
    order: float = 1.0,
    optim: str = "adam",
    signed: bool = True,
    decay: str = "step_decay",
    labels: str | LabelAttack = "demix",
) -> Search:
    """Every epoch's batches as images of their own, held together by a prior that ignores their order.

    min over x^1 ... x^E in [0, 1] of  1 - cos(sum of the gradients of the simulated local steps, update)
    + tv * TV(x) + order * R(x^1 ... x^E).

    The client shuffles its images in every epoch, so each epoch has its own dummy batch, whose images the
    simulation goes through in order; R makes the epochs' mean images equal. At the end the epochs' images are
    matched one to one with those of the first epoch, and averaged. With one epoch R is 0.

    Source: Dimitrov, Balunovic, Konstantinov and Vechev, "Data Leakage in Federated Averaging", TMLR 2022:
    simulation, prior and matching; distance, box and optimiser as Geiping et al.
    2020, whose own FedAvg attack is the case of one epoch. The weight is ours: a cosine is not a squared
    distance. The update does not tell which labels were in one mini-batch, so every run deals them anew: with
    `restarts`, the attacker's own loss chooses.

    Args:
      threat: what the attacker knows: its local_steps, epochs and lr are those of the client.
      steps: optimiser steps; each is `threat.local_steps` gradient evaluations of the victim model.
      lr, tv, optim, signed, decay: as `inverting`.
      order: weight of the prior over the epochs.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: steps < 1, lr not above 0, a weight below 0; a batch that the local steps do not divide;
        joint labels.
    """
    number("lr", lr, above=0)
    number("tv", tv, least=0)
    number("order", order, least=0)
    infer = labels_first("multistep", threat, labels)
    epochs, shape = threat.epochs, threat.shape
    space = pixels((epochs * shape[0], *shape[1:]), mean=0.5, std=0.25, box=True)
    simulate = simulation(threat)

    def start(key, view):
        k_x, k_y, k_deal = jax.random.split(key, 3)
        y = infer(k_y, view) if view.labels is None else view.labels
        return space.init(k_x).reshape(epochs, *shape), (y, deal(k_deal, epochs, shape[0]))

    def objective(key, x, fixed, view):
        del key  # the order of the mini-batches is in the deal
        apart = distances.cosine(simulate(view.params, x, *fixed), view.update)
        prior = order * penalties.epoch_consistency(x) if epochs > 1 else 0.0
        return apart + tv * penalties.total_variation(x.reshape(-1, *shape[1:])) + prior

    return descend(
        objective,
        start,
        lambda x, fixed, view: (merged(x, fixed[0]), fixed[0]),
        optimizer=optimizer(optim, schedule(decay, lr, steps), sign="hard" if signed else "none"),
        steps=steps,
        cost=threat.local_steps,
        project=space.project,
    )


def deal(key: Key, epochs: int, n: int) -> jax.Array:
    """An order of the images for every epoch: (epochs, n)."""
    return jax.vmap(lambda k: jax.random.permutation(k, n))(jax.random.split(key, epochs))


def simulation(threat: Threat):
    """`(params, x, y, deal) -> update` of local steps: row e of `deal` orders the images of epoch e."""
    per_epoch, rest = divmod(threat.local_steps, threat.epochs)
    if rest or threat.batch % per_epoch:
        raise InputError(
            f"local steps must be whole epochs and divide the batch, got local_steps={threat.local_steps}, "
            f"epochs={threat.epochs}, batch={threat.batch}; give those of the client"
        )
    gradient = FedSGD(threat.model, threat.loss or cross_entropy)

    def simulate(params: Params, x: jax.Array, y: Labels, deal: jax.Array) -> Params:
        def step(weights, mini):
            g = gradient(None, {**params, "params": weights}, mini)
            return jax.tree.map(lambda w, u: w - threat.lr * u, weights, g), g

        order = deal.reshape(threat.local_steps, -1)
        epoch = jnp.arange(threat.local_steps)[:, None] // per_epoch
        batches = Batch(x[epoch, order], y[order])
        _, gradients = lax.scan(jax.checkpoint(step), params["params"], batches)
        return jax.tree.map(lambda g: g.sum(0), gradients)

    return simulate


def merged(x: jax.Array, y: Labels) -> jax.Array:
    """Mean over the epochs, each matched one to one with the first, images of one label among themselves."""

    def matched(images):
        cost = jnp.mean(jnp.square(x[0][:, None] - images), axis=(2, 3, 4))
        cost = cost + jnp.where(y[:, None] == y, 0.0, 1e3)
        rows, columns = optax.assignment.hungarian_algorithm(cost)
        return jnp.zeros_like(images).at[rows].set(images[columns])

    return x[0] if len(x) == 1 else jax.vmap(matched)(x).mean(0)
