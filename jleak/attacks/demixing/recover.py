"""Direct recovery of a batch from the gradient of a classifier, with a certificate."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jleak.attacks.demixing.certificate import Evidence, Recovery, judge, unmasked
from jleak.attacks.demixing.peel import ACTIVATIONS, Activation, peel
from jleak.attacks.demixing.precision import in_double, loop
from jleak.attacks.demixing.solve import Dense, corrected, ladder, noise_beyond, noise_of, size
from jleak.check import InputError, one_of, whole
from jleak.labels import label_step
from jleak.labels.counting import apportion, labels_of
from jleak.labels.dummies import dummies
from jleak.labels.step import LabelStep
from jleak.losses import cross_entropy
from jleak.tree import select
from jleak.types import Key, LabelAttack, Labels, Params, Status, Threat, View

Recover = Callable[[Key, View], Recovery]

SETTLED = (Status.PROVEN, Status.NOISY, Status.AMBIGUOUS, Status.UNREADABLE)
"""Statuses that no other labels would better."""


def recover(
    threat: Threat,
    *,
    labels: str | LabelAttack = "auto",
    steps: int = 40,
    starts: int = 4,
    rounds: int = 1,
) -> Recover:
    """The images of a batch from the gradient of an MLP, without optimisation.

    labels -> mean-field values -> fixed point at the classifier (`solve`) -> peeling down to the images
    (`peel`), in double precision inside. Derived here after Eloul et al. (arXiv 2204.12495; WACV 2024: "an
    approximate solution of batch inversion"), whose equations could not be read; stronger than that: exact
    for distinct labels, often for repeated ones, and for any loss that the attacker knows. Every layer must
    be as wide as the batch, the classifier wider. The update's own precision bounds the result: in single
    precision the error is about 1e-7 times the condition of the residuals (`jleak.leakage.mixing`).

    Args:
      threat: what the attacker knows; with local steps the mean of their gradients is taken for the batch's.
      labels: a label attack or its name; not asked where the threat grants the labels. `auto`: those of
        `counts`, which are right for untrained models and cheap, and where they do not explain the gradient
        those of `demix`.
      steps: iterations of the fixed point.
      starts: of these, one from the mean-field values, the others beside them, which separates images of one
        class. 1 suffices for distinct labels.
      rounds: how often, at most, labels are counted anew from the recovered probabilities,
        lambda_c = B (pbar_c - db_c), and the fixed point repeated, where the gradient is not explained yet.

    Returns:
      `(key, view) -> Recovery`; under `vmap` and `jit` as any attack.

    Raises:
      InputError: a model that is no chain of dense layers with sigmoid, tanh, ReLU or leaky ReLU (for others
        `features` recovers the classifier's inputs), fewer than one step or start, an unknown label attack.

    >>> from jleak.attacks.demixing import Status
    >>> from jleak.clients import fedsgd
    >>> from jleak.models import mlp
    >>> from jleak.types import Batch
    >>> model = mlp((4, 4, 1), 10, hidden=32)
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(0))
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (3, 4, 4, 1)), jnp.array([1, 4, 7]))
    >>> view = View(params, client(jax.random.key(2), params, batch))
    >>> found = jax.jit(recover(Threat(client=client, model=model, batch=3)))(jax.random.key(3), view)
    >>> found.y.tolist(), bool(abs(found.x - batch.x).max() < 1e-3), Status(int(found.status[0])).name
    ([1, 4, 7], True, 'PROVEN')
    """
    chain = chain_of(threat)
    return _recover(threat, chain, labels, steps, starts, rounds)


def features(
    threat: Threat,
    *,
    labels: str | LabelAttack = "auto",
    steps: int = 40,
    starts: int = 4,
    rounds: int = 1,
) -> Recover:
    """The inputs of the classifier of any model, one vector an image: `recover` without peeling.

    Arguments, result and errors as `recover`; the model needs `features`.
    """
    return _recover(threat, (threat.model.head,), labels, steps, starts, rounds, images=False)


def chain_of(threat: Threat) -> tuple[tuple[str, ...], ...]:
    """The model's dense layers from the input to the classifier.

    Raises:
      InputError: it is no such chain, or its activation cannot be gone through.
    """
    model = threat.model
    if not model.chain:
        raise InputError(
            "demixing recovers images of models that are dense layers alone, and this model declares no "
            "chain of them; use demixing.features for the inputs of its classifier, or attack=inverting"
        )
    if len(model.chain) > 1:
        one_of("activation of a chain", model.activation, ACTIVATIONS, hint="others cannot be peeled")
    return model.chain


def _recover(threat, chain, labels, steps, starts, rounds, images=True) -> Recover:
    whole("steps", steps)
    whole("starts", starts)
    whole("rounds", rounds, least=0)
    step, last = label_steps(threat, labels)
    act = ACTIVATIONS[threat.model.activation] if len(chain) > 1 else None

    def attack(key: Key, view: View) -> Recovery:
        k_y, k_start = jax.random.split(key)
        if view.labels is None and step is None:
            raise InputError(
                f"{'labels=joint' if softmax(threat) else 'this loss'} leaves the labels unknown; grant them "
                "(known_labels), or with cross entropy name a label attack"
            )
        y = step(k_y, view) if view.labels is None else view.labels
        layers = [dense(threat, view, path) for path in chain]
        eps = float(jnp.finfo(layers[0].dw.dtype).eps)
        prior = prior_of(threat, view, layers[-1].w.shape[1])
        jitter = jax.random.normal(k_start, (starts - 1, threat.batch, threat.classes))
        solver = in_double(lambda *args: solved(threat, act, steps, eps, *args))
        found, counted = solver(layers, y, prior, jitter)
        if view.labels is None:
            other = None if last is None else functools.partial(second, last, k_y, view)
            found = retried(lambda y: solver(layers, y, prior, jitter), found, counted, other, rounds)
        return found._replace(x=found.x.reshape(threat.shape)) if images else found

    return attack


def label_steps(threat: Threat, labels: str | LabelAttack) -> tuple[LabelStep | None, LabelStep | None]:
    """The label step, and that for the case that its labels do not explain the gradient."""
    if not softmax(threat):
        return None, None
    if labels != "auto":
        return label_step(threat, labels), None
    return label_step(threat, "counts"), label_step(threat, "demix") if threat.model.features else None


def unexplained(found: Recovery) -> Bool[Array, ""]:
    """Whether other labels may better what was found."""
    return ~functools.reduce(jnp.logical_or, [found.status == s for s in SETTLED]).all()


def second(last: LabelStep, key: Key, view: View, found: Recovery) -> Labels:
    """The labels of a step, where those of what was found do not explain the gradient; else these.

    The step's input is tied to the loop's counter: what does not depend on it, XLA computes before the loop,
    and every batch would pay for it.
    """

    def ask(carry):
        y, t = carry
        update, _ = lax.optimization_barrier((view.update, t))
        return last(key, view._replace(update=update)).astype(y.dtype), t + 1

    def going(carry):
        return (carry[1] < 1) & unexplained(found)

    return loop(going, ask, (found.y.astype(int), jnp.asarray(0)))[0]


def retried(
    solve: Callable[[Labels], tuple[Recovery, Array | None]],
    found: Recovery,
    counted: Array | None,
    other: Callable[[Recovery], Labels] | None,
    rounds: int,
) -> Recovery:
    """Other labels as long as those so far do not explain the gradient; of all tried what explains it best.

    First `other`, where given; then, `rounds` times, those counted anew. Loops of `while` cost nothing where
    the first labels are right, also under `vmap`, where a condition would cost both its branches.
    """
    first, turns = (found.y, 0) if other is None else (other(found), 1)
    tries = turns + (rounds if counted is not None else 0)
    counted = found.consistency if counted is None else counted  # not read then

    def again(carry):
        found, counted, t = carry
        y = first
        if tries > turns:
            y = jnp.where(t < turns, y, labels_of(apportion(counted, len(found.y)), len(found.y)))
        tried, seen = solve(y)
        better = tried.residual < found.residual
        return (*select(better, (tried, counted if seen is None else seen), (found, counted)), t + 1)

    def going(carry):
        return (carry[2] < tries) & unexplained(carry[0])

    return loop(going, again, (found, counted, jnp.asarray(0)))[0] if tries else found


def softmax(threat: Threat) -> bool:
    """Whether the loss is softmax cross entropy, for which labels show and mean-field values exist."""
    return threat.loss in (None, cross_entropy)


def dense(threat: Threat, view: View, path: tuple[str, ...]) -> Dense:
    """A layer and its mean gradient over local steps."""
    update, layer = (at(tree, path) for tree in (view.update, view.params["params"]))
    bias = layer.get("bias", jnp.zeros(layer["kernel"].shape[1], layer["kernel"].dtype))
    mean = jax.tree.map(lambda u: u / threat.local_steps, update)
    db = mean["bias"] if "bias" in layer else None
    return Dense(mean["kernel"].T, db, layer["kernel"].T, bias)


def at(tree: Params, path: tuple[str, ...]) -> Params:
    """The layer at that path.

    Raises:
      InputError: there is none.
    """
    for name in path:
        if name not in tree:
            raise InputError(
                f"the model declares a dense layer at {'/'.join(path)!r}, but the update (or parameters) "
                f"given has no {name!r} there, only: {', '.join(map(str, tree))}; give this model's own"
            )
        tree = tree[name]
    return tree


def prior_of(threat: Threat, view: View, width: int) -> Float[Array, " width"]:
    """The classifier's mean input on dummy images; grey where images are its input."""
    model = threat.model
    if len(model.chain) == 1:
        return jnp.full(width, 0.5)
    if model.features is None:
        raise InputError(
            "this model does not tell its classifier's input; give its Model a `features` function"
        )
    return model.features(view.params, dummies(threat, "natural", 32)).mean(0)


def solved(
    threat: Threat,
    act: Activation | None,
    steps: int,
    eps: float,
    layers: list[Dense],
    y: Labels,
    prior: Array,
    jitter: Array,
) -> tuple[Recovery, Float[Array, " classes"] | None]:
    """The recovery for these labels, and how often every class then seems to occur; in double precision."""
    sizes = jnp.stack([size(layer.dw) for layer in layers])
    readable = ((sizes > 0) & jnp.isfinite(sizes)).all()
    layers = jax.tree.map(lambda u: jnp.where(jnp.isfinite(u), u, 0.0), layers)
    head = layers[-1]

    def residuals(z):
        return jax.grad(lambda z: (threat.loss or cross_entropy)(z, y))(z)

    flat = jnp.broadcast_to(prior, (len(y), prior.size)), jnp.ones((), bool)
    start, offset = corrected(head, y, prior) if softmax(threat) else flat
    sigma = noise_of(head) if softmax(threat) else noise_beyond(head, len(y))
    top = ladder(head, residuals, start, jitter, steps, sigma)
    counted = None
    if softmax(threat) and head.db is not None:
        counted = len(y) * (jax.nn.softmax(top.z).mean(0) - head.db)
    found = Recovery(top.x, y, top.residual, top.consistency, top.error, y)
    full, noise = top.full, top.noise
    if act is not None:
        low = peel(layers, act, residuals, top.x, top.z, sigma)
        moved = len(y) * jnp.sqrt(jnp.sum((low.delta - residuals(top.z)) ** 2, axis=1))
        found = Recovery(low.x, y, low.residual, moved, low.error, y)
        full, noise = full & low.full, jnp.maximum(noise, low.noise)
    fewer = not softmax(threat) or len(y) < threat.classes  # softmax: its residuals have rank classes - 1
    offset, full, entire = offset & fewer, full & fewer, unmasked(head.dw)
    seen = Evidence(found.residual, found.consistency, noise, offset, full, entire, readable)
    spoilt = jnp.where(readable, 0.0, jnp.nan)
    found = found._replace(x=found.x + spoilt, residual=found.residual + spoilt)
    return found._replace(status=judge(y, seen, eps, threat.classes)), counted
