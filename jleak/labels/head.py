"""The classifier layer of an update, found by the model's own declaration."""

from jaxtyping import Array, Float

from jleak.types import Model, Params


def head(model: Model, update: Params) -> Params:
    """The subtree of `update` that belongs to the model's classifier.

    >>> from jleak.models import mlp
    >>> import jax
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> sorted(head(model, model.init(jax.random.key(0))["params"]))
    ['bias', 'kernel']
    """
    for name in model.head:
        update = update[name]
    return update


def head_kernel(model: Model, update: Params) -> Float[Array, "features classes"]:
    """The classifier's weight gradient, one column a class.

    >>> from jleak.models import mlp
    >>> import jax
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> head_kernel(model, model.init(jax.random.key(0))["params"]).shape
    (4, 3)
    """
    return head(model, update)["kernel"]
