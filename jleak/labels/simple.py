"""Label attacks that only look at the update: no model, no public data."""

import jax.numpy as jnp

from jleak.check import InputError
from jleak.labels.counting import counts_of, ranks, sampled
from jleak.labels.head import checked, row_sums
from jleak.types import LabelAttack, Threat


def idlg(threat: Threat) -> LabelAttack:
    """argmin over classes c of sum_j dL/dW_jc: exact for one image and non-negative features.

    With softmax cross entropy, dL/dW_jc = (p_c - [c = y]) h_j; with h >= 0 only the true class's row sum is
    negative. Source: Zhao et al., "iDLG", arXiv 2001.02610, equation 5 (there the sign of the rows' inner
    products; the row sum is the form of its reference code and of GGL, and stands noise better).

    Raises:
      InputError: the threat's batch is not a single image.

    >>> import jax
    >>> from jleak.models import mlp
    >>> from jleak.types import View
    >>> update = {"head": {"kernel": jnp.tile(jnp.array([0.2, -0.5, 0.3]), (4, 1))}}
    >>> attack = idlg(Threat(client=None, model=mlp((2, 2, 1), 3, hidden=4)))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [0, 1, 0]
    """
    if threat.batch != 1:
        raise InputError(
            f"idlg recovers the label of a single image, got batch={threat.batch}; "
            "use batch=1 or another label attack, such as demix "
            "(an image attack: labels=demix, labels=joint or --known-labels)"
        )

    def infer(key, view, known):
        least = jnp.argmin(row_sums(checked(threat.model, view.update)))
        return counts_of(least[None], threat.classes)

    return LabelAttack(infer)


def yin(threat: Threat) -> LabelAttack:
    """The `batch` classes whose least gradient entry min_j dL/dW_jc is lowest, each once.

    Source: Yin et al., "See through Gradients", CVPR 2021, section 3.2. Meant for distinct labels and
    non-negative features.

    Raises:
      InputError: more images than classes.

    >>> import jax
    >>> from jleak.models import mlp
    >>> from jleak.types import View
    >>> update = {"head": {"kernel": jnp.array([[0.1, -2.0, 3.0], [-0.5, 0.0, 1.0]])}}
    >>> attack = yin(Threat(client=None, model=mlp((2, 2, 1), 3, hidden=2), batch=2))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [1, 1, 0]
    """
    if threat.batch > threat.classes:
        raise InputError(
            f"yin finds each class once, got batch={threat.batch} > classes={threat.classes}; "
            "use another label attack, such as demix"
        )

    def infer(key, view, known):
        least = checked(threat.model, view.update).kernel.min(1)
        return counts_of(jnp.argsort(least)[: threat.batch], threat.classes)

    return LabelAttack(infer)


def bias_sign(threat: Threat) -> LabelAttack:
    """Every class whose bias gradient is negative, once: db_c < 0 means that class c is present.

    At most `batch` classes, the most negative ones; repeated labels are not counted, so the counts may sum
    to less than `batch`. Without a bias the row sums stand in.

    Source: the sign rule of iDLG (Zhao et al., arXiv 2001.02610), on the bias.

    >>> import jax
    >>> from jleak.models import mlp
    >>> from jleak.types import View
    >>> update = {"head": {"kernel": jnp.zeros((2, 3)), "bias": jnp.array([0.3, -0.2, -0.1])}}
    >>> attack = bias_sign(Threat(client=None, model=mlp((2, 2, 1), 3, hidden=2), batch=4))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [0, 1, 1]
    """

    def infer(key, view, known):
        layer = checked(threat.model, view.update)
        signs = row_sums(layer) if layer.bias is None else layer.bias
        return ((signs < 0) & (ranks(signs) < threat.batch)).astype(jnp.int32)

    return LabelAttack(infer)


def random(threat: Threat) -> LabelAttack:
    """Labels drawn uniformly: the floor that every rate must be compared with.

    >>> import jax
    >>> from jleak.models import mlp
    >>> attack = random(Threat(client=None, model=mlp((2, 2, 1), 3), batch=5))
    >>> int(attack(jax.random.key(0), None).sum())
    5
    """

    def infer(key, view, known):
        return sampled(key, jnp.full(threat.classes, 1 / threat.classes), threat.batch)

    return LabelAttack(infer)
