"""Multiple shooting: a simulated local training, fitted to the update by the way that the classifier went.

Derived here. A simulated training (`jleak.labels.trajectory`) is chaotic in its labels: what one step gets
wrong, the next ones amplify. So not the labels are sought, but

    E_t = sum_(s <= t) e_s,    e_t = mean of p - y over the mini-batch of step t.

Given them, no step feeds on the probabilities of another: step t adds e_t h_t^T to the classifier's update
and the derivative of e_t^T z_t by the other weights to theirs. The last E is db, the bias's update. Labels
come at the end, y_t = p_t - e_t, and must be shares: none negative. Sought with the E_t are images, one a
step for the mean of its mini-batch, smooth and grey but for what the update tells: at the true labels they
lower the misfit from .02 - .3 to .001 - .005 (eight models), below that of the wrong fits found there.

Trajectories are fitted so in Bock, Plitt, "A Multiple Shooting Algorithm for Direct Solution of Optimal
Control Problems", IFAC 1984.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from jleak.labels.counting import onto_simplex, whole_labels
from jleak.labels.head import Head, checked, head, logits
from jleak.types import Params, Threat, View

WAVES = 6
"""Frequencies of an image in each direction, those of the cosine transform."""

GREY, CONTRAST, FALL = 0.47, 0.25, 1.3
"""Mean of an image, standard deviation of its lowest wave, and the power by which the others fall."""

WAY_RATE, IMAGE_RATE = 0.01, 0.06
"""Rates of Adam: of the E_t, and of the images' coefficients in standard deviations."""

STRICT = (0.1, 1.0)
"""Weight of squared negative shares against the relative misfit, at the first iteration and at the last."""

PRIOR = 1e-4
"""Weight of the images' squared coefficients against the logarithm of the misfit."""

LEAST = 1e-5
"""Misfit that counts as none."""

KEPT = (3, 6)
"""One in so many of the ways is followed in each round after the first, for twice its iterations."""

ABREAST = 4
"""So many ways are followed at a time: more do not fit into a core's cache."""


class Way(NamedTuple):
    """What is sought.

    Attributes:
      passed: E_t of every step; the last is not looked at where the bias tells it.
      waves: the images' coefficients, in standard deviations; the last channel is common to all.
    """

    passed: Float[Array, "steps n"]
    waves: Float[Array, "steps r r c"]


class Fit(NamedTuple):
    """A way, and what it comes to.

    Attributes:
      way: the way.
      shares: labels that it tells, of every step; single ones may be a little below 0.
      misfit: how far its update is from the client's, and its labels from shares (`judged`).
    """

    way: Way
    shares: Float[Array, "steps n"]
    misfit: Float[Array, ""]


def shoot(
    threat: Threat,
    view: View,
    shares: Float[Array, "starts steps n"],
    p: Float[Array, "starts steps n"],
    iterations: int,
) -> tuple[Float[Array, "kept steps n"], Float[Array, " kept"]]:
    """Shares of every step, fitted from simulated trainings' `shares` and `p`, and their misfits.

    In rounds: all for `iterations`, then for twice as many those that fit best (`KEPT`), as most starts end
    in a wrong way that more iterations do not mend. A round after the first begins at the nearest whole
    labels, and counts only where it lowers the misfit. Single shares may be a little below 0.
    """
    h, w, c = threat.model.shape
    waves = jnp.zeros((*p.shape[:2], min(WAVES, h), min(WAVES, w), c + 1))

    def first(way):
        return fitted(threat, view, way, iterations, STRICT[0])

    def further(fit):
        found = fitted(threat, view, at_whole_labels(fit, threat.mini_batch), 2 * iterations, STRICT[1])
        better = found.misfit < fit.misfit  # False for NaN
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), found, fit)

    fits = lax.map(first, Way(jnp.cumsum(p - shares, 1), waves), batch_size=ABREAST)
    for part in KEPT:
        misfit = jnp.where(jnp.isfinite(fits.misfit), fits.misfit, jnp.inf)
        best = jnp.argsort(misfit)[: -(-len(p) // part)]
        fits = lax.map(further, jax.tree.map(lambda leaf, best=best: leaf[best], fits), batch_size=ABREAST)
    return fits.shares, fits.misfit


def at_whole_labels(fit: Fit, n: float) -> Way:
    """The fit's way, moved to where the labels of every step are `n` whole ones; its probabilities stay.

    >>> way = Way(jnp.zeros((1, 2)), jnp.zeros((1, 1, 1, 2)))
    >>> at_whole_labels(Fit(way, jnp.array([[0.75, 0.25]]), jnp.array(0.0)), 2.0).passed.tolist()
    [[-0.25, 0.25]]
    """
    moved = jnp.cumsum(fit.shares - whole_labels(fit.shares, n), 0)
    return fit.way._replace(passed=fit.way.passed + moved)


def fitted(threat: Threat, view: View, way: Way, iterations: int, strict: float) -> Fit:
    """The way that Adam finds from `way`.

    Adam's rate falls from the half on; the weight of negative shares goes from `strict` to `STRICT`'s last.
    """
    adam = optax.scale_by_adam(b2=0.99)
    layer = checked(threat.model, view.update)

    def objective(way, done):
        misfit, y = judged(threat, view, layer, way, strict * (STRICT[1] / strict) ** done)
        return jnp.log(misfit + LEAST) + PRIOR * jnp.sum(way.waves**2), (misfit, y)

    def one(carry, i):
        way, state = carry
        g = jax.grad(objective, has_aux=True)(way, i / iterations)[0]
        g = jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0.0), g)
        by, state = adam.update(g, state)
        fall = jnp.minimum(1.0, 2 * (1 - i / iterations) + 0.01)
        rates = Way(WAY_RATE, IMAGE_RATE)
        return (jax.tree.map(lambda w, rate, u: w - fall * rate * u, way, rates, by), state), None

    (way, _), _ = lax.scan(one, (way, adam.init(way)), jnp.arange(iterations))
    misfit, y = objective(way, 1.0)[1]
    return Fit(way, y, misfit)


def judged(
    threat: Threat, view: View, layer: Head, way: Way, strict: float
) -> tuple[Float[Array, ""], Float[Array, "steps n"]]:
    """The misfit of a way, and the shares that it tells; `layer` is the classifier's update."""
    passed = way.passed - way.passed.mean(1, keepdims=True)
    if layer.bias is not None:
        passed = passed.at[-1].set(layer.bias)
    errors = jnp.diff(passed, axis=0, prepend=0.0)
    contrast = CONTRAST / jnp.sqrt(threat.mini_batch)
    x = jax.vmap(lambda waves: image(contrast * waves, threat.model.shape))(way.waves)
    update, p = passing(threat, view, errors, x)
    y = p - errors
    shares = lax.stop_gradient(jax.vmap(lambda v: onto_simplex(v, 1.0))(y))
    return distance(update, view.update) + strict * jnp.sum((y - shares) ** 2), y


def image(waves: Float[Array, "r s c"], shape: tuple[int, int, int]) -> Float[Array, "h w d"]:
    """An image of these waves: those of every channel (weighted .4), and in the last place those of all.

    >>> x = image(jnp.zeros((2, 2, 4)), (8, 8, 3))
    >>> x.shape, round(float(x.mean()), 2)
    ((8, 8, 3), 0.47)
    """
    r, s, _ = waves.shape
    frequency = np.hypot(np.arange(r)[:, None], np.arange(s)[None])
    fall = np.maximum(frequency, 1.0)[..., None] ** -FALL
    mixed = fall * (waves[..., -1:] + 0.4 * waves[..., :-1])
    x = jnp.einsum("hr,ws,rsc->hwc", cosines(shape[0], r), cosines(shape[1], s), mixed)
    return jnp.clip(GREY + x, 0.0, 1.0)


def cosines(size: int, count: int) -> Float[np.ndarray, "size count"]:
    """The first columns of the cosine transform, each of mean square 1.

    >>> [round(float(v), 6) for v in (cosines(8, 3) ** 2).mean(0)]
    [1.0, 1.0, 1.0]
    """
    k = np.arange(count)
    place = (np.arange(size) + 0.5) / size
    return (np.cos(np.pi * place[:, None] * k) * np.where(k == 0, 1.0, 2**0.5)).astype(np.float32)


def passing(
    threat: Threat, view: View, errors: Float[Array, "steps n"], x: Float[Array, "steps h w c"]
) -> tuple[Params, Float[Array, "steps n"]]:
    """The update of a local training with these errors on these images, and the probabilities on its way."""
    start = view.params["params"]

    def step(carry, given):
        weights, total = carry
        e, seen = given

        def pulled(w):
            h = threat.model.features({**view.params, "params": w}, seen[None])
            z = logits(head(threat.model, w), h)[0]
            return z @ e, jax.nn.softmax(z)

        g, p = jax.grad(pulled, has_aux=True)(weights)
        weights = jax.tree.map(lambda w, u: w - threat.lr * u, weights, g)
        return (weights, jax.tree.map(jnp.add, total, g)), p

    (_, update), p = lax.scan(step, (start, jax.tree.map(jnp.zeros_like, start)), (errors, x))
    return update, p


def distance(found: Params, wanted: Params) -> Float[Array, ""]:
    """The squared relative error of a tensor, on average over the tensors; absolute where one is all zeros.

    >>> distance({"a": jnp.ones(3), "b": jnp.zeros(2)}, {"a": jnp.ones(3), "b": jnp.ones(2)}).item()
    0.5
    """
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    parts = [jnp.sum((a - b) ** 2) / jnp.where((b != 0).any(), jnp.sum(b * b), 1.0) for a, b in pairs]
    return sum(parts) / len(parts)
