"""Label counts behind local training, by finding a training that ends where the client's did.

Derived here. After I local steps at a large rate the straight line from W to W - lr dW tells little of what
was passed on the way; but the way can be followed, since one mini-batch's gradient depends on its images far
less than on its labels. With e_t = mean of p - y over the mini-batch of step t and h_t its mean features, the
classifier's update is

    dW = sum_t e_t h_t^T,    db = sum_t e_t.

The h_t and p_t of a local training on dummy images, labelled with a guess y_t of every step's shares, make
this a linear system for the e_t, and y_t = p_t - e_t is a better guess. Steps that the guess cannot be
trusted for yet take the features that the update itself shows, those at the end of the training; the
horizon of trust moves on by a step every `rounds` rounds, and two steps behind it labels are whole. Guesses
that differ by chance at first end at different trainings; each is then fitted to the whole update, the best
for longer (`jleak.labels.shooting`), and those that end nearest to it are averaged.

That the labels be fitted to a simulated training is an old idea (Dimitrov et al., "Data Leakage in Federated
Averaging", TMLR 2022, interpolate p between the two ends known); the linear system is not from there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import InputError, number, whole
from jleak.labels.counting import apportion, onto_simplex, whole_labels
from jleak.labels.demix import demix
from jleak.labels.dummies import differing, dummies, response
from jleak.labels.head import Head, checked, softmax_loss
from jleak.labels.noise import noise_variance
from jleak.labels.shooting import ABREAST, shoot
from jleak.tree import dot
from jleak.types import Key, LabelAttack, Params, Threat, View

AFTER = 20
"""Rounds after the horizon of trust has passed the last step."""

JITTER = 0.03
"""Standard deviation of the chance that tells the starts apart, in shares; falls to 0 on the way."""

NEAR = 0.1
"""How much above the least a start's loss may be to count still, as a share of the least."""

FLOOR = 1e-3
"""Least variance of a feature about its mean, as a share of its mean square."""


class Training(NamedTuple):
    """A simulated local training, step by step.

    Attributes:
      h: mean features.
      p: mean probabilities.
      spread: the images' features less their mean.
      update: sum of the gradients.
    """

    h: Float[Array, "steps width"]
    p: Float[Array, "steps n"]
    spread: Float[Array, "steps k width"]
    update: Params


class Seen(NamedTuple):
    """What the update shows.

    Attributes:
      update: all of it.
      layer: of the classifier.
      noise: variance of an entry of it, by the sums over classes, which would be 0.
      h, p, spread: as a `Training`'s, where the client's training ended.
    """

    update: Params
    layer: Head
    noise: Float[Array, ""]
    h: Float[Array, " width"]
    p: Float[Array, " n"]
    spread: Float[Array, "k width"]


def trajectory(
    threat: Threat,
    *,
    starts: int = 12,
    rounds: int = 2,
    images: int = 4,
    iterations: int = 200,
    dummy: str = "leaves",
) -> LabelAttack:
    """Label counts after local steps, from the whole update (module docstring); `demix` where there is one.

    Derived here. Costs `starts` times `rounds * steps + 20` local trainings on `images` images and twice
    `iterations` derivatives of one on one image, a victim: half a minute of a core (LeNet, 10 steps).

    Args:
      threat: what the attacker knows; its local steps and their rate.
      starts: guesses that are followed side by side.
      rounds: rounds until the next step is trusted.
      images: dummy images, two or more.
      iterations: of the fit at the end, in its first round; 0 for no fit.
      dummy: their name (`jleak.labels.dummies.DUMMIES`), of images that differ from each other.

    Raises:
      InputError: a number below its least, dummies unknown or all alike, a loss that is not softmax cross
        entropy; when called, an update that cannot be read or is not whole, a model without `features`.

    >>> from jleak.labels.example import example
    >>> threat, view = example([2, 0, 2, 0, 2, 2], steps=3, lr=0.5)
    >>> jax.jit(trajectory(threat, starts=2, iterations=20))(jax.random.key(0), view).tolist()
    [2, 0, 4]
    """
    softmax_loss(threat, "trajectory")
    whole("starts", starts)
    whole("rounds", rounds)
    whole("iterations", iterations, least=0)
    differing(dummy, images)
    number("lr", threat.lr, least=0)
    if threat.local_steps == 1:
        return demix(threat, dummy=dummy)

    def infer(key, view, known):
        x = dummies(threat, dummy, images)
        seen = at_the_end(threat, view, x)

        def one(key):
            shares, loss = follow(key, threat, view, x, seen, rounds)
            return shares, loss, simulate(threat, view, x, shares).p

        shares, losses, p = lax.map(one, jax.random.split(key, starts), batch_size=ABREAST)
        if iterations:
            shares, losses = shoot(threat, view, shares, p, iterations)
        return apportion(threat.batch * together(shares.mean(1), losses), threat.batch)

    return LabelAttack(infer)


def together(shares: Float[Array, "starts n"], losses: Float[Array, " starts"]) -> Float[Array, " n"]:
    """The starts' shares, averaged with weights that fall by 1 / e where a loss is `NEAR` above the least.

    A loss that is not finite weighs nothing, unless all are so.

    >>> together(jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0.1, jnp.inf])).tolist()
    [1.0, 0.0]
    """
    weights = jax.nn.softmax(-losses / (NEAR * losses.min()).clip(1e-12))
    return jnp.where(jnp.isfinite(weights).all(), weights, 1 / losses.size) @ shares


def at_the_end(threat: Threat, view: View, x: Float[Array, "k h w c"]) -> Seen:
    """What the update shows; `x` are the dummy images."""
    layer = checked(threat.model, view.update)
    whole_update(view)
    weights = jax.tree.map(lambda w, g: w - threat.lr * g, view.params["params"], view.update)
    h, p = response(threat.model, {**view.params, "params": weights}, x)
    return Seen(view.update, layer, noise_variance(layer), h.mean(0), p.mean(0), h - h.mean(0))


def whole_update(view: View) -> None:
    """Checks that the update is of all parameters.

    Raises:
      InputError: it is not.

    >>> whole_update(View({"params": {"head": 0.0}}, {"head": 1.0}))
    """
    missing = set(view.params["params"]) - set(view.update)
    if missing:
        raise InputError(
            f"trajectory follows the whole update, but that of {', '.join(sorted(missing))} is missing; "
            "use demix, which reads the classifier's alone"
        )


def simulate(
    threat: Threat, view: View, x: Float[Array, "k h w c"], shares: Float[Array, "steps n"]
) -> Training:
    """The local training on `x`, every image labelled with a step's shares."""
    start = view.params["params"]

    def step(carry, y):
        weights, total = carry

        def objective(w):
            h, p = response(threat.model, {**view.params, "params": w}, x)
            return -jnp.mean(jnp.log(p.clip(1e-30)) @ y), (h, p)

        g, (h, p) = jax.grad(objective, has_aux=True)(weights)
        weights = jax.tree.map(lambda w, u: w - threat.lr * u, weights, g)
        return (weights, jax.tree.map(jnp.add, total, g)), (h.mean(0), p.mean(0), h - h.mean(0))

    (_, update), (h, p, spread) = lax.scan(step, (start, jax.tree.map(jnp.zeros_like, start)), shares)
    return Training(h, p, spread, update)


def follow(
    key: Key, threat: Threat, view: View, x: Float[Array, "k h w c"], seen: Seen, rounds: int
) -> tuple[Float[Array, "steps n"], Float[Array, ""]]:
    """The shares of every step of the training that ends nearest to the client's, and its distance."""
    steps, n = threat.local_steps, threat.classes
    total = rounds * steps + AFTER
    size = dot(seen.update, seen.update)

    def one(carry, given):
        shares, best, least = carry
        i, k = given
        path = simulate(threat, view, x, shares)
        gap = jax.tree.map(jnp.subtract, path.update, seen.update)
        loss = dot(gap, gap) / size
        better = loss < least  # False for NaN
        best, least = jnp.where(better, shares, best), jnp.where(better, loss, least)
        trusted = (jnp.arange(steps) <= i // rounds)[:, None]
        guess = solved(trusted, path, seen, shares, threat.mini_batch)
        guess += JITTER * (1 - i / (0.7 * total)).clip(0) * jax.random.normal(k, guess.shape)
        guess = jax.vmap(lambda y: onto_simplex(y, 1.0))(guess)
        settled = (jnp.arange(steps) < i // rounds - 1)[:, None]
        guess = jnp.where(settled, whole_labels(guess, threat.mini_batch), guess)
        return (jnp.where(trusted, 0.5 * (shares + guess), guess), best, least), None

    first = jnp.full((steps, n), 1 / n)
    given = jnp.arange(total), jax.random.split(key, total)
    (_, best, least), _ = lax.scan(one, (first, first, jnp.array(jnp.inf)), given)
    return best, least


def solved(trusted, path: Training, seen: Seen, shares, mini: float) -> Float[Array, "steps n"]:
    """y_t = p_t - e_t, the e_t of least squares in the linear system of the module docstring.

    Errors are weighted as what they come from: `mini` images' features about their mean, and the noise;
    e_t is expected about p_t less the shares of all steps together.
    """
    h = jnp.where(trusted, path.h, seen.h)
    p = jnp.where(trusted, path.p, seen.p)
    spread = jnp.where(trusted[..., None], path.spread, seen.spread).reshape(-1, h.shape[1])
    w = shares.mean(0)
    expected = p - w
    doubt = jnp.mean(w * (1 - w)) / mini + 1e-3
    s = spread * jnp.sqrt(1 / (mini * p.shape[1] * seen.spread.shape[0]))
    rest = 0.01 * jnp.mean(jnp.sum(s * s, 0)) + FLOOR * jnp.mean(h * h) + seen.noise

    def white(z):  # (s^T s + rest)^-1 z
        return (z - s.T @ linalg.solve(s @ s.T + rest * jnp.eye(len(s)), s @ z)) / rest

    seen_by = white(h.T)
    normal = h @ seen_by + jnp.eye(len(h)) / doubt
    wanted = seen_by.T @ (seen.layer.kernel.T - h.T @ expected)
    if seen.layer.bias is not None:
        weight = 1 / (seen.noise + 1e-6)
        normal += weight
        wanted += weight * (seen.layer.bias - expected.sum(0))
    return p - expected - linalg.solve(normal, wanted)
