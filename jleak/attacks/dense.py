"""The images straight from the gradient of the first dense layer: rows over bias entries."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jleak.attacks.closed import first_layer, scored
from jleak.attacks.demixing.certificate import NOISE, OPEN, RESIDUAL, first, unmasked
from jleak.check import InputError
from jleak.labels import label_step
from jleak.losses import cross_entropy
from jleak.tree import norm
from jleak.types import (
    Attack,
    Batch,
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
      labels: a label attack or its name; for a batch under cross entropy, `auto` is `counts`. Used where the
        layer is the classifier, else told along; not asked where the threat grants the labels.

    Returns:
      An attack; images clipped to [0, 1]; its loss is the relative distance of the update
      at these images from the one seen. A layer of fewer outputs than images repeats its rows. Its
      certificate can prove a single image (`single`), and says why a batch is no better (`several`).

    Raises:
      InputError: the model has no dense layer fed by the image, or that layer has no bias; `auto` under a
        loss that no label attack reads, where labels are not granted.

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
    if labels == "joint":
        raise InputError("dense cannot optimise labels along (labels=joint); name a label attack")
    softmax = threat.loss in (None, cross_entropy)
    step = label_step(threat, "counts" if labels == "auto" and threat.batch > 1 and softmax else labels)

    def attack(key: Key, view: View) -> Reconstruction:
        if view.labels is None and step is None:
            raise InputError(
                "dense has no label attack for this loss; grant the labels (known_labels), or name one "
                "(labels=random)"
            )
        y = step(key, view) if view.labels is None else view.labels
        x = rows(threat, view, y)
        batch = Batch(jnp.clip(x, 0.0, 1.0), y)
        again = threat.client(key, view.params, batch)
        rec = scored(threat, view, batch, again)
        if threat.batch == 1:
            return rec._replace(certificate=single(threat, view, rec, first_layer(threat, again)))
        return rec._replace(certificate=several(threat, view, rec))

    return attack


def single(threat: Threat, view: View, rec: Reconstruction, again: Params) -> Certificate:
    """Of one image: the layer's gradient is of rank one, dW = x db^T, and points as the client's at x does.

    No other image's does. Both to rounding, and it is proven, whatever the factor on the update; the second
    as far as what noise leaves beside rank one, and it is right up to that.

    Args:
      threat, view: as ever.
      rec: the image.
      again: the layer's gradient at this image, by the client that the attacker believes in.
    """
    seen = first_layer(threat, view.update)
    dw, db, eps = seen["kernel"], seen["bias"], float(jnp.finfo(seen["kernel"].dtype).eps)
    off = norm(dw - jnp.outer(rec.x, db)) / norm(dw)
    turned = norm(dw / norm(dw) - again["kernel"] / norm(again["kernel"]))
    error = off * norm(dw) / jnp.sqrt(1.0 * dw.size) / jnp.abs(db).max()
    rules = [
        (~readable(seen), Status.UNREADABLE),
        (jnp.maximum(off, turned) <= RESIDUAL * eps, Status.PROVEN),
        (~unmasked(dw.T), Status.MASKED),
        ((turned <= NOISE * off) & (error < OPEN), Status.NOISY),
    ]
    return Certificate(first(rules, 1), jnp.maximum(off, turned), jnp.zeros(1))


def several(threat: Threat, view: View, rec: Reconstruction) -> Certificate:
    """Of a batch: the rows are mixtures, which prove nothing; why they can be no better."""
    seen = first_layer(threat, view.update)
    head = len(threat.model.chain) == 1
    repeated = (rec.y[:, None] == rec.y).sum(1) > 1
    rules = [
        (~readable(seen), Status.UNREADABLE),
        (~unmasked(seen["kernel"].T), Status.MASKED),
        (repeated & head, Status.CLASS_MEAN),
        (len(seen["bias"]) < threat.batch, Status.RANK_DEFICIENT),
    ]
    return Certificate(first(rules, threat.batch), rec.loss, jnp.zeros(threat.batch))


def readable(layer: Params) -> Bool[Array, ""]:
    """Whether there is a finite gradient other than zero."""
    return (norm(layer["kernel"]) > 0) & (norm(layer["bias"]) > 0) & jnp.isfinite(norm(layer))


def rows(threat: Threat, view: View, y: Labels) -> Float[Array, "n h w c"]:
    """The mixtures in the rows of the labels; of a layer below the classifier, in those of largest |db_i|.

    Raises:
      InputError: the layer has no bias.
    """
    layer, path = first_layer(threat, view.update), threat.model.chain[0]
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
