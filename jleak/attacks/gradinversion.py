"""GradInversion: BatchNorm statistics, and seeds that hold each other to what they agree on."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from jleak import distances, penalties, tree
from jleak.attacks.matching import mismatch
from jleak.check import number, whole
from jleak.labels import labels_first
from jleak.registration import group_mean
from jleak.search import Search, descend, optimizer, schedule
from jleak.spaces import pixels
from jleak.types import Batch, LabelAttack, Reconstruction, Threat


def gradinversion(
    threat: Threat,
    *,
    steps: int = 20_000,
    lr: float = 0.1,
    group: int = 4,
    match: float = 1.0,
    tv: float = 1e-4,
    l2: float = 1e-6,
    statistics: float = 0.1,
    consistency: float = 0.01,
    optim: str = "adam",
    noise: float = 0.2,
    warmup: int = 50,
    labels: str | LabelAttack = "yin",
) -> Search:
    """Squared l2 distance, image priors, BatchNorm statistics and group consistency, by Adam with noise.

    min over x^1 ... x^G in [0, 1] of the mean over g of

        match ||client(params, (x^g, y)) - update||^2 / ||update||^2 + tv TV(x^g) + l2 ||x^g||
        + statistics R_BN(x^g) + consistency ||x^g - E(x^1 ... x^G)||,

    E the mean of the group, each image registered on it. The group's image of the lowest own loss (without
    the group's term) is returned. Statistics are those of the batch where the client sends them, else the
    running averages of the model; without BatchNorm there is no such term.

    Source: Yin, Mallya, Vahdat, Alvarez, Kautz and Molchanov, "See through Gradients", CVPR 2021, equations 1
    to 12, with its weights of the priors and its schedule. Three things differ: its distance is not relative
    to the update and has no square (breaching's has, with weight 1e-4), so `match` is ours; its registration
    is RANSAC-flow (ours: sub-pixel translation); its groups have eight to ten seeds.

    Args:
      threat: what the attacker knows.
      steps: optimiser steps; each is `group` gradient evaluations of the victim model.
      lr: highest learning rate.
      group: seeds of a group, searched together; 1 for none.
      match, tv, l2, statistics, consistency: the weights above.
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      noise: Langevin noise on the images, as a multiple of the learning rate.
      warmup: steps in which the learning rate rises, before it falls as a cosine.
      labels: the label step (`jleak.labels.label_step`), not "joint".

    Raises:
      InputError: steps or group < 1, lr not above 0, a weight below 0, unknown or joint labels.
    """
    whole("group", group)
    number("lr", lr, above=0)
    weights = {"match": match, "tv": tv, "l2": l2, "statistics": statistics, "consistency": consistency}
    for name, value in weights.items():
        number(name, value, least=0)
    space = pixels(threat.shape, mean=0.5, std=0.25, box=True)
    infer = labels_first("gradinversion", threat, labels)
    own = over_group(own_loss(threat, weights))

    def start(key, view):
        k_x, k_y = jax.random.split(key)
        x = jax.vmap(space.init)(jax.random.split(k_x, group))
        return x, infer(k_y, view) if view.labels is None else view.labels

    search = descend(
        lambda key, x, y, view: jnp.mean(own(key, x, y, view) + consistency * disagreement(x)),
        start,
        lambda x, y, view: (x[0], y),
        optimizer=optimizer(optim, schedule("cosine", lr, steps, warmup=warmup), noise=noise),
        steps=steps,
        cost=group * threat.local_steps,
        project=space.project,
    )
    return search if group == 1 else replace(search, read=best_member(own, group * threat.local_steps))


def over_group(loss):
    """`loss(key, x, y, view)` of every member."""
    return jax.vmap(loss, (None, 0, None, None))


def disagreement(x: jax.Array) -> jax.Array:
    """How far every member is from what the group agrees on; nothing pulls where there is one alone."""
    center = group_mean(lax.stop_gradient(x)) if len(x) > 1 else lax.stop_gradient(x[0])
    return jax.vmap(penalties.group_consistency, (0, None))(x, center)


def best_member(own, cost: int):
    """`(state, view) -> Reconstruction`: the member of the lowest own loss, at the price of a step more."""

    def read(state, view):
        losses = own(jax.random.key(0), state.best, state.fixed, view)  # any key, the same for all
        winner = jnp.argmin(jnp.where(jnp.isfinite(losses), losses, jnp.inf))
        return Reconstruction(state.best[winner], state.fixed, losses[winner], state.evaluations + cost)

    return read


def own_loss(threat: Threat, weights: dict[str, float]):
    """`(key, x, y, view) -> loss` of one member, without the group's term."""
    apart = mismatch(threat, distances.l2)
    layers = None if threat.model.statistics is None else penalties.batch_statistics(threat.model)

    def loss(key, x, y, view):
        length = tree.dot(view.update, view.update)
        scale = weights["match"] / jnp.where(length > 0, length, 1.0)
        value = scale * apart(key, view.params, Batch(x, y), view.update)
        value += weights["tv"] * penalties.total_variation(x) + weights["l2"] * penalties.l2_norm(x)
        if layers is not None:
            wanted = view.params["batch_stats"] if view.statistics is None else view.statistics
            value += weights["statistics"] * layers(view.params, x, wanted)
        return value

    return loss
