"""From the inputs of an MLP's last layer down to the images, a layer at a time.

With Delta_k the residuals at the outputs of layer k (B x width), dW_k = Delta_k^T H_{k-1}; Delta follows from
the layer above, Delta_k = (Delta_{k+1} W_{k+1}) * act'(H_k), so every layer is one least-squares problem. It
has one solution where Delta_k has rank B, hence B <= width.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jleak.attacks.demixing.precision import smallest
from jleak.attacks.demixing.solve import TINY, Dense, Inverse, Residuals, inverse, relative, size

POLISH = 3
"""So often the masks of ReLU are taken anew from a forward pass of what was found."""

TAUS = tuple(10.0**-k for k in range(1, 15))
"""Mask thresholds tried, in units of the layer's root mean square."""

LEAK = 0.01
"""The slope of leaky ReLU below 0, as Flax has it."""


class Activation(NamedTuple):
    """An activation as peeling needs it.

    Attributes:
      value: z -> h.
      slope: `(h, tau) -> act'`, from the activation's value.
      kinked: whether the slope jumps, at h = tau.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array, Array | float], Array]
    kinked: bool


ACTIVATIONS = {
    "sigmoid": Activation(jax.nn.sigmoid, lambda h, tau: h * (1.0 - h), False),
    "tanh": Activation(jnp.tanh, lambda h, tau: 1.0 - h * h, False),
    "relu": Activation(jax.nn.relu, lambda h, tau: jnp.where(h > tau, 1.0, 0.0), True),
    "leaky_relu": Activation(
        lambda z: jnp.where(z > 0, z, LEAK * z), lambda h, tau: jnp.where(h > tau, 1.0, LEAK), True
    ),
}
"""The activations that peeling knows how to go through."""


class Peeled(NamedTuple):
    """Inputs of the lowest layer.

    Attributes:
      x: the inputs.
      residual: largest ||got - seen|| / ||seen|| of a weight's or a bias's gradient, computed from x.
      delta: d loss / d logits at x.
      error: expected error of an entry of each, from the noise in this layer.
      full: whether every layer's gradient determines its inputs.
      noise: the largest residual that noise as in the head's gradient would give in a layer.
    """

    x: Float[Array, "n in"]
    residual: Float[Array, ""]
    delta: Float[Array, "n out"]
    error: Float[Array, " n"]
    full: Bool[Array, ""]
    noise: Float[Array, ""]


def peel(
    chain: list[Dense],
    act: Activation,
    residuals: Residuals,
    h: Float[Array, "n in"],
    z: Float[Array, "n out"],
    sigma: Float[Array, ""],
) -> Peeled:
    """The images below the head's inputs h, its logits being z.

    Args:
      chain: the dense layers from the input to the head.
      act: the activation between them.
      residuals: `logits -> d loss / d logits`.
      h, z: what `ladder` found.
      sigma: noise of an entry of the head's gradient, taken where a layer is too narrow to tell its own.
    """
    delta, full = residuals(z), jnp.ones((), bool)
    for above, layer in zip(chain[:0:-1], chain[-2::-1], strict=True):
        delta = masked(layer, delta @ above.w, h, act)
        h, found = below(layer, delta, sigma)
        full = full & found.full
    candidates = [h]
    for _ in range(POLISH if act.kinked else 1):
        delta = backward(chain, act, residuals, candidates[-1])[1][0]
        candidates.append(below(chain[0], delta, sigma)[0])
    misses = jnp.stack([mismatch(chain, act, residuals, x) for x in candidates])
    x = jnp.stack(candidates)[smallest(misses)]
    _, deltas = backward(chain, act, residuals, x)
    error = sigma * jnp.sqrt(jnp.sum(inverse(deltas[0].T).matrix ** 2, axis=1))
    shares = [sigma * jnp.sqrt(1.0 * layer.dw.size) / (size(layer.dw) + TINY) for layer in chain]
    return Peeled(x, misses.min(), deltas[-1], error, full, jnp.stack(shares).max())


def masked(layer: Dense, arriving: Array, h: Array, act: Activation) -> Float[Array, "n out"]:
    """arriving * act'(h), a kink's threshold being the one that explains the layer's gradient best."""
    if not act.kinked:
        return arriving * act.slope(h, 0.0)

    def explained(tau):
        delta = arriving * act.slope(h, tau)
        u = inverse(delta.T).basis
        missed = relative(u @ (u.T @ layer.dw), layer.dw)
        return missed if layer.db is None else missed + relative(delta.sum(0), layer.db)

    taus = jnp.asarray((0.0, *TAUS), h.dtype) * size(h) / jnp.sqrt(1.0 * h.size)
    return arriving * act.slope(h, taus[smallest(jax.lax.map(explained, taus))])


def below(layer: Dense, delta: Float[Array, "n out"], sigma: Array) -> tuple[Float[Array, "n in"], Inverse]:
    """The layer's inputs by least squares, filtered at the noise: what delta cannot explain."""
    (n, out), inputs = delta.shape, layer.dw.shape[1]
    if out > n:
        u = inverse(delta.T).basis
        sigma = size(layer.dw - u @ (u.T @ layer.dw)) / jnp.sqrt(1.0 * (out - n) * inputs)
    scale = size(layer.dw) / (size(delta) + TINY) / jnp.sqrt(1.0 * inputs)
    found = inverse(delta.T, sigma / (scale + TINY))
    return found.matrix @ layer.dw, found


def backward(
    chain: list[Dense], act: Activation, residuals: Residuals, x: Float[Array, "n in"]
) -> tuple[list[Array], list[Array]]:
    """Every layer's inputs and its residuals Delta, at the images x."""
    inputs = [x]
    for layer in chain[:-1]:
        inputs.append(act.value(inputs[-1] @ layer.w.T + layer.b))
    deltas = [residuals(inputs[-1] @ chain[-1].w.T + chain[-1].b)]
    for layer, h in zip(chain[:0:-1], inputs[:0:-1], strict=True):
        deltas.insert(0, deltas[0] @ layer.w * act.slope(h, 0.0))
    return inputs, deltas


def mismatch(chain: list[Dense], act: Activation, residuals: Residuals, x: Array) -> Float[Array, ""]:
    """The certificate: how far the gradient at the images x is from the one seen, the worst tensor's."""
    inputs, deltas = backward(chain, act, residuals, x)
    found = [relative(delta.T @ h, layer.dw) for layer, h, delta in zip(chain, inputs, deltas, strict=True)]
    for layer, delta in zip(chain, deltas, strict=True):
        if layer.db is not None:
            found.append(relative(delta.sum(0), layer.db))
    return jnp.stack(found).max()
