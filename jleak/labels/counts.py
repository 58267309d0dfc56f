"""Label counts from the bias gradient: lambda_c = B (mean probability of class c - db_c), exactly."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import one_of
from jleak.labels.auxiliary import auxiliary
from jleak.labels.counting import apportion
from jleak.labels.dummies import DUMMIES, dummies, response
from jleak.labels.head import Head, checked, head, row_sums, softmax_loss
from jleak.types import LabelAttack, Threat, View

AUXILIARY = "auxiliary"


def counts(threat: Threat, *, pbar: str = "flat") -> LabelAttack:
    """lambda_c = B (pbar_c - db_c), with an estimate of pbar, the batch's mean probabilities.

    The identity is exact for softmax cross entropy (the gradient of the bias); only pbar is not known.
    Over I local steps the update is a sum: lambda_c = (N / I) (I pbar_c - sum_t db_c). Without a bias, db_c
    is taken as the row sum over the mean feature sum of dummy (or auxiliary) images.

    Source: the identity underlies the label counts of Dimitrov et al., "Data Leakage in Federated
    Averaging", TMLR 2022, and iLRG (Ma et al., ICLR 2023).

    Args:
      threat: what the attacker knows.
      pbar: `flat` (1/n, an untrained model), `auxiliary` (the mean over the images of
        `view.prior`), or a name of dummy images, whose mean response is taken.

    Raises:
      InputError: unknown pbar, a loss that is not softmax cross entropy; at calibration, auxiliary data
        absent or lacking a class, a model without `features` where dummy images are looked at.

    >>> import jax
    >>> from jleak.models import mlp
    >>> update = {"head": {"kernel": jnp.zeros((4, 2)), "bias": jnp.array([0.25, -0.25])}}
    >>> attack = counts(Threat(client=None, model=mlp((2, 2, 1), 2, hidden=4), batch=4))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [1, 3]
    """
    softmax_loss(threat, "counts")
    one_of("pbar", pbar, ("flat", AUXILIARY, *DUMMIES))
    n, steps = threat.classes, threat.local_steps

    def calibrate(view: View) -> tuple[Float[Array, " classes"], Float[Array, ""]]:
        if pbar == "flat" and (
            view.params is None or head(threat.model, view.params["params"]).bias is not None
        ):  # nothing to learn from images
            return jnp.full(n, 1 / n), jnp.ones(())
        if pbar == AUXILIARY:
            x = auxiliary(threat, view).x
        else:
            x = dummies(threat, "natural" if pbar == "flat" else pbar, 64)
        seen = response(threat.model, view.params, x)
        p = jnp.full(n, 1 / n) if pbar == "flat" else seen.p.mean(0)
        return p, seen.features.sum(1).mean()

    def infer(key, view, known):
        p, s = known
        db = bias_gradient(checked(threat.model, view.update), s)
        return apportion((threat.batch / steps) * (steps * p - db), threat.batch)

    return LabelAttack(infer, calibrate)


def bias_gradient(layer: Head, s: Float[Array, ""]) -> Float[Array, " classes"]:
    """The bias gradient, or where the layer has no bias, row sums over the mean feature sum `s`.

    >>> bias_gradient(Head(jnp.array([[1.0, 3.0], [-4.0, 0.0]]), None), 2.0).tolist()
    [2.0, -2.0]
    """
    return row_sums(layer) / s if layer.bias is None else layer.bias
