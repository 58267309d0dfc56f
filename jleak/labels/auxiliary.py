"""Auxiliary data: labelled images of the server's own, in `view.prior`."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.labels.dummies import response
from jleak.types import Batch, Threat, View


def auxiliary(threat: Threat, view: View) -> Batch:
    """The batch in `view.prior`, if it serves the model and has images of every class.

    Raises:
      InputError: there is none, its images or labels are of another shape; and, where the labels' values are
        known when this is traced: labels outside of the model's classes, or a class without images.

    >>> from jleak.models import mlp
    >>> threat, x = Threat(client=None, model=mlp((2, 2, 1), 3)), jnp.zeros((3, 2, 2, 1))
    >>> auxiliary(threat, View(None, None, prior=Batch(x, jnp.arange(3)))).y.tolist()
    [0, 1, 2]
    """
    if not isinstance(view.prior, Batch):
        raise InputError(
            "this attack needs auxiliary data: give View(prior=Batch(x, y)), images of every class"
        )
    x, y = view.prior
    if x.ndim != 4 or x.shape[1:] != threat.model.shape:
        raise InputError(
            f"auxiliary images must be of the model's shape {threat.model.shape} each, got {x.shape} in all; "
            "resize or convert them"
        )
    if y.shape != x.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise InputError(
            f"auxiliary labels must be {len(x)} class numbers, one an image, got {y.dtype} of shape "
            f"{y.shape}; of label distributions take the argmax"
        )
    if not isinstance(y, jax.core.Tracer):
        _every_class(set(np.asarray(y).tolist()), threat.classes)
    return view.prior


def _every_class(found: set[int], classes: int) -> None:
    strange = sorted(found - set(range(classes)))
    if strange:
        raise InputError(
            f"auxiliary labels must be in 0 ... {classes - 1}, got {strange}; drop those images, or make the "
            "model with more classes"
        )
    missing = sorted(set(range(classes)) - found)
    if missing:
        raise InputError(f"auxiliary data lack images of the classes {missing}; add some or use llg_star")


def by_class(threat: Threat, view: View) -> tuple[Float[Array, "classes classes"], Float[Array, " classes"]]:
    """Class means of p_j S and of S over the auxiliary images, S the sum of an image's features.

    A class without images, which only traced labels can hide, takes the mean of the classes that have some;
    labels outside of the classes are not looked at.

    Returns:
      E[p_j S | c], row c, and E[S | c].

    Raises:
      InputError: as `auxiliary`; a model without `features`.

    >>> from jleak.models import mlp
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> view = View(model.init(jax.random.key(0)), None, prior=Batch(jnp.ones((3, 2, 2, 1)), jnp.arange(3)))
    >>> own, s = by_class(Threat(client=None, model=model), view)
    >>> bool(jnp.allclose(own.sum(1), s))
    True
    """
    x, y = auxiliary(threat, view)
    seen = response(threat.model, view.params, x)
    s = seen.features.sum(1)
    member = jax.nn.one_hot(y, threat.classes)
    present = member.any(0)
    weights = (member / member.sum(0).clip(1)).T
    common = weights.sum(0) / present.sum().clip(1)
    weights = jnp.where(present[:, None], weights, common)
    return weights @ (seen.p * s[:, None]), weights @ s
