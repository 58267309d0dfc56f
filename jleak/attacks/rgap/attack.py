"""The recursion of R-GAP, from the head to the image."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jleak import linalg
from jleak.attacks.closed import reconstruction
from jleak.attacks.demixing.certificate import NOISE, OPEN, RESIDUAL, first, unmasked
from jleak.attacks.demixing.precision import in_double, smallest
from jleak.attacks.rgap.layer import (
    ACTIVATIONS,
    Invertible,
    Layer,
    at,
    bias_of,
    columns,
    layers,
    spread,
    stages,
    weights,
)
from jleak.check import InputError
from jleak.losses import cross_entropy
from jleak.tree import norm
from jleak.types import Attack, Certificate, Key, Params, Reconstruction, Status, Threat, View

REFINE = 10
"""So often a least-squares solution is corrected."""

FLOOR = 1e-13
"""Added to the normal equations, in units of their largest row sum; the corrections take it out again."""

SCAN = 2048
"""So many intervals are searched for the scale of a head without bias."""

TINY = 1e-300


class Top(NamedTuple):
    """The head's input and residual.

    Attributes:
      h: the input.
      k: d loss / d logits.
      sigma: noise of an entry of the update.
    """

    h: Float[Array, " width"]
    k: Float[Array, " classes"]
    sigma: Float[Array, ""]


class Solution(NamedTuple):
    """What the recursion ends with.

    Attributes:
      x: the image.
      y: its label.
      error: the expected error of a pixel; `OPEN` and more where the layers leave the image open.
      sigma: noise of an entry of the update.
      masked: whether entries of the head's gradient were removed.
    """

    x: Float[Array, " in"]
    y: Int[Array, ""]
    error: Float[Array, ""]
    sigma: Float[Array, ""]
    masked: Bool[Array, ""]


def rgap(threat: Threat) -> Attack:
    """R-GAP: the image behind one gradient of a small sequential network, without optimisation.

    The head's bias gradient is its residual k, and dW = h k^T gives its input h; without a bias the scale of
    k is the root of softmax(W h) - e_y = k in one unknown. Then, from the head down: z is the activation's
    inverse at h, k goes through the layer above, and the input x of the layer solves K x = dW and A x = z - b
    by least squares (`layer`), in double precision. Where these do not determine x (`ranks`), what they leave
    open stays at the prior mean: mid-grey for the image.

    Source: Zhu and Blaschko, "R-GAP: Recursive Gradient Attack on Privacy", ICLR 2021, there for binary
    logistic loss and layers without bias. Derived here: softmax cross entropy without a bias; any loss and
    any factor on the update with one; rows weighted by their expected errors, so that noise is damped.

    Noise is amplified from layer to layer by the condition of the systems (`Rank.condition`): read the loss.

    Args:
      threat: what the attacker knows.

    Returns:
      An attack; the image clipped to [0, 1]; its loss is the relative distance of the update at this image
      from the one seen, and by it goes its certificate (`certificate`).

    Raises:
      InputError: more than one image; a model that declares no sequence of layers, or one whose activation
        has no inverse (ReLU, GELU); a head without bias under another loss than cross entropy.

    >>> from jleak.clients import fedsgd
    >>> from jleak.models import lenet
    >>> from jleak.types import Batch
    >>> model = lenet((8, 8, 1), 10)
    >>> client, params = fedsgd(model, cross_entropy), model.init(jax.random.key(0))
    >>> batch = Batch(jax.random.uniform(jax.random.key(1), (1, 8, 8, 1)), jnp.array([2]))
    >>> view = View(params, client(jax.random.key(2), params, batch))
    >>> found = jax.jit(rgap(Threat(client=client, model=model)))(jax.random.key(3), view)
    >>> bool(abs(found.x - batch.x).max() < 1e-3), found.y.tolist()
    (True, [2])
    """
    if threat.batch != 1:
        raise InputError(
            f"rgap recovers a single image, got batch={threat.batch}; use batch=1 or attack=demixing"
        )
    act = ACTIVATIONS[threat.model.activation] if len(stages(threat.model)) > 1 else None

    def attack(key: Key, view: View) -> Reconstruction:
        head = at(view.update, threat.model.head)
        if "bias" not in head and threat.loss not in (None, cross_entropy):
            raise InputError(
                "rgap finds the residual of a head without bias from softmax cross entropy alone; give the "
                "head a bias, or use loss=cross_entropy"
            )
        update = jax.tree.map(lambda u: u / threat.local_steps, view.update)
        eps = float(jnp.finfo(head["kernel"].dtype).eps)

        def solve(parameters, update, bias):
            return recursion(threat, act, eps, layers(threat.model, parameters, update), bias)

        found = in_double(solve)(view.params, update, at(update, threat.model.head).get("bias"))
        y = found.y[None] if view.labels is None else view.labels
        rec = reconstruction(threat, key, view, jnp.clip(found.x, 0.0, 1.0).reshape(threat.shape), y)
        return rec._replace(certificate=certificate(rec, found, update, eps))

    return attack


def certificate(rec: Reconstruction, found: Solution, update: Params, eps: float) -> Certificate:
    """Proven where the layers determine the image and its update is the one seen, up to rounding.

    Args:
      rec: the image, its loss the relative distance of its update from the one seen.
      found: what it came from.
      update: of one local step.
      eps: of the update's type.
    """
    entries = sum(leaf.size for leaf in jax.tree.leaves(update))
    floor = found.sigma * jnp.sqrt(1.0 * entries) / norm(update)
    rules = [
        (~jnp.isfinite(rec.loss), Status.UNREADABLE),
        (found.masked, Status.MASKED),
        (found.error >= OPEN, Status.RANK_DEFICIENT),
        (rec.loss <= RESIDUAL * eps, Status.PROVEN),
        (rec.loss <= NOISE * floor, Status.NOISY),
    ]
    return Certificate(first(rules, 1), rec.loss, jnp.zeros(1))


def recursion(
    threat: Threat, act: Invertible | None, eps: float, parts: list[Layer], db: Array | None
) -> Solution:
    """The image and what is known of it; NaN where the update is not finite."""
    readable = jnp.stack([jnp.isfinite(part.dw).all() for part in parts]).all()
    parts = [part._replace(dw=jnp.where(jnp.isfinite(part.dw), part.dw, 0.0)) for part in parts]
    head = parts[-1]
    top = biased(head, db, eps) if db is not None else unbiased(head, act, eps)
    y = label(threat, head, top)
    h, k, error = top.h, top.k, top.sigma / (size(top.k) + TINY)
    for above, part in zip(parts[:0:-1], parts[-2::-1], strict=True):
        k = (k @ weights(above)) * act.slope(h)
        middle, width = (0.5, 0.3) if part is parts[0] else (act.value(jnp.zeros((), h.dtype)), 1.0)
        h, error = below(part, act, h, k, error, top.sigma, eps, middle, width)
    whole = unmasked(head.dw[0, 0])
    return Solution(h + jnp.where(readable, 0.0, jnp.nan), y, error, top.sigma, ~whole)


def biased(head: Layer, db: Float[Array, " classes"], eps: float) -> Top:
    """db is the residual; the input is the least-squares solution of dW = h k^T."""
    k = jnp.where(jnp.isfinite(db), db, 0.0)
    dw = head.dw[0, 0]
    h = dw @ k / (k @ k + TINY)
    return Top(h, k, noise(dw - jnp.outer(h, k), dw, eps))


def unbiased(head: Layer, act: Invertible | None, eps: float) -> Top:
    """dW = h k^T gives both up to a scale c, on which softmax(W h) - e_y = k must agree.

    With u, v of length one and dW = s v u^T: k = c u, h = s v / c, and y is the least entry of c u. The entry
    of y is one equation in c; of its roots in (-1 / |u_y|, 1 / |u_y|) the one that fits all entries best, and
    whose h the activation (or an image) can take. With two classes the entries are one equation, and what the
    activation leaves open stays so (the twins of Zhu and Blaschko).
    """
    dw, w = head.dw[0, 0], head.kernel[0, 0]
    left, sizes, right = linalg.svd(dw, full_matrices=False)
    u, v, s = right[0], left[:, 0], sizes[0]
    z = s * (v @ w)
    steps = jax.nn.sigmoid(jnp.linspace(-30.0, 30.0, SCAN + 1, dtype=dw.dtype))

    def gaps(c):
        y = jax.nn.one_hot(smallest(c * u), len(u), dtype=dw.dtype)
        return jax.nn.softmax(z / c) - y - c * u, y

    def gap(c):
        found, y = gaps(c)
        return found @ y

    def root(low, high):
        first = jnp.sign(gap(low))

        def halve(_, ends):
            low, high = ends
            middle = 0.5 * (low + high)
            same = jnp.sign(gap(middle)) == first
            return jnp.where(same, middle, low), jnp.where(same, high, middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
        return 0.5 * (low + high)

    grid = jnp.concatenate([sign * steps / jnp.abs(u[smallest(sign * u)]) for sign in (1.0, -1.0)])
    ends = jnp.stack([grid[:-1], grid[1:]])
    within = jnp.sign(ends[0]) == jnp.sign(ends[1])
    roots = jnp.where(within, jax.vmap(root)(*ends), ends[0])

    def miss(c):
        h = s * v / c
        taken = jnp.clip(h, 0.0, 1.0) if act is None else act.value(act.inverse(h))
        return size(gaps(c)[0]) / jnp.abs(c) + size(h - taken) / size(h)

    c = roots[smallest(jax.vmap(miss)(roots))]
    h, k = s * v / c, c * u
    return Top(h, k, noise(dw - jnp.outer(h, k), dw, eps))


def noise(left: Float[Array, "in out"], dw: Float[Array, "in out"], eps: float) -> Float[Array, ""]:
    """Standard deviation of an entry: what a gradient of rank one leaves, at least rounding."""
    return jnp.maximum(size(left), eps * size(dw)) / jnp.sqrt(1.0 * dw.size)


def label(threat: Threat, head: Layer, top: Top) -> Int[Array, ""]:
    """The class whose residual at the logits found points as the one seen."""
    z = top.h @ head.kernel[0, 0] + head.bias
    loss = threat.loss or cross_entropy

    def fit(y):
        found = jax.grad(lambda z: loss(z[None], y[None]))(z)
        return found @ top.k / (size(found) * size(top.k) + TINY)

    return smallest(-jax.vmap(fit)(jnp.arange(threat.classes)))


def size(a: Array) -> Float[Array, ""]:
    """Euclidean norm."""
    return jnp.sqrt(jnp.sum(a * a))


def below(
    layer: Layer,
    act: Invertible,
    h: Float[Array, " out"],
    k: Float[Array, " out"],
    error: Float[Array, ""],
    sigma: Float[Array, ""],
    eps: float,
    middle: Float[Array, ""] | float,
    width: float,
) -> tuple[Float[Array, " in"], Float[Array, ""]]:
    """The layer's input, and the expected error of an entry of it.

    Every constraint counts by its expected error: `sigma` of the update, `error` of h (and with it of k).
    The input is believed to be within `width` of `middle` beforehand.
    """
    a, ks, dw = weights(layer), spread(layer, k), columns(layer)
    scale, channels = size(h) / jnp.sqrt(1.0 * h.size) + TINY, layer.shape[2]
    error = jnp.maximum(error, eps * scale)
    unsure = jnp.maximum(sigma, error / scale * size(dw) / jnp.sqrt(1.0 * dw.size)) + TINY
    rows, seen = act.slope(h) / error, act.inverse(h) - bias_of(layer)
    inner = jnp.einsum("pq,cd->pcqd", ks @ ks.T / unsure**2, jnp.eye(channels, dtype=h.dtype))
    normal = inner.reshape(a.shape[1], -1) + (a.T * rows**2) @ a
    shift = FLOOR * jnp.abs(normal).sum(1).max()
    identity = jnp.eye(len(normal), dtype=h.dtype)
    factor = linalg.cholesky(normal + (shift + width**-2) * identity)

    def refine(_, x):
        missed = ks @ (dw - ks.T @ x.reshape(-1, channels)) / unsure**2
        pull = missed.ravel() + a.T @ (rows**2 * (seen - a @ x)) - (x - middle) / width**2
        return x + linalg.cho_solve(factor, pull)

    x = jax.lax.fori_loop(0, REFINE, refine, jnp.full(a.shape[1], middle, h.dtype))
    spreads = jnp.diagonal(linalg.cho_solve(factor, identity))
    return x, jnp.sqrt(jnp.mean(spreads))
