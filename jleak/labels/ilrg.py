"""iLRG: counts from a linear system whose rows are the class embeddings' own probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError
from jleak.labels.counting import apportion
from jleak.labels.head import checked, head, logits, softmax_loss
from jleak.types import LabelAttack, Threat

LARGEST = 1e4
"""Entries of an embedding beyond this (a class whose db_c is almost 0) are cut off."""


def ilrg(threat: Threat) -> LabelAttack:
    """Label counts k from sum_c k_c = N and, for every class c, sum_j k_j p_jc - k_c = N db_c.

    p_j = softmax(W e_j + b), e_j = dW_j / db_j the embedding of class j. Least squares, rounded to the known
    sum.

    Source: Ma et al., "Instance-wise Batch Label Restoration via Gradients in Federated Learning", ICLR 2023
    (iLRG). The rounding is ours (`apportion`): its reference code repairs a short sum wrongly.

    Raises:
      InputError: the loss is not softmax cross entropy; at inference, a classifier without a bias.

    >>> from jleak.labels.example import example
    >>> threat, view = example([0, 2, 2, 2, 2])
    >>> ilrg(threat)(jax.random.key(0), view).tolist()
    [1, 0, 4]
    """
    softmax_loss(threat, "ilrg")
    total = threat.batch

    def infer(key, view, known):
        update, layer = checked(threat.model, view.update), head(threat.model, view.params["params"])
        if update.bias is None:
            raise InputError(
                "ilrg needs the gradient of the classifier's bias; use demix or llg_star without one"
            )
        db = update.bias / threat.local_steps
        dw = update.kernel / threat.local_steps
        safe = jnp.where(jnp.abs(db) > 1e-12, db, 1e-12)
        embeddings = jnp.clip(dw / safe[:, None], -LARGEST, LARGEST)
        p = jax.nn.softmax(logits(layer, embeddings))
        return apportion(solve(p, db * total, total), total)

    return LabelAttack(infer)


def solve(p: Float[Array, "n n"], db: Float[Array, " n"], total: int) -> Float[Array, " n"]:
    """k of least squares in [1; P^T - I] k = [total; db].

    Args:
      p: probabilities of class c for an image of class j, [j, c].
      db: bias gradient times the number of images.
      total: the number of images.

    >>> p = jnp.full((2, 2), 0.5)
    >>> [round(float(k), 4) for k in solve(p, 4 * jnp.array([0.25, -0.25]), 4)]
    [1.0, 3.0]
    """
    system = jnp.concatenate([jnp.ones((1, db.size)), p.T - jnp.eye(db.size)])
    wanted = jnp.concatenate([jnp.full(1, float(total)), db])
    normal = system.T @ system + 1e-9 * jnp.eye(db.size)
    return linalg.solve(normal, system.T @ wanted)
