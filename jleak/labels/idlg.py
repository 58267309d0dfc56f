"""The label of a single image, from the sign of the classifier's gradient."""

import jax.numpy as jnp

from jleak.check import InputError
from jleak.labels.head import head_kernel
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
    >>> model = mlp((2, 2, 1), 3, hidden=4)
    >>> update = model.init(jax.random.key(0))["params"]
    >>> update["head"]["kernel"] = jnp.tile(jnp.array([0.2, -0.5, 0.3]), (4, 1))
    >>> attack = idlg(Threat(client=None, model=model))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [1]
    """
    if threat.batch != 1:
        raise InputError(
            f"idlg recovers the label of a single image, got batch={threat.batch}; "
            "use batch=1, labels=joint or labels=known"
        )

    def attack(key, view):
        del key
        return jnp.argmin(head_kernel(threat.model, view.update).sum(0))[None]

    return attack
