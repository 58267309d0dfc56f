"""The inputs of a classifier's layer from its gradient: mean-field values, then the fixed point.

Derived here, after the claim of Eloul et al. (arXiv 2204.12495; WACV 2024) that cross entropy de-mixes a
batch. With A = (P - Y)^T / B the gradient is dW = A X, db = A 1, and P = softmax(X W^T + b) depends on X
through n numbers an image only: X = A^+ dW gives X W^T = A^+ (dW W^T), so the iteration

    Z -> A(Z)^+ (dW W^T) + b

of the logits Z needs dW W^T once, n x n, and no image. It takes any loss whose residuals A^T the attacker can
compute from logits and labels. Anderson's mixing (J. ACM 1965) speeds it up and damps it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jleak import linalg
from jleak.attacks.demixing.precision import smallest

MEMORY = 6
"""So many past points are mixed."""

RCOND = 1e-13
"""Singular values below this share of the largest count as zero, in double precision."""

TINY = 1e-300

Residuals = Callable[[Array], Array]
"""logits (n, out) -> d loss / d logits, for the labels at hand."""


class Dense(NamedTuple):
    """A dense layer and its gradient, one row an output.

    Attributes:
      dw, db: the gradient; db None without a bias.
      w, b: the layer; b zeros without a bias.
    """

    dw: Float[Array, "out in"]
    db: Float[Array, " out"] | None
    w: Float[Array, "out in"]
    b: Float[Array, " out"]


class Solved(NamedTuple):
    """The inputs of a classifier's layer.

    Attributes:
      x: the inputs.
      z: their logits, as the solution has them.
      residual: ||A x - dW|| / ||dW||, or that of db where larger, A being computed from x.
      consistency: B ||A(x W^T + b) - A(z)|| of each; for cross entropy a distance of probabilities.
      error: expected error of an entry of each, from the noise.
      full: whether the gradient determines all of x: no combination was cut off.
      noise: what the noise alone would give as residual.
    """

    x: Float[Array, "n in"]
    z: Float[Array, "n out"]
    residual: Float[Array, ""]
    consistency: Float[Array, " n"]
    error: Float[Array, " n"]
    full: Bool[Array, ""]
    noise: Float[Array, ""]


class Inverse(NamedTuple):
    """A filtered pseudo-inverse, the range's basis and whether nothing was filtered away."""

    matrix: Float[Array, "n out"]
    basis: Float[Array, "out n"]
    full: Bool[Array, ""]


def inverse(a: Float[Array, "out n"], r: Float[Array, ""] | float = 0.0) -> Inverse:
    """sum_k v_k s_k / (s_k^2 + r^2) u_k^T over the singular triples of a, r the noise over the signal.

    >>> print(inverse(jnp.array([[2.0, 0.0], [0.0, 0.0]])).matrix)
    [[0.5 0. ]
     [0.  0. ]]
    """
    u, s, vt = linalg.svd(a, full_matrices=False)
    kept = s > RCOND * s[0]
    factors = jnp.where(kept, s / (s * s + r * r + TINY), 0.0)
    full = (a.shape[0] >= a.shape[1]) & kept.all() & (s[-1] > 3.0 * r)
    return Inverse((vt.T * factors) @ u.T, u * kept, full)


def size(a: Array) -> Float[Array, ""]:
    """Euclidean norm."""
    return jnp.sqrt(jnp.sum(a * a))


def relative(got: Array, seen: Array) -> Float[Array, ""]:
    """||got - seen|| / ||seen||."""
    return size(got - seen) / (size(seen) + TINY)


def corrected(
    layer: Dense, y: Int[Array, " n"], prior: Float[Array, " in"]
) -> tuple[Float[Array, "n in"], Bool[Array, ""]]:
    """x_c = -(B / lambda_c) (dW_c - pbar_c xbar), pbar_c = db_c + lambda_c / B: exact if P has equal rows.

    xbar = sum dW_c / sum db_c over the classes that are absent. Where none is, or where they are given no
    probability, xbar is `prior`, and the x are right up to a common offset. A class that occurs more than
    once gives its mean. Without a bias pbar is that of `prior`.

    Returns:
      The x of each label, and whether xbar was found.
    """
    batch, classes = len(y), len(layer.dw)
    counts = jax.nn.one_hot(y, classes, dtype=layer.dw.dtype).sum(0)
    pbar = jax.nn.softmax(layer.w @ prior + layer.b) if layer.db is None else layer.db + counts / batch
    absent = jnp.where(counts == 0, 1.0, 0.0)
    mass = absent @ pbar
    found = mass > 1e-6
    xbar = jnp.where(found, absent @ layer.dw / jnp.where(found, mass, 1.0), prior)
    x = -(batch / counts.clip(1.0))[:, None] * (layer.dw - pbar[:, None] * xbar)
    return x[y], found


def fixed_point(
    layer: Dense, residuals: Residuals, start: Float[Array, "n out"], r: Float[Array, ""], steps: int
) -> Float[Array, "n out"]:
    """The logits of least change on the way from `start`; Anderson-mixed (module docstring)."""
    gram = layer.dw @ layer.w.T

    def image(z):
        return inverse(residuals(z).T, r).matrix @ gram + layer.b

    def step(carry, t):
        z, points, gaps, best, least = carry
        gap = (image(z) - z).ravel()
        better = size(gap) < least
        best, least = jnp.where(better, z, best), jnp.where(better, size(gap), least)
        points, gaps = (h.at[t % MEMORY].set(u) for h, u in ((points, z.ravel()), (gaps, gap)))
        seen = (jnp.arange(MEMORY) <= t)[:, None]
        d_gap, d_point = jnp.where(seen, gaps - gap, 0.0), jnp.where(seen, points - z.ravel(), 0.0)
        normal = d_gap @ d_gap.T
        ridge = (1e-10 * jnp.trace(normal) + TINY) * jnp.eye(MEMORY, dtype=z.dtype)
        mixed = linalg.solve(normal + ridge, d_gap @ gap) @ (d_point + d_gap)
        moved = z.ravel() + gap - jnp.where(jnp.isfinite(mixed).all(), mixed, 0.0)
        return (moved.reshape(z.shape), points, gaps, best, least), None

    history = jnp.zeros((MEMORY, start.size), start.dtype)
    carry = (start, history, history, start, jnp.full((), jnp.inf, start.dtype))
    (_, _, _, best, _), _ = lax.scan(step, carry, jnp.arange(steps))
    return best


def noise_of(layer: Dense) -> Float[Array, ""]:
    """Standard deviation of an entry's noise: what keeps the rows of dW from summing to zero.

    So for softmax cross entropy, whose residuals sum to zero (`jleak.labels.head.imbalance`).
    """
    return size(layer.dw.sum(0)) / jnp.sqrt(1.0 * layer.dw.size)


def noise_beyond(layer: Dense, n: int) -> Float[Array, ""]:
    """The same under any loss: what a sum of n outer products leaves, at as many outputs 0.

    >>> flat = Dense(jnp.diag(jnp.array([3.0, 2.0, 0.3])), None, jnp.zeros((3, 3)), jnp.zeros(3))
    >>> round(float(noise_beyond(flat, 2)), 4), float(noise_beyond(flat, 3))
    (0.3, 0.0)
    """
    left = linalg.svd(layer.dw, compute_uv=False)[n:]
    room = (layer.dw.shape[0] - n) * (layer.dw.shape[1] - n)
    return size(left) / jnp.sqrt(1.0 * room) if left.size else jnp.zeros((), layer.dw.dtype)


def judged(layer: Dense, residuals: Residuals, x: Array, z: Array, found: Inverse, sigma: Array) -> Solved:
    """The certificate of inputs x: how far they explain the gradient, and agree with the logits z."""
    own = residuals(x @ layer.w.T + layer.b)
    residual = relative(own.T @ x, layer.dw)
    if layer.db is not None:
        residual = jnp.maximum(residual, relative(own.sum(0), layer.db))
    error = sigma * jnp.sqrt(jnp.sum(found.matrix**2, axis=1))
    consistency = len(x) * jnp.sqrt(jnp.sum((own - residuals(z)) ** 2, axis=1))
    floor = sigma * jnp.sqrt(1.0 * layer.dw.size) / (size(layer.dw) + TINY)
    return Solved(x, z, residual, consistency, error, found.full, floor)


def ladder(
    layer: Dense,
    residuals: Residuals,
    x: Float[Array, "n in"],
    jitter: Float[Array, "starts n out"],
    steps: int,
    sigma: Float[Array, ""],
) -> Solved:
    """The fixed point from `1 + len(jitter)` starts about the inputs x; what explains the gradient best.

    The starts beyond the first are moved by `jitter`, in units of a fifth of the inputs' scale: images of one
    class are apart there, and the fixed point can separate them. From the first it cannot. x itself is kept
    where nothing is better. Entries of the gradient have noise of standard deviation sigma.
    """
    z = x @ layer.w.T + layer.b
    scale = size(layer.dw) / (size(residuals(z)) + TINY) / jnp.sqrt(1.0 * x.shape[1])
    r = sigma / (scale + TINY)
    moves = 0.2 * scale * jnp.sqrt(jnp.sum(layer.w**2, axis=1)) * jitter

    def run(start):
        end = fixed_point(layer, residuals, start, r, steps)
        found = inverse(residuals(end).T, r)
        return judged(layer, residuals, found.matrix @ layer.dw, end, found, sigma)

    runs = jax.vmap(run)(jnp.concatenate([z[None], z + moves]))
    first = judged(layer, residuals, x, z, inverse(residuals(z).T, r), sigma)
    runs = jax.tree.map(lambda u, v: jnp.concatenate([u, v[None]]), runs, first)
    return jax.tree.map(lambda u: u[smallest(runs.residual)], runs)
