"""How many of a batch's labels were found."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.types import Labels, SoftLabels


def label_success(predicted: Labels | SoftLabels, true: Labels | SoftLabels) -> Float[Array, ""]:
    """Share of the labels recovered, order aside: |multiset intersection| / n, in [0, 1].

    The attack success rate of Wainakh et al., User-Level Label Leakage from Gradients in Federated
    Learning (LLG), PoPETs 2022: sum over classes c of min(#c in predicted, #c in true), over n. An
    update does not say which image had which label, so the order does not count; nor does a
    prediction that is no class (negative, or a soft label with a NaN).

    Args:
      predicted: n labels, hard or soft (their largest entry counts).
      true: n labels, hard or soft.

    Raises:
      InputError: not labels, or two different numbers of them.

    >>> print(label_success(jnp.array([3, 3, 1, 0]), jnp.array([1, 3, 2, 2])))
    0.5
    """
    predicted, true = hard(predicted), hard(true)
    if predicted.shape != true.shape or not predicted.size:
        raise InputError(
            f"predicted and true must hold the same number of labels, at least one, got {predicted.size} "
            f"and {true.size}; give the labels of one batch"
        )
    twins = jnp.tril(predicted[:, None] == predicted)  # the i-th prediction is the nth of its class
    wanted = jnp.sum(predicted[:, None] == true, axis=1)
    return jnp.mean((jnp.sum(twins, axis=1) <= wanted) & (predicted >= 0))


def hard(y: Labels | SoftLabels) -> Labels:
    """Hard labels: integers pass unchanged, a distribution becomes its likeliest class.

    A row that holds a NaN gives -1, which is no class, so that a diverged attack scores no label.

    Args:
      y: hard labels (n,), of an integer type, or soft labels (n, classes), of a float type.

    Raises:
      InputError: y is neither.

    >>> print(hard(jnp.array([[0.1, 0.9], [0.7, 0.3], [jnp.nan, 0.0]])))
    [ 1  0 -1]
    """
    y = jnp.asarray(y)
    if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1:
        return y
    if jnp.issubdtype(y.dtype, jnp.floating) and y.ndim == 2:
        return jnp.where(jnp.any(jnp.isnan(y), axis=1), -1, jnp.argmax(y, axis=1))
    raise InputError(
        f"labels must be int (n,) or float (n, classes), got {y.dtype} {y.shape}; "
        "cast hard labels to int" + (" and soft labels to float" if y.ndim == 2 else "")
    )
