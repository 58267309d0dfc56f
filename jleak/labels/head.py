"""The classifier's layer of an update, found by the model's own declaration, and what it tells at once.

For softmax cross entropy, the mean over B images, logits W h + b::

    dW_c = (1/B) sum_i (p_ic - [y_i = c]) h_i        db_c = (1/B) sum_i p_ic - [y_i = c]

so sum_c dW_c = 0, sum_c db_c = 0, and the count of class c is B (mean_i p_ic - db_c), exactly. Every label
attack rests on it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

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

    >>> from jleak.models import mlp
    >>> import jax
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> head(model, model.init(jax.random.key(0))["params"]).kernel.shape
    (3, 4)
    """
    for name in model.head:
        tree = tree[name]
    return Head(tree["kernel"].T, tree.get("bias"))


def row_sums(update: Head) -> Float[Array, " classes"]:
    """g_c = sum_j dW_cj: what iDLG and LLG look at.

    >>> row_sums(Head(jnp.array([[1.0, 2.0], [-1.0, 0.0]]), None)).tolist()
    [3.0, -1.0]
    """
    return update.kernel.sum(1)


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
