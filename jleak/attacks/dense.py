"""The images straight from the gradient of the first dense layer: rows over bias entries."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.attacks.closed import reconstruction
from jleak.attacks.demixing.certificate import RESIDUAL
from jleak.check import InputError
from jleak.labels import label_step
from jleak.tree import norm
from jleak.types import (
    Attack,
    Certificate,
    Key,
    LabelAttack,
    Labels,
    Params,
    Reconstruction,
    Status,
    Threat,
    View,
)


def dense(threat: Threat, *, labels: str | LabelAttack = "auto") -> Attack:
    """The bias attack: dW_i / db_i is the input of the dense layer, for one image exactly.

    A dense layer fed by the image has dW = sum_j delta_j x_j^T and db = sum_j delta_j, so row i over its bias
    entry is the mean of the images weighted by delta_ji. One image: that image, whatever the loss, the layers
    above, or a factor on the update (clipping); the row of largest |db_i| suffers noise and pruning least. A
    batch of B: the B rows of largest |db_i|, each a mixture in which one image may prevail; where that layer
    is the classifier, the rows of the labels (`demixing` goes on from there).

    Source: Phong, Aono, Hayashi, Wang and Moriai, IEEE TIFS 2018, section on a single neuron; a batch as in
    the analytic attack of Geiping et al., NeurIPS 2020, proposition 3.1.

    Args:
      threat: what the attacker knows.
      labels: a label attack or its name; for a batch, `auto` is `counts`. Used where the layer is the
        classifier, else told along.

    Returns:
      An attack; images clipped to [0, 1]; its loss is the relative distance of the update
      at these images from the one seen. A layer of fewer outputs than images repeats its rows. Its
      certificate (`certificate`) can prove a single image.

    Raises:
      InputError: the model has no dense layer fed by the image, or that layer has no bias.

    >>> import jax
    >>> from jleak.clients import fedsgd
    >>> from jleak.losses import cross_entropy
    >>> from jleak.models import mlp
    >>> from jleak.types import Batch
    >>> model = mlp((4, 4, 1), 3, hidden=8)
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(0))
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (1, 4, 4, 1)), jnp.array([2]))
    >>> view = View(params, client(jax.random.key(2), params, batch))
    >>> found = dense(Threat(client=client, model=model))(jax.random.key(3), view)
    >>> bool(abs(found.x - batch.x).max() < 1e-4), found.y.tolist()
    (True, [2])
    """
    if not threat.model.chain:
        raise InputError(
            "dense reads the image from a dense layer fed by it, and this model declares no chain of dense "
            "layers; use attack=inverting"
        )
    step = label_step(threat, "counts" if labels == "auto" and threat.batch > 1 else labels)
    if step is None:
        raise InputError("dense cannot optimise labels along (labels=joint); name a label attack")

    def attack(key: Key, view: View) -> Reconstruction:
        y = step(key, view) if view.labels is None else view.labels
        x = rows(threat, view, y)
        rec = reconstruction(threat, key, view, jnp.clip(x, 0.0, 1.0), y)
        return rec._replace(certificate=certificate(threat, view, x, rec.loss))

    return attack


def certificate(threat: Threat, view: View, x: Float[Array, "n h w c"], gap: Array) -> Certificate:
    """Of one image: whether all rows of dW are multiples of it, ||dW - db x^T|| / ||dW||.

    That is so for the true image under any loss and whatever lies above, and at rounding for no other one.
    Of a batch the rows are mixtures, which prove nothing: their residual is the attack's own loss, `gap`.
    """
    layer = layer_of(threat, view)
    eps = float(jnp.finfo(layer["kernel"].dtype).eps)
    size = norm(layer["kernel"])
    if threat.batch == 1:
        gap = norm(layer["kernel"] - x.reshape(-1, 1) * layer["bias"]) / size
    proven = (gap <= RESIDUAL * eps) & (threat.batch == 1) & (threat.local_steps == 1)
    status = jnp.where(proven, Status.PROVEN, Status.APPROXIMATE)
    status = jnp.where((size > 0) & jnp.isfinite(size), status, Status.UNREADABLE)
    return Certificate(jnp.full(threat.batch, status, jnp.int32), gap, jnp.zeros(threat.batch))


def layer_of(threat: Threat, view: View) -> Params:
    """The update of the first dense layer."""
    layer = view.update
    for name in threat.model.chain[0]:
        layer = layer[name]
    return layer


def rows(threat: Threat, view: View, y: Labels) -> Float[Array, "n h w c"]:
    """The mixtures in the rows of the labels; of a layer below the classifier, in those of largest |db_i|.

    Raises:
      InputError: the layer has no bias.
    """
    layer, path = layer_of(threat, view), threat.model.chain[0]
    if "bias" not in layer:
        raise InputError(
            f"dense divides by the bias gradient, and layer {'/'.join(path)!r} has no bias; use "
            "attack=demixing, which needs none"
        )
    largest = jnp.argsort(-jnp.abs(layer["bias"]))
    below = len(threat.model.chain) > 1 or threat.batch == 1
    picks = jnp.resize(largest, (threat.batch,)) if below else y
    size = layer["bias"][picks, None]
    x = layer["kernel"].T[picks] / jnp.where(size == 0, 1.0, size)
    return x.reshape(threat.shape)
