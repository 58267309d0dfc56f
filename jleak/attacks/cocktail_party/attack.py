"""The cocktail party attack as a search over unmixing matrices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from jleak import linalg
from jleak.attacks.closed import first_layer
from jleak.attacks.cocktail_party.unmixing import (
    Whitened,
    dependence,
    fixed_point,
    gains,
    negentropy,
    outside,
    unit,
    whiten,
)
from jleak.attacks.demixing.certificate import first, unmasked
from jleak.check import InputError, number, whole
from jleak.losses import cross_entropy
from jleak.penalties import total_variation
from jleak.search import Search, optimizer, schedule
from jleak.tree import difference, dot, norm, select, stream
from jleak.types import Batch, Certificate, Key, Labels, Params, Reconstruction, Status, Threat, View


class Weights(NamedTuple):
    """Of the objective's terms, and the temperature of the first."""

    decorrelation: float
    temperature: float
    tv: float
    box: float


class State(NamedTuple):
    """The state of the search; `best`, `loss`, `evaluations` as in `jleak.search.gradient.Descent`."""

    point: Float[Array, "n n"]
    mixed: Whitened
    optimizer: PyTree
    best: Batch
    loss: Float[Array, ""]
    evaluations: Int[Array, ""]


def cocktail_party(
    threat: Threat,
    *,
    steps: int = 2000,
    lr: float = 0.01,
    optim: str = "adam",
    decorrelation: float = 0.3,
    temperature: float = 3.0,
    tv: float = 3.1,
    box: float = 30.0,
    warm: int = 100,
) -> Search:
    """The images of a batch as independent components of the first dense layer's gradient.

    dW = R^T X: its rows are mixtures of the B images by unknown weights, whatever the loss and the labels.
    Whitened to B components Z, an unmixing matrix U of unit rows gives S = U Z. Minimised is

        -mean_i (E log cosh s_i)^2 + decorrelation mean_{i != j} (exp(temperature |cos(u_i, u_j)|) - 1)
        + tv TV(S) + box E[(-x)_+^2 + (x - 1)_+^2]

    Source: Kariyappa, Guo, Maeng, Xiong, Suh, Qureshi and Lee, "Cocktail Party Attack", ICML 2023:
    negentropy, mutual independence and total variation. There 25,000 steps of Adam at 0.001, decorrelation
    1.47, temperature 12.4 and tv 3.1 for B = 128 of Tiny-ImageNet; for B <= 32 and 1,000 steps
    at 0.01 these weights were no better than the ratios of `dense`, so the defaults are others.

    Derived here: the bias's gradient is mixed as the images are, db = R^T 1, so the unmixed image over the
    unmixed bias has neither scale nor sign left open, and must lie in [0, 1] (the last term, in units of S).
    Without a bias the sign is the mean's and the largest pixel is 1. The label of an image is the one whose
    residual points as the row of R that belongs to it.

    The loss of a step is the relative distance of the update at its images, clipped to [0, 1], from the one
    seen; the search keeps its least, not that of the objective above. It tells good runs from bad ones, so
    restarts pay. Images are not independent, least where they have few pixels, so this is no exact recovery:
    where labels are distinct `demixing` is better. Noise hides the components whose singular values are below
    it, and the rest with them once they are mixed. Its certificate proves nothing (`certificate`).

    Args:
      threat: what the attacker knows.
      steps: the budget.
      lr: the first learning rate, falling as a cosine.
      optim: any optimiser of `jleak.search.OPTIMIZERS`.
      decorrelation, temperature, tv, box: as above.
      warm: iterations of the fixed point that the search starts from.

    Raises:
      InputError: a model without a chain of dense layers, more images than that layer has outputs or inputs,
        steps < 1, lr not above 0, a weight below 0, an unknown optimiser.

    >>> from jleak.clients import fedsgd
    >>> from jleak.models import mlp
    >>> model = mlp((4, 4, 1), 3, hidden=8)
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(0))
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (1, 4, 4, 1)), jnp.array([2]))
    >>> view = View(params, client(jax.random.key(2), params, batch))
    >>> found = cocktail_party(Threat(client=client, model=model), steps=1)(jax.random.key(3), view)
    >>> bool(abs(found.x - batch.x).max() < 1e-4), found.y.tolist()
    (True, [2])
    """
    whole("steps", steps)
    number("lr", lr, above=0)
    whole("warm", warm, least=0)
    weights = Weights(decorrelation, temperature, tv, box)
    for name, value in weights._asdict().items():
        number(name, value, least=0)
    if not threat.model.chain:
        raise InputError(
            "cocktail_party unmixes the gradient of a dense layer fed by the image, and this model declares "
            "no chain of dense layers; use attack=inverting"
        )
    tx = optimizer(optim, schedule("cosine", lr, steps))

    def init(key, view):
        mixed = whiten(threat, view)
        point = linalg.qr(jax.random.normal(key, (threat.batch, threat.batch)))[0]
        point = fixed_point(mixed.x, point, warm)
        best = batch_at(threat, view, mixed, point)
        return State(point, mixed, tx.init(point), best, jnp.array(jnp.inf), jnp.array(0))

    def step(key, _, state, view):
        return moved(threat, tx, weights, key, state, view)

    def read(state, view):
        sure = certificate(threat, view, state)
        return Reconstruction(*state.best, state.loss, state.evaluations, sure)

    return Search(init, step, read, steps)


def certificate(threat: Threat, view: View, state: State) -> Certificate:
    """Nothing is ever proven, for images are not independent; why it may be worse than an approximation."""
    layer = first_layer(threat, view.update)
    size = norm(layer)
    rules = [
        (~(size > 0) | ~jnp.isfinite(size), Status.UNREADABLE),
        (~unmasked(layer["kernel"].T), Status.MASKED),
        (~state.mixed.full, Status.RANK_DEFICIENT),
    ]
    return Certificate(first(rules, threat.batch), state.loss, jnp.zeros(threat.batch))


def moved(
    threat: Threat,
    tx: optax.GradientTransformationExtraArgs,
    weights: Weights,
    key: Key,
    state: State,
    view: View,
) -> tuple[State, Float[Array, ""]]:
    """The state after one step, and the own loss where it stood before."""
    batch = batch_at(threat, view, state.mixed, state.point)
    update = threat.client(stream(key, "client"), view.params, batch)
    gap = difference(update, view.update)
    loss = jnp.sqrt(dot(gap, gap) / dot(view.update, view.update))

    def value(point):
        return objective(threat, weights, state.mixed, point)

    now, grad = jax.value_and_grad(value)(state.point)
    known = {"value": now, "grad": grad, "value_fn": value}
    change, opt = tx.update(grad, state.optimizer, state.point, key=stream(key, "move"), **known)
    better = loss < state.loss  # False for NaN
    return State(
        point=unit(state.point + change),
        mixed=state.mixed,
        optimizer=opt,
        best=select(better, batch, state.best),
        loss=jnp.where(better, loss, state.loss),
        evaluations=state.evaluations + threat.local_steps,
    ), loss


def objective(
    threat: Threat, weights: Weights, mixed: Whitened, point: Float[Array, "n n"]
) -> Float[Array, ""]:
    """What an unmixing matrix minimises (`cocktail_party`)."""
    u = unit(point)
    s, gain = u @ mixed.x, gains(mixed, u)
    found = -negentropy(s) + weights.decorrelation * dependence(u, weights.temperature)
    found += weights.tv * total_variation(s.reshape(threat.shape))
    return found + weights.box * outside(s, gain, u @ mixed.mean)


def batch_at(threat: Threat, view: View, mixed: Whitened, point: Float[Array, "n n"]) -> Batch:
    """The images that an unmixing matrix gives, clipped to [0, 1], and their labels."""
    u = unit(point)
    gain = gains(mixed, u)
    gain = jnp.where(gain == 0, 1.0, gain)
    x = (u @ mixed.x + (u @ mixed.mean)[:, None]) / gain[:, None]
    x = jnp.clip(x, 0.0, 1.0).reshape(threat.shape)
    rows = (mixed.back @ linalg.inv(u) * gain).T
    fit = agreement(threat, view.params, x, jnp.where(jnp.isfinite(rows), rows, 0.0))
    if view.labels is None:
        return Batch(x, fit.argmax(1))
    return Batch(x[matched(fit[:, view.labels])], view.labels)


def agreement(
    threat: Threat, params: Params, x: Float[Array, "n h w c"], rows: Float[Array, "n out"]
) -> Float[Array, "n classes"]:
    """Cosine of every image's residual at the first layer, were it of that class, with its row of R."""
    path, loss = threat.model.chain[0], threat.loss or cross_entropy

    def residual(x, y):
        def objective(nudge):
            weights = nudged(params["params"], path, nudge, x.ravel())
            return loss(threat.model.apply({**params, "params": weights}, x[None]), y[None])

        return jax.grad(objective)(jnp.zeros(rows.shape[1], x.dtype))

    classes = jnp.arange(threat.classes)
    found = jax.vmap(lambda x: jax.vmap(lambda y: residual(x, y))(classes))(x)
    size = jnp.linalg.norm(found, axis=2) * jnp.linalg.norm(rows, axis=1)[:, None]
    return jnp.einsum("nco,no->nc", found, rows) / jnp.where(size > 0, size, 1.0)


def nudged(weights: Params, path: tuple[str, ...], nudge: Float[Array, " out"], x: Array) -> Params:
    """The weights with `nudge` added to that dense layer's output at its input x."""
    if path:
        return {**weights, path[0]: nudged(weights[path[0]], path[1:], nudge, x)}
    if "bias" in weights:
        return {**weights, "bias": weights["bias"] + nudge}
    return {**weights, "kernel": weights["kernel"] + jnp.outer(x / (x @ x + 1e-30), nudge)}


def matched(fit: Float[Array, "n n"]) -> Labels:
    """Which image each label gets: the best pair first, then the best of those left.

    >>> matched(jnp.array([[0.9, 0.8], [0.7, 0.1]])).tolist()
    [0, 1]
    """

    def take(_, carry):
        fit, order = carry
        image, slot = jnp.divmod(jnp.argmax(fit), len(order))
        fit = fit.at[image].set(-jnp.inf).at[:, slot].set(-jnp.inf)
        return fit, order.at[slot].set(image)

    order = jnp.zeros(len(fit), int)
    return jax.lax.fori_loop(0, len(fit), take, (fit, order))[1]
