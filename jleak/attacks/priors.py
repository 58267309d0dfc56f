"""What an attacker believes of images once it has seen the update: penalties that read the update.

`jleak.penalties` has those that look at the images alone.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jleak.attacks.demixing import features
from jleak.check import InputError
from jleak.labels.head import head
from jleak.types import Key, Labels, Model, Params, SoftLabels, Status, Threat, View


def feature_match(
    model: Model,
) -> Callable[[Params, Float[Array, "n h w c"], Labels | SoftLabels, Params], Float[Array, ""]]:
    """How far the images' features are from what the update says of their class: mean (h_i - dW_y / db_y)^2.

    h_i is the input of the classifier for image i, of label y. For softmax cross entropy dW_y / db_y is a
    weighted mean of all images' features, with weights p_iy - [y_i = y]: the features themselves for a batch
    of one, and close to them where i is the only image of its class and the others are hardly taken for that
    class. The scale of the update cancels, so clipping of the whole update changes nothing.

    Source: Geiping et al., breaching, `features` (weight 0.1 in the attack `modern`). There a class whose
    db_y is 0 is held to features of 0; here its images do not count, for it says nothing of them.

    Args:
      model: one that tells its features (`Model.features`) and whose classifier has a bias.

    Returns:
      `(params, x, y, update) -> scalar`; of soft labels y the likeliest class is taken.

    Raises:
      InputError: the model does not tell its features, or its classifier has no bias.

    >>> import jax
    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> from jleak.types import Batch
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> params, batch = model.init(jax.random.key(0)), Batch(jnp.full((1, 2, 2, 1), 0.5), jnp.array([1]))
    >>> update = fedsgd(model, cross_entropy)(jax.random.key(1), params, batch)
    >>> bool(feature_match(model)(params, batch.x, batch.y, update) < 1e-10)
    True
    """
    if model.features is None:
        raise InputError(
            "feature_match needs the input of the model's classifier (Model.features), which this model does "
            "not tell; give it, or drop the penalty"
        )

    def penalty(params, x, y, update):
        label = jnp.argmax(y, -1) if jnp.ndim(y) == 2 else y
        wanted, told = ratios(model, update, label)
        return held(model, params, x, wanted, told)

    return penalty


def held(
    model: Model, params: Params, x: Float[Array, "n h w c"], wanted: Float[Array, "n width"], told: Array
) -> Float[Array, ""]:
    """Mean square distance of the images' features from those wanted, where these are told."""
    return jnp.mean(jnp.where(told[:, None], jnp.square(model.features(params, x) - wanted), 0.0))


def ratios(model: Model, update: Params, y: Labels) -> tuple[Float[Array, "n width"], Bool[Array, " n"]]:
    """dW_y / db_y of every label, and whether there is such a quotient.

    Raises:
      InputError: the classifier has no bias.
    """
    kernel, bias = head(model, update)
    if bias is None:
        raise InputError(
            f"feature_match divides by the gradient of the bias of {'/'.join(model.head)!r}, which has "
            "none; use a model whose classifier has one, or drop the penalty"
        )
    share = bias[y]
    return kernel[y] / jnp.where(share != 0, share, 1.0)[:, None], share != 0


def demixed(threat: Threat) -> Callable[[Key, View, Labels], tuple[Array, Array]]:
    """`(key, view, y) -> (features, told)`: as de-mixing recovers them, else the ratios of `feature_match`.

    Recovered features stand where their certificate proves them, or up to noise (`jleak.types.Status`): of
    distinct labels and a client without a defense that is all of them, exactly, where ratios are mixtures.

    Raises:
      InputError: as `jleak.attacks.demixing.features` and `feature_match`.
    """
    recovered = features(threat)

    def targets(key: Key, view: View, y: Labels) -> tuple[Array, Array]:
        found = recovered(key, view._replace(labels=y))
        sure = (found.status == Status.PROVEN) | (found.status == Status.NOISY)
        wanted, told = ratios(threat.model, view.update, y)
        return jnp.where(sure[:, None], found.x, wanted), sure | told

    return targets
