"""Gradient matching: the common core of the optimisation attacks.

An attack of this family is a point in space x distance x penalty x optimiser x label step; the recipes
beside this file are such points, with their papers' defaults.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jleak import distances
from jleak.check import InputError
from jleak.clients import FedSGD
from jleak.labels.step import LabelStep
from jleak.models.taps import Products, pays, products
from jleak.search import Engine, Search
from jleak.spaces import Space
from jleak.tree import safe_sqrt, stream
from jleak.types import Batch, Distance, Key, Labels, Params, SoftLabels, Threat, View

Prior = Callable[[jax.Array, Labels | SoftLabels, View, PyTree], jax.Array]
"""`(x, y, view, known) -> scalar`: what the attacker believes of images and labels, given all that it holds.

`known` is what it has worked out of the view before the search; None where nothing.
"""


def cosine_of(found: Products) -> jax.Array:
    """`distances.cosine` of two updates' products; its digits near 0 are those of float32 beside 1."""
    lengths = safe_sqrt(found.a * found.b)
    return 1.0 - found.dot / jnp.where(lengths > 0, lengths, 1.0)


def l2_of(found: Products) -> jax.Array:
    """`distances.l2` of two updates' products; near 0 a rounding of float32 beside their squared lengths."""
    return found.a - 2 * found.dot + found.b


OF_PRODUCTS: dict[Distance, Callable[[Products, Params], jax.Array]] = {
    distances.cosine: lambda found, update: cosine_of(found),
    distances.l2: lambda found, update: l2_of(found),
    distances.mean_l2: lambda found, update: l2_of(found) / len(jax.tree.leaves(update)),
}
"""Distances that inner products of the updates determine."""


def matching(
    threat: Threat,
    *,
    space: Space,
    distance: Distance,
    engine: Engine,
    steps: int,
    penalty: Prior = lambda x, y, view, known: jnp.zeros(()),
    known: Callable[[Key, View, Labels], PyTree] | None = None,
    labels: LabelStep | None = None,
) -> Search:
    """Finds images whose update, through the client that the attacker believes in, matches the observed one.

    min over points of the space (and y) of  distance(client(params, (x, y)), view.update)
    + penalty(x, y, view, known) + space.penalty(point),  with x = space.decode(point, view.prior, y).

    Labels come from the view where the threat grants them, else from `labels`, else (`labels=None`) soft
    labels are optimised along with the images (Zhu et al., NeurIPS 2019). `known(key, view, y)` is worked out
    once, before the search.

    >>> from jleak.clients import fedsgd
    >>> from jleak.distances import l2
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> from jleak.search import descending, optimizer
    >>> from jleak.spaces import pixels
    >>> from jleak.types import View
    >>> model = mlp((2, 2, 1), 3, hidden=8)
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(0))
    >>> batch = Batch(jnp.full((1, 2, 2, 1), 0.25), jnp.array([2]))
    >>> view = View(params, client(jax.random.key(1), params, batch), labels=batch.y)
    >>> attack = matching(Threat(client=client, model=model), distance=l2, steps=200,
    ...                   engine=descending(optimizer("adam", 0.1)),
    ...                   space=pixels((1, 2, 2, 1), mean=0.5, std=0.1, box=False))
    >>> bool(jnp.allclose(attack(jax.random.key(2), view).x, 0.25, atol=0.02))
    True
    """

    def start(key, view):
        k_x, k_y = jax.random.split(key)
        x = space.init(k_x, view.prior)
        if view.labels is None and labels is None:
            if known is not None:
                raise InputError(
                    "labels that are optimised along tell of no image what the update says of it; grant them "
                    "(known_labels), or name a label attack (labels=demix)"
                )
            return {"x": x, "y": jax.random.normal(k_y, (threat.batch, threat.classes))}, {}
        y = labels(k_y, view) if view.labels is None else view.labels
        return {"x": x}, {"y": y, "known": known and known(stream(key, "known"), view, y)}

    def decode(point, fixed, view):
        y = fixed["y"] if "y" in fixed else jax.nn.softmax(point["y"])
        return space.decode(point["x"], view.prior, y), y

    apart = mismatch(threat, distance)

    def objective(key, point, fixed, view):
        x, y = decode(point, fixed, view)
        loss = apart(key, view.params, Batch(x, y), view.update) + penalty(x, y, view, fixed.get("known"))
        return loss + space.penalty(point["x"])

    def project(point):
        return {**point, "x": space.project(point["x"])}

    return engine(objective, start, decode, steps=steps, cost=threat.local_steps, project=project)


def mismatch(threat: Threat, distance: Distance) -> Callable[[Key, Params, Batch, Params], jax.Array]:
    """`(key, params, batch, update) -> distance` of the believed client's update on `batch` from `update`.

    For a plain client with a large model it comes from inner products alone, so that no candidate needs a
    gradient of its own (`jleak.models.taps`).
    """
    client = threat.client
    if isinstance(client, FedSGD) and distance in OF_PRODUCTS and pays(client.model, threat.batch):

        def apart(key, params, batch, update):
            del key  # a plain client draws nothing
            found = products(client.model, client.loss, params, batch, update)
            return OF_PRODUCTS[distance](found, update)

    else:

        def apart(key, params, batch, update):
            return distance(client(key, params, batch), update)

    return apart
