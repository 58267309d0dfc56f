"""What the client minimises: (logits, labels) -> scalar, differentiable twice.

Every loss takes hard labels (n,) or soft ones (n, classes) and is the *mean* over the batch, so that
an update's scale does not grow with the batch.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.types import Labels, SoftLabels


def cross_entropy(logits: Float[Array, "n classes"], y: Labels | SoftLabels) -> Float[Array, ""]:
    """Softmax cross entropy, in nats.

    mean_i -sum_c y_ic log softmax(z_i)_c (Goodfellow, Bengio & Courville, Deep Learning, MIT Press
    2016, section 6.2.2.3). Differentiable in soft labels too, as DLG wants it.

    Args:
      logits: z, (n, classes).
      y: hard labels (n,) or soft labels (n, classes).

    Raises:
      InputError: the shapes or the dtype of y do not fit (see `one_hot_or_soft`).

    >>> print(f"{cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])):.4f}")  # log 4
    1.3863
    """
    return jnp.mean(optax.softmax_cross_entropy(logits, _targets(logits, y)))


def mse(logits: Float[Array, "n classes"], y: Labels | SoftLabels) -> Float[Array, ""]:
    """Squared error between the logits and the labels' distributions.

    mean_i (1 / classes) sum_c (z_ic - y_ic)^2: the mean over the classes, not their sum. That is the
    square loss of Hui & Belkin, Evaluation of Neural Architectures Trained with Square Loss vs
    Cross-Entropy in Classification Tasks, ICLR 2021 (without their rescaling, k = M = 1), and
    `torch.nn.MSELoss`. The output is linear: no softmax or sigmoid is applied.

    Args:
      logits: z, (n, classes).
      y: hard labels (n,) or soft labels (n, classes).

    Raises:
      InputError: the shapes or the dtype of y do not fit (see `one_hot_or_soft`).

    >>> print(mse(jnp.array([[1.0, 0.0, 0.0, 2.0]]), jnp.array([0])))
    1.0
    """
    return jnp.mean(jnp.square(logits - _targets(logits, y)))


def sigmoid_mse(logits: Float[Array, "n classes"], y: Labels | SoftLabels) -> Float[Array, ""]:
    """Squared error between one sigmoid a class and the labels' distributions.

    mean_i (1 / classes) sum_c (s(z_ic) - y_ic)^2, s the logistic function: the mean over the classes. At z
    near 0 every class's residual is about as large as the target's, which mixes the images of a batch in
    the classifier's gradient (`jleak.leakage.mixing`).

    Args:
      logits: z, (n, classes).
      y: hard labels (n,) or soft labels (n, classes).

    Raises:
      InputError: the shapes or the dtype of y do not fit (see `one_hot_or_soft`).

    >>> print(sigmoid_mse(jnp.zeros((2, 4)), jnp.array([0, 3])))
    0.25
    """
    return jnp.mean(jnp.square(jax.nn.sigmoid(logits) - _targets(logits, y)))


def bce(logits: Float[Array, "n classes"], y: Labels | SoftLabels) -> Float[Array, ""]:
    """Binary cross entropy of one sigmoid a class, in nats.

    mean_i (1 / classes) sum_c -y_ic log s(z_ic) - (1 - y_ic) log s(-z_ic), s the logistic function
    (Goodfellow, Bengio & Courville 2016, section 6.2.2.2): the mean over the classes, not their sum,
    as in `mse` and `torch.nn.BCEWithLogitsLoss`.

    Args:
      logits: z, (n, classes).
      y: hard labels (n,) or soft labels (n, classes).

    Raises:
      InputError: the shapes or the dtype of y do not fit (see `one_hot_or_soft`).

    >>> print(f"{bce(jnp.zeros((2, 4)), jnp.array([0, 3])):.4f}")  # log 2
    0.6931
    """
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, _targets(logits, y)))


def one_hot_or_soft(y: Labels | SoftLabels, classes: int) -> SoftLabels:
    """Labels as distributions: hard ones become one-hot rows, soft ones pass unchanged.

    A hard label outside of 0 ... classes - 1 gives a row of NaN: a wrong label is seen in the loss in
    place of counting as zero.

    Args:
      y: hard labels (n,), of an integer type, or soft labels (n, classes), of a float type.
      classes: the number of classes.

    Raises:
      InputError: y is neither.

    >>> print(one_hot_or_soft(jnp.array([1, 0]), 3))
    [[0. 1. 0.]
     [1. 0. 0.]]
    >>> one_hot_or_soft(jnp.array([1.0, 0.0]), 3)
    Traceback (most recent call last):
    jleak.check.InputError: y must be int (n,) or float (n, 3), got float32 (2,); cast hard labels to int
    """
    y = jnp.asarray(y)
    if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1:
        known = (y >= 0) & (y < classes)
        return jnp.where(known[:, None], jax.nn.one_hot(y, classes), jnp.nan)
    if jnp.issubdtype(y.dtype, jnp.floating) and y.ndim == 2 and y.shape[1] == classes:
        return y
    raise InputError(
        f"y must be int (n,) or float (n, {classes}), got {y.dtype} {y.shape}; "
        "cast hard labels to int" + (" and soft labels to float" if y.ndim == 2 else "")
    )


def _targets(logits: Float[Array, "n classes"], y: Labels | SoftLabels) -> SoftLabels:
    """One distribution for each row of the logits, in their dtype."""
    if jnp.ndim(logits) != 2:
        raise InputError(f"logits must be (n, classes), got {jnp.shape(logits)}; flatten other axes into n")
    targets = one_hot_or_soft(y, logits.shape[1])
    if len(targets) != len(logits):
        raise InputError(
            f"y must have one label for each of the {len(logits)} rows of logits, got {len(targets)}; "
            "give the labels of the same batch"
        )
    return targets.astype(logits.dtype)
