"""De-mixed label counts: features, probabilities and counts of every class, recovered together.

Derived here; the nearest published relative is iLRG (Ma et al., "Instance-wise Batch Label Restoration via
Gradients in Federated Learning", ICLR 2023), which divides dW_c by db_c instead of solving for H and never
corrects its P. For a batch with shares w_k = lambda_k / N and class means P_k of the probabilities, H_k of
the features, the classifier's gradient is

    [dW, db] = A [H, 1],    A_ck = w_k (P_kc - [c = k]).

Given A, least squares gives H, near the common features h; given H, P_k = E softmax(W (H_k + delta) + b),
with delta the spread of single images about their class; given P, db = A 1 gives w. Iterated from H = h.
Only the update and the model are needed: delta comes from dummy images, h from the update (all rows of dW
are nearly multiples of it) and, the more the noisier the update, from the dummies. At last the shares are the
mean of their posterior (`jleak.labels.posterior`): with every class in the batch the update does not show h.

Every H_k is h plus a combination of the rows of dW - db h, so all that the iteration needs of them are their
products with W and dW: n x n numbers. Over local steps, P is averaged along the straight line that the
classifier went, from W to W - lr sum_t dW_t, which the update itself shows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak import linalg
from jleak.check import number, whole
from jleak.labels.counting import apportion
from jleak.labels.counts import bias_gradient
from jleak.labels.dummies import differing, dummies, response
from jleak.labels.head import Head, checked, head, logits, softmax_loss
from jleak.labels.noise import noise_variance
from jleak.labels.posterior import Classes, posterior
from jleak.types import LabelAttack, Threat, View

MOMENTS = 16
"""At most so many moments of the local training are looked at."""

FLOOR = 1e-4
"""Ridge, as a share of ||A||^2: chosen among 1e-6 to 1e-2 on trained models, CIFAR-10, B = 8 and 128."""

NEGATIVE = 0.05
"""Negative shares that count as rounding, as a share of the probabilities (in the norm)."""

MIXING = 3.0
"""Weight of the images' own deviations in the estimate of the common features: 1 is the variance of p - y at
uniform p; chosen among seven values up to 30 on ten models trained on CIFAR-10 (seed 7000) and untrained ones
on faces (bench/NOTES.md)."""


class Dummy(NamedTuple):
    """What dummy images tell of the features.

    Attributes:
      mean: mean features.
      spread: single images' deviation from it.
    """

    mean: Float[Array, " width"]
    spread: Float[Array, "k width"]


def demix(
    threat: Threat, *, steps: int = 30, images: int = 32, dummy: str = "leaves", clipped: bool = False
) -> LabelAttack:
    """Label counts without auxiliary data; on trained models best where a class is absent from the batch.

    The fixed point of the module docstring, damped by a half, then the posterior's mean. Derived here.

    Args:
      threat: what the attacker knows.
      steps: iterations.
      images: dummy images, two or more.
      dummy: their name (`jleak.labels.dummies.DUMMIES`), of images that differ from each other.
      clipped: whether the client may have scaled its update down (`clip`, `dp_sgd`): the scale is then the
        least that leaves hardly a share negative (`scale`). Costs success where nothing was clipped.

    Raises:
      InputError: steps below one, images below two, dummies unknown or all alike, a loss that is not softmax
        cross entropy; at calibration, a model without `features`.

    >>> from jleak.labels.example import example
    >>> threat, view = example([0, 2, 2, 2, 2])
    >>> jax.jit(demix(threat))(jax.random.key(0), view).tolist()
    [1, 0, 4]
    """
    softmax_loss(threat, "demix")
    whole("steps", steps)
    differing(dummy, images)
    number("lr", threat.lr, least=0)

    def calibrate(view: View) -> Dummy:
        features = response(threat.model, view.params, dummies(threat, dummy, images)).features
        mean = features.mean(0)
        return Dummy(mean, features - mean)

    def infer(key, view, known):
        layer = head(threat.model, view.params["params"])
        seen = scaled(checked(threat.model, view.update), threat, known)
        if clipped:
            s = scale(seen, layer, known, threat.batch)
            seen = seen._replace(
                dw=seen.dw / s, db=seen.db / s, noise=seen.noise / s**2, error=seen.error / s**2
            )
        found = iterate(seen, layer, known, threat, steps)
        shares = posterior(seen.db, seen.error, found, threat.batch)
        return apportion(threat.batch * shares, threat.batch)

    return LabelAttack(infer, calibrate)


def share(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Positive parts, scaled to sum to one; all zeros where there are none.

    >>> share(jnp.array([3.0, -2.0, 1.0])).tolist()
    [0.75, 0.0, 0.25]
    """
    x = jnp.maximum(x, 0.0)
    return x / x.sum().clip(1e-12)


class Seen(NamedTuple):
    """The update's mean gradient, cleaned of what cannot be signal.

    Attributes:
      dw, db: of the mean over local steps; columns sum to zero over classes.
      noise: variance of an entry, estimated from the columns' sums.
      h: the common features.
      error: variance of the noise on an entry of db, after what dW tells of it.
      doubt: error of h, as a share of the variance of dummy images' features.
    """

    dw: Float[Array, "n width"]
    db: Float[Array, " n"]
    noise: Float[Array, ""]
    h: Float[Array, " width"]
    error: Float[Array, ""]
    doubt: Float[Array, ""]


def scaled(update: Head, threat: Threat, known: Dummy) -> Seen:
    """The mean gradient with sum_c = 0 enforced; what had to be removed tells the noise.

    In dW_c = db_c h + (1/N) sum_i (p_ic - y_ic) delta_i, the second term hides h as a noise does, the more
    so the smaller db is.
    """
    mean = jax.tree.map(lambda u: u / threat.local_steps, update)
    dw, db = mean.kernel, bias_gradient(mean, known.mean.sum())
    n = db.size
    dw, db = dw - dw.mean(0), db - db.mean()
    prior = jnp.mean(known.spread**2)
    noise = noise_variance(mean).clip(1e-12 * prior)
    mixing = noise + MIXING * prior * (1 - 1 / n) / (n * threat.batch)

    def refine(carry, _):
        h, best = carry
        seen = dw @ h / (h @ h)  # dW_c ~ db_c h
        doubt = (noise + prior * jnp.mean(best**2)) / (h @ h)
        best = (doubt * db + noise * seen) / (doubt + noise)
        h = (best @ dw * prior + known.mean * mixing) / (best @ best * prior + mixing)
        return (h, best), doubt * noise / (doubt + noise)

    (h, db), errors = lax.scan(refine, (known.mean, db), length=5)
    return Seen(dw, db, noise, h, errors[-1], mixing / (db @ db * prior + mixing))


def scale(seen: Seen, layer: Head, known: Dummy, total: int) -> Float[Array, ""]:
    """By what an update was scaled down, as far as it shows: shares p - db / s must not be negative.

    The least s at which the negative ones are no larger than `NEGATIVE` and what the noise makes of absent
    classes: half of its variance each, of n (1 - 1/n)^N of them. Exact where a class that the model gives
    some probability is absent, too small where every class is there; 1 where no s fits. Derived here.
    """
    n = seen.db.size
    p = jax.nn.softmax(logits(layer, seen.h + known.spread)).mean(0)
    candidates = jnp.geomspace(1e-4, 1.0, 200)
    noise = 0.5 * n * (1 - 1 / n) ** total * seen.error
    left = jax.vmap(lambda s: jnp.sum(jnp.maximum(seen.db - s * p, 0.0) ** 2))(candidates)
    fits = left <= (NEGATIVE * candidates) ** 2 * (p @ p) + noise
    return jnp.where(fits.any(), candidates[jnp.argmax(fits)], 1.0)


def iterate(seen: Seen, layer: Head, known: Dummy, threat: Threat, steps: int) -> Classes:
    """The fixed point of the module docstring."""
    n = seen.db.size
    b = jnp.zeros(n) if layer.bias is None else layer.bias
    last = threat.local_steps - 1
    moves = threat.lr * jnp.linspace(0.0, last, min(threat.local_steps, MOMENTS))  # W_t = W - move dW
    spread = known.spread @ layer.kernel.T, known.spread @ seen.dw.T
    common = layer.kernel @ seen.h, seen.dw @ seen.h
    gram = seen.dw @ layer.kernel.T, seen.dw @ seen.dw.T

    def probabilities(mix, part):
        """softmax(W_t (part h + mix dW + delta) + b_t) by class and image, of all steps."""
        z, moved = (part[:, None] * common[i] + mix @ gram[i] for i in (0, 1))

        def at(move):
            base = z - move * moved + b - move * seen.db
            return jax.nn.softmax(base[:, None] + spread[0] - move * spread[1])

        return jax.vmap(at, out_axes=1)(moves).reshape(n, -1, n)

    prior = jnp.mean(known.spread**2)

    def mixed(p, w):
        """The features of every class as a sum of rows of dW and of h: the weights of both."""
        a = (w[:, None] * (p - jnp.eye(n))).T
        ridge = FLOOR * jnp.sum(a * a) + seen.noise / prior
        mix = linalg.solve(a.T @ a + ridge * jnp.eye(n), a.T)
        return mix, 1.0 - mix @ a.sum(1)

    def one(carry, _):
        p, w = carry
        p = 0.5 * p + 0.5 * probabilities(*mixed(p, w)).mean(1)
        w = 0.5 * w + 0.5 * share(w @ p - seen.db)
        return (p, w), None

    p = probabilities(jnp.zeros((n, n)), jnp.ones(n)).mean(1)
    w = share(p[0] - seen.db)
    (p, w), _ = lax.scan(one, (p, w), length=steps)
    mix, part = mixed(p, w)
    doubt = seen.doubt * spread[0].T @ spread[0] / len(spread[0])
    return Classes(w, probabilities(mix, part), part, doubt)
