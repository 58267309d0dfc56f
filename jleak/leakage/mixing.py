"""How well a batch hides in the gradient of a dense layer: the conditioning of its residuals.

A dense layer that maps h_i to z_i, under a loss of mean over B images, has the gradient

    dW = R^T H,    db = R^T 1,    R_ic = d loss / d z_ic,    R of shape (B, width).

The inputs H come out of dW as well as R is conditioned: by softmax cross entropy on an untrained model almost
perfectly, since p_ic is about 1/n beside the target's 1 - 1/n; where residuals of all classes are alike
(sigmoid outputs) or the labels are (one class a batch), badly or not at all. After Eloul et al., "Mixing
Gradients in Neural Networks as a Strategy to Enhance Privacy in Federated Learning", WACV 2024, whose
equations could not be read: the measures here are jleak's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError
from jleak.metrics import hard
from jleak.types import Batch, Loss, Model, Params


class Mixing(NamedTuple):
    """How a layer's gradient mixes the images of a batch.

    Attributes:
      residuals: R.
      singular: its singular values, falling.
      condition: largest over least of them; infinite where R has not full row rank. Noise in the gradient
        reaches some combination of the images multiplied by it.
      rank: effective rank, exp of the entropy of the normalised singular values (Roy and Vetterli, EUSIPCO
        2007): between 1 (one mixture) and B (every image apart).
      mu: the mixing coefficient of every image: in the row of dW that shows it best, the weight of all
        others over its own, sum_{i != j} |R_ic| / |R_jc|. In the classifier that is the row of its label;
        elsewhere the row of least mu. 0: alone in that row; B - 1: as strong as any other.
    """

    residuals: Float[Array, "n width"]
    singular: Float[Array, " k"]
    condition: Float[Array, ""]
    rank: Float[Array, ""]
    mu: Float[Array, " n"]


def mixing(
    model: Model, loss: Loss, params: Params, batch: Batch, *, layer: tuple[str, ...] | None = None
) -> Mixing:
    """The mixing of a batch in a dense layer, from what the client knows before it shares.

    One number for a report: `mu.mean()`. High mu and condition protect from recovery without optimisation;
    they promise nothing against other attacks.

    Args:
      model, loss: the client's; the loss a mean over images.
      params: the variables that the server sent.
      batch: the client's images and labels, hard or soft (their largest entry counts).
      layer: the path of a dense layer with a bias in `params["params"]`; by default the classifier, which
        needs none.

    Raises:
      InputError: no such layer, or one without a bias.

    >>> from jleak.losses import bce, cross_entropy
    >>> from jleak.models import mlp
    >>> model = mlp((4, 4, 1), 10, hidden=16)
    >>> params = model.init(jax.random.key(0))
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (4, 4, 4, 1)), jnp.arange(4))
    >>> [round(float(mixing(model, loss, params, batch).mu.mean()), 1) for loss in (cross_entropy, bce)]
    [0.2, 2.4]
    """
    at_head = layer is None or tuple(layer) == model.head
    if at_head:
        z = model.apply(params, batch.x)
        r = jax.grad(lambda z: loss(z, batch.y))(z)
    else:
        r = bias_gradients(model, loss, params, batch, tuple(layer)) / len(batch.x)
    singular = linalg.svd(r, compute_uv=False)
    weights = singular / jnp.where(singular[0] > 0, singular.sum(), 1.0)
    entropy = -jnp.sum(weights * jnp.log(jnp.where(weights > 0, weights, 1.0)))
    least = singular[-1] if len(r) <= r.shape[1] else jnp.zeros(())
    lost = least <= max(r.shape) * jnp.finfo(r.dtype).eps * singular[0]
    condition = jnp.where(lost, jnp.inf, singular[0] / jnp.where(lost, 1.0, least))
    mu = coefficients(r)
    own = jnp.take_along_axis(mu, hard(batch.y)[:, None], axis=1)[:, 0] if at_head else mu.min(axis=1)
    return Mixing(r, singular, condition, jnp.exp(entropy), own)


def coefficients(r: Float[Array, "n width"]) -> Float[Array, "n width"]:
    """sum_{i != j} |R_ic| / |R_jc| for every image j and row c; infinite where R_jc is 0.

    >>> coefficients(jnp.array([[-0.5, 0.125], [0.25, -0.5]])).tolist()
    [[0.5, 4.0], [2.0, 0.25]]
    """
    size = jnp.abs(r)
    others = size.sum(axis=0) - size
    return jnp.where(size > 0, others / jnp.where(size > 0, size, 1.0), jnp.inf)


def bias_gradients(
    model: Model, loss: Loss, params: Params, batch: Batch, layer: tuple[str, ...]
) -> Float[Array, "n width"]:
    """Every image's own gradient of a layer's bias, which is its residual there."""

    def one(x, y):
        def objective(weights):
            return loss(model.apply({**params, "params": weights}, x[None]), y[None])

        found = jax.grad(objective)(params["params"])
        for name in (*layer, "bias"):
            if not isinstance(found, dict) or name not in found:
                raise InputError(
                    f"layer {'/'.join(layer)!r} must be a dense layer with a bias, but there is no {name!r}; "
                    f"name one of the model's own, or leave layer out for its classifier {model.head[0]!r}"
                )
            found = found[name]
        return found

    return jax.vmap(one)(batch.x, batch.y)
