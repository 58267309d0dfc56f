"""The LLG family: label counts from the row sums of the classifier's gradient.

Source: Wainakh, Ventola, Muessig, Keim, Cordero, Zimmer, Grube, Kersting, Muehlhaeuser, "User-Level Label
Leakage from Gradients in Federated Learning", PoPETs 2022, and its reference code.

For features h >= 0 of about the same sum S and probabilities p that do not depend on the image, a class with
lambda_c of the N labels has g_c = offset_c + lambda_c * impact with offset_c = S p_c and impact = -S / N
(over I local steps offset I S p_c and impact -S I / N). The three attacks differ in how they estimate the
two. `exact=False` is the published rule; `exact=True` (default) repairs what the algebra shows to be off:
the factor 1 + 1/n, the offsets over several steps, and the first stage, which takes every class of negative
g without a threshold, so that the slightest noise adds false labels. The exact forms are derived here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak.check import one_of
from jleak.labels.auxiliary import by_class
from jleak.labels.counting import greedy, ranks
from jleak.labels.dummies import DUMMIES, dummies, response
from jleak.labels.head import checked, row_sums, softmax_loss
from jleak.types import Counts, Key, LabelAttack, Threat, View


class Impact(NamedTuple):
    """What one label does to the row sums.

    Attributes:
      impact: what a label adds to its class's row sum (< 0).
      offset: the row sum of a class without labels.
    """

    impact: Float[Array, ""]
    offset: Float[Array, " classes"]


def published(g: Float[Array, " classes"], found: Impact, total: int, *, most: int | None = None) -> Counts:
    """The published rule: each class of negative g once, then greedily on the calibrated values.

    Args:
      g: row sums.
      found: impact and offset.
      total: how many labels to find; stage one may find more (LLG, LLG*).
      most: at most so many labels in stage one, those of least g first (LLG+).

    >>> published(jnp.array([-3.0, -0.5, 1.0]), Impact(jnp.array(-1.0), jnp.zeros(3)), 4).tolist()
    [3, 1, 0]
    """
    first = (g < 0) & (True if most is None else ranks(g) < most)
    counts = first.astype(jnp.int32)
    return greedy(g - found.offset - counts * found.impact, found.impact, counts, total)


def calibrated(g: Float[Array, " classes"], found: Impact, total: int) -> Counts:
    """Greedily on the calibrated values alone: no sign stage, exactly `total` labels.

    >>> calibrated(jnp.array([-3.0, -0.5, 1.0]), Impact(jnp.array(-1.0), jnp.zeros(3)), 4).tolist()
    [3, 1, 0]
    """
    return greedy(g - found.offset, found.impact, jnp.zeros(g.size, jnp.int32), total)


def llg(threat: Threat, *, exact: bool = True) -> LabelAttack:
    """LLG: impact from the negative row sums of the update itself; nothing else is needed.

    Published (Wainakh et al., PoPETs 2022): impact = (1 + 1/n) sum_{g_c < 0} g_c / N, no offset, and
    possibly more than N labels. Exact, for uniform p: with K negative classes impact =
    sum_{g_c < 0} g_c / (N (1 - K/n)) and offset = -impact N / n.

    Args:
      threat: what the attacker knows.
      exact: the repaired rule.

    Raises:
      InputError: the loss is not softmax cross entropy.

    >>> import jax
    >>> from jleak.models import mlp
    >>> update = {"head": {"kernel": jnp.array([[-1.0, -1.0, 2.0], [-1.0, -1.0, 2.0]])}}
    >>> attack = llg(Threat(client=None, model=mlp((2, 2, 1), 3, hidden=2), batch=4))
    >>> attack(jax.random.key(0), View(None, update)).tolist()
    [2, 2, 0]
    """
    softmax_loss(threat, "llg")
    n, total = threat.classes, threat.batch

    def infer(key, view, known):
        g = row_sums(checked(threat.model, view.update))
        negative = jnp.where(g < 0, g, 0.0).sum()
        if not exact:
            return published(g, Impact((1 + 1 / n) * negative / total, jnp.zeros(n)), total)
        impact = negative / (total * (1 - (g < 0).mean()).clip(1 / n))
        return calibrated(g, Impact(impact, jnp.full(n, -impact * total / n)), total)

    return LabelAttack(infer)


def llg_star(threat: Threat, *, dummy: str = "uniform", exact: bool = True) -> LabelAttack:
    """LLG*: impact and offset from the model's response to dummy images (white box).

    Published (Wainakh et al., PoPETs 2022): dummies zeros, ones or uniform, labelled with every class in
    turn; impact = (1 + 1/n) times the mean of a class's own row sum / B, offset_c the mean row sum of class c
    under the other labels. Exact: the impact is -S / N itself, which the factor n/(n - 1) gives at uniform p.
    The row sums of such batches follow from one forward pass: no gradient is taken.

    Args:
      threat: what the attacker knows.
      dummy: a name of `jleak.labels.dummies.DUMMIES`.
      exact: the repaired rule.

    Raises:
      InputError: unknown dummy, a loss that is not softmax cross entropy; at calibration, a model without
        `features`.

    >>> import jax
    >>> from jleak.labels.example import example
    >>> threat, view = example([0, 2, 2, 2, 2])
    >>> llg_star(threat)(jax.random.key(0), view).tolist()
    [1, 0, 4]
    """
    softmax_loss(threat, "llg_star")
    one_of("dummy", dummy, DUMMIES)

    def calibrate(view: View) -> Impact:
        seen = response(threat.model, view.params, dummies(threat, dummy, 10 * min(threat.batch, 32)))
        s = seen.features.sum(1)
        own = jnp.tile((seen.p * s[:, None]).mean(0), (threat.classes, 1))
        return impact_of(own, jnp.full(threat.classes, s.mean()), threat, exact)

    return LabelAttack(rule(threat, exact, None), calibrate)


def llg_plus(threat: Threat, *, exact: bool = True) -> LabelAttack:
    """LLG+: impact and offset from auxiliary images of every class, in `view.prior` (a `Batch`).

    As `llg_star` (Wainakh et al., PoPETs 2022), the images of class c labelled c. Stage one of the published
    rule is cut off at the number of labels.

    Args:
      threat: what the attacker knows.
      exact: the repaired rule.

    Raises:
      InputError: a loss that is not softmax cross entropy; at calibration, auxiliary data absent or lacking a
        class, a model without `features`.

    >>> import jax
    >>> from jleak.labels.example import example
    >>> threat, view = example([0, 2, 2, 2, 2])
    >>> llg_plus(threat)(jax.random.key(0), view).tolist()
    [1, 0, 4]
    """
    softmax_loss(threat, "llg_plus")

    def calibrate(view: View) -> Impact:
        own, s = by_class(threat, view)
        return impact_of(own, s, threat, exact)

    return LabelAttack(rule(threat, exact, threat.batch), calibrate)


def rule(threat: Threat, exact: bool, most: int | None) -> Callable[[Key, View, Impact], Counts]:
    """The inference common to LLG* and LLG+; `most` as in `published`."""

    def infer(key, view, found):
        g = row_sums(checked(threat.model, view.update))
        return calibrated(g, found, threat.batch) if exact else published(g, found, threat.batch, most=most)

    return infer


def impact_of(
    own: Float[Array, "classes classes"], s: Float[Array, " classes"], threat: Threat, exact: bool
) -> Impact:
    """Impact and offset from one-label batches.

    Args:
      own: mean of p_j S over images of class c, [c, j].
      s: mean of S over images of class c.
      threat: for the numbers of labels, classes and steps.
      exact: the repaired rule.
    """
    n, steps = threat.classes, threat.local_steps
    others = 1.0 - jnp.eye(n)
    offset = (own * others).sum(0) / (n - 1)
    if exact:
        return Impact(-s.mean() * steps / threat.batch, offset * steps)
    probe = (jnp.diagonal(own) - s).mean() * steps / threat.batch  # of one step's batch, N / I labels
    return Impact((1 + 1 / n) * probe / steps, offset)
