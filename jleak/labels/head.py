"""The classifier's layer of an update, found by the model's own declaration, and what it tells at once.

For softmax cross entropy, the mean over B images, logits W h + b::

    dW_c = (1/B) sum_i (p_ic - [y_i = c]) h_i        db_c = (1/B) sum_i p_ic - [y_i = c]

so sum_c dW_c = 0, sum_c db_c = 0, and the count of class c is B (mean_i p_ic - db_c), exactly. Every label
attack rests on it.
"""

import functools
import math
import operator
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jleak.check import InputError
from jleak.losses import cross_entropy
from jleak.tree import norm
from jleak.types import Model, Params, Threat


class Head(NamedTuple):
    """A classifier's layer, one row a class.

    Attributes:
      kernel: (classes, width).
      bias: (classes,), or None.
    """

    kernel: Float[Array, "classes width"]
    bias: Float[Array, " classes"] | None


def head(model: Model, tree: Params) -> Head:
    """The classifier's layer in an update, or in `params["params"]`.

    Raises:
      InputError: the tree lacks that layer, or the layer is not one of the model's classes.

    >>> from jleak.models import mlp
    >>> import jax
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> head(model, model.init(jax.random.key(0))["params"]).kernel.shape
    (3, 4)
    """
    kernel, bias = _leaves(model, tree)
    return Head(kernel.T, bias)


def _leaves(model: Model, tree: Params) -> tuple[Array, Array | None]:
    """Kernel and bias as they lie in the tree."""
    path = "/".join(model.head)
    for name in (*model.head, "kernel"):
        if not isinstance(tree, Mapping) or name not in tree:
            found = ", ".join(map(str, tree)) if isinstance(tree, Mapping) else type(tree).__name__
            raise InputError(
                f"the model declares its classifier at {path!r}, but the update (or parameters) given has no "
                f"{name!r} there, only: {found}; give what belongs to this model, or correct Model.head"
            )
        last, tree = tree, tree[name]
    kernel, bias = last["kernel"], last.get("bias")
    shapes = [leaf.shape for leaf in (kernel, bias) if leaf is not None]
    wanted = (*kernel.shape[:1], model.classes), (model.classes,)
    if shapes not in ([wanted[0]], [*wanted]):
        raise InputError(
            f"the model declares {model.classes} classes: its classifier {path!r} is a kernel of shape "
            f"(width, {model.classes}), perhaps a bias; the update (or parameters) given has the shapes "
            f"{', '.join(map(str, shapes))}; make the model with so many classes, or vmap over stacked ones"
        )
    return kernel, bias


def checked(model: Model, update: Params) -> Head:
    """The classifier's layer in an update, if there is something to read in it.

    Traced values pass unchecked: there record `masked` and `finite` as a status.

    Raises:
      InputError: as `head`; the layer is all zeros or not finite.

    >>> from jleak.models import mlp
    >>> checked(mlp((2, 2, 1), 3), {"head": {"kernel": jnp.zeros((64, 3))}})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: the update of the classifier 'head' is all zeros: pruned away or withheld; ...
    """
    path, leaves = "/".join(model.head), Head(*_leaves(model, update))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(leaves)):
        return head(model, update)
    values = jax.tree.map(np.asarray, leaves)  # of NumPy, which computes while something else is traced
    if masked(values):
        raise InputError(
            f"the update of the classifier {path!r} is all zeros: pruned away or withheld; labels cannot be "
            "read from it; use labels=joint, or --known-labels"
        )
    if not finite(values):
        raise InputError(
            f"the update of the classifier {path!r} is not finite: the client diverged; labels cannot be "
            "read from it; lower its learning rate, or check its images and parameters"
        )
    return head(model, update)


def masked(update: Head) -> Bool[Array, ""]:
    """Whether the layer is all zeros: pruned away, or withheld. Counts read from it mean nothing.

    >>> bool(masked(Head(jnp.zeros((3, 4)), jnp.zeros(3)))), bool(masked(Head(jnp.eye(2), None)))
    (True, False)
    """
    return functools.reduce(operator.and_, [(leaf == 0).all() for leaf in jax.tree.leaves(update)])


def finite(update: Head) -> Bool[Array, ""]:
    """Whether no entry of the layer is infinite or NaN.

    >>> bool(finite(Head(jnp.eye(2), None))), bool(finite(Head(jnp.eye(2), jnp.array([0.0, jnp.nan]))))
    (True, False)
    """
    return functools.reduce(operator.and_, [(abs(leaf) < math.inf).all() for leaf in jax.tree.leaves(update)])


def row_sums(update: Head) -> Float[Array, " classes"]:
    """g_c = sum_j dW_cj: what iDLG and LLG look at.

    >>> row_sums(Head(jnp.array([[1.0, 2.0], [-1.0, 0.0]]), None)).tolist()
    [3.0, -1.0]
    """
    return update.kernel.sum(1)


def logits(layer: Head, features: Float[Array, "... width"]) -> Float[Array, "... classes"]:
    """What the layer makes of features: W h + b.

    >>> logits(Head(jnp.eye(2), jnp.array([0.0, 1.0])), jnp.array([[2.0, 3.0]])).tolist()
    [[2.0, 4.0]]
    """
    return features @ layer.kernel.T + (0.0 if layer.bias is None else layer.bias)


def imbalance(update: Head) -> Float[Array, ""]:
    """||sum_c (dW_c, db_c)|| / ||(dW, db)||: 0 for softmax cross entropy, whatever the batch.

    About 1 / sqrt(classes) or more tells of noise, pruning or another loss; label smoothing leaves it 0, and
    so does an update that is all zeros.

    >>> round(float(imbalance(Head(jnp.array([[1.0, 2.0], [-1.0, -2.0]]), None))), 6)
    0.0
    """
    total = Head(update.kernel.sum(0), None if update.bias is None else update.bias.sum(0))
    size = norm(update)
    return norm(total) / jnp.where(size > 0, size, 1.0)


def softmax_loss(threat: Threat, name: str) -> None:
    """Checks that the threat's loss has the structure above.

    Raises:
      InputError: it has another.
    """
    if threat.loss not in (None, cross_entropy):
        got = getattr(threat.loss, "__name__", threat.loss)
        raise InputError(
            f"{name} needs softmax cross entropy, got the loss {got!r}; use idlg (one image, cross_entropy "
            "or bce) or optimise the labels along with the image (labels=joint)"
        )
