"""How near a reconstruction is to the truth in the eyes of the model under attack."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import InputError
from jleak.metrics.image import check_images
from jleak.types import Model, Params


def mse_features(
    model: Model, params: Params, x: Float[Array, "n h w c"], truth: Float[Array, "n h w c"]
) -> Float[Array, " n"]:
    """Mean squared difference of the model's features of the images: mean_f (r_f(x) - r_f(truth))^2.

    r is the input of the classifier. "MSE-R" of Li, Zhang, Liu & Liu, Auditing Privacy Defenses in Federated
    Learning via Generative Gradient Leakage (GGL), CVPR 2022, arXiv 2203.15696, there of a ResNet-18. Lower
    is better, 0 is best. In units of the features, so numbers of two models, or of two sets of weights, do
    not compare; and 0 for all images that the model does not tell apart.

    Args:
      model: the model under attack; one that tells its `features`.
      params: its variables, as the server sent them.
      x: reconstructions in [0, 1].
      truth: the images they are compared with, in [0, 1].

    Raises:
      InputError: a model without `features`; not two batches of float images of one shape.

    >>> import jax
    >>> from jleak.types import Model
    >>> flat = lambda params, x: params * x.reshape(len(x), -1)
    >>> model = Model(None, None, (2, 1, 1), 2, ("head",), features=flat)
    >>> mse_features(model, 2.0, jnp.ones((1, 2, 1, 1)), jnp.zeros((1, 2, 1, 1))).tolist()
    [4.0]
    """
    check_images(x=x, truth=truth)
    if model.features is None:
        raise InputError("mse_features needs a model that tells its features; give its Model a `features`")
    return jnp.mean(jnp.square(model.features(params, x) - model.features(params, truth)), axis=1)
