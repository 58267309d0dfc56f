"""Soteria: perturbing the representation that the classifier's gradient shows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jleak.check import InputError, number
from jleak.clients import telling, told_model
from jleak.defenses.kind import Kind
from jleak.labels.head import head
from jleak.tree import stream
from jleak.types import Client, Defense, Model, Params, View

EPS = 1e-10
"""What keeps the score of a feature that is 0 finite."""

TOGETHER = 32
"""So many features' derivatives are computed at once."""


def soteria(*, fraction: float = 0.8) -> Defense:
    """Removes from the classifier's gradient the features that tell most of the image.

    With r = r(x) the input of the classifier, a dense layer, feature f scores

        s_f = sum_i ||d r_f(x_i) / d x_i||_2 / (|r_f(x_i)| + 1e-10)

    over the batch; the `fraction` of smallest score (largest |r| / ||grad r||) is removed: the kernel's
    gradient is 0 in all weights of such a feature. The classifier's bias and all other layers stay. Source:
    Sun et al., "Soteria: Provable Defense against Privacy Leakage in Federated Learning from Representation
    Perspective", CVPR 2021, with the rule of GGL's code (Li et al., CVPR 2022): a feature stays where
    s_f >= the `fraction` quantile of s, so features of one score stay together, as dead ones do, whose score
    is 0. That code divides by r with its sign, which is the same behind a ReLU, and elsewhere removes
    negative features first; Soteria's own adds 0.1 in place of 1e-10.

    The scores are those of the client's batch under the parameters that the server sent, also where the
    client trains for several steps or another defense has changed the batch. An attacker who imitated it by
    `fraction` would score its own dummy images, and do worse than one who reads the mask off the update; so
    those who know all read it off too.

    It needs a client that tells its model, as those of jleak do, and a model that tells its `features`. The
    scores cost `width` derivatives of r.

    Args:
      fraction: share of the features to remove, 0 (no defense) to 1 (the highest score alone stays).

    Raises:
      InputError: fraction outside [0, 1] or NaN; applied to a client that does not tell its model, or whose
        model does not tell its features.

    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> from jleak.types import Batch
    >>> model = mlp((2, 2, 1), 3, hidden=10)
    >>> client = soteria(fraction=0.6)(fedsgd(model, cross_entropy))
    >>> batch = Batch(jnp.linspace(0, 1, 4).reshape(1, 2, 2, 1), jnp.array([0]))
    >>> update = client(jax.random.key(0), model.init(jax.random.key(0)), batch)
    >>> int((update["head"]["kernel"] == 0).all(1).sum())
    6
    """
    number("fraction", fraction, least=0, most=1, hint="it is the share removed: 0.8 keeps a fifth")

    def kept(model, params, x):
        s = scores(model, params, x)
        return s >= jnp.quantile(s, fraction, method="higher")

    return masking(kept)


def scores(model: Model, params: Params, x: Float[Array, "n h w c"]) -> Float[Array, " width"]:
    """s_f of every feature; not differentiated through, since the mask is constant nearly everywhere."""
    params, x = lax.stop_gradient((params, x))
    r, pull = jax.vjp(lambda x: model.features(params, x), x)

    def lengths(f):
        (slope,) = pull(jnp.zeros_like(r).at[:, f].set(1.0))
        return jnp.sqrt(jnp.sum(slope**2, axis=(1, 2, 3)))

    slopes = lax.map(lengths, jnp.arange(r.shape[1]), batch_size=TOGETHER)
    return jnp.sum(slopes / (jnp.abs(r).T + EPS), axis=1)


def masking(kept: Callable[[Model, Params, Array], Bool[Array, " width"]]) -> Defense:
    """The defense that keeps these features alone, `(model, params, x) -> which`, in the head's kernel."""

    def defense(client: Client) -> Client:
        model = told_model(client, "soteria")
        if model.features is None:
            raise InputError("soteria needs a model that tells its features; give its Model a `features`")

        def defended(key, params, batch):
            update = client(stream(key, "inner"), params, batch)
            head(model, update)
            keep = kept(model, params, batch.x)
            return at(update, (*model.head, "kernel"), lambda u: jnp.where(keep[:, None], u, 0))

        return telling(client, defended)

    return defense


def at(tree: Params, path: tuple[str, ...], fn: Callable[[Array], Array]) -> Params:
    """The tree with `fn` of the leaf at `path` in its place.

    >>> at({"a": {"b": 1, "c": 2}}, ("a", "b"), lambda leaf: -leaf)
    {'a': {'b': -1, 'c': 2}}
    """
    if not path:
        return fn(tree)
    return {**tree, path[0]: at(tree[path[0]], path[1:], fn)}


def adapt(view: View) -> Defense:
    """Keeps the features whose weights are not all zero in the observed update.

    The zeros show the mask. GGL's code reads it from the first class's row alone; here every row is read. A
    feature that is 0 on the client's batch is removed as well, which changes nothing on that batch. Where
    noise was added afterwards nothing is exactly 0, and nothing is removed.
    """
    return masking(lambda model, params, x: (head(model, view.update).kernel != 0).any(0))


def belief(view: View, *, fraction: float = 0.8) -> Defense:
    """As `adapt`: the update shows the mask itself, of which `fraction` tells only the size."""
    del fraction
    return adapt(view)


SOTERIA = Kind(soteria, adapt=adapt, belief=belief)
