"""Independent components: whitening, unmixing matrices, and what a good one looks like."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jleak import linalg
from jleak.attacks.closed import first_layer
from jleak.attacks.demixing.certificate import RESIDUAL
from jleak.check import InputError
from jleak.types import Threat, View


class Whitened(NamedTuple):
    """The mixtures in a layer's gradient, reduced to as many as there are images, centred and white.

    Attributes:
      x: the white mixtures, of mean 0, variance 1 and no correlation.
      mean: what centring took from each.
      one: what the same mixture makes of images of ones (the bias's gradient); None without a bias.
      back: from these to the rows of the gradient.
      full: whether there are as many mixtures as images.
    """

    x: Float[Array, "n in"]
    mean: Float[Array, " n"]
    one: Float[Array, " n"] | None
    back: Float[Array, "out n"]
    full: Bool[Array, ""]


def whiten(threat: Threat, view: View) -> Whitened:
    """The first dense layer's gradient in its first B principal components.

    Raises:
      InputError: there are fewer.
    """
    layer = first_layer(threat, view.update)
    mixtures = jnp.where(jnp.isfinite(layer["kernel"]), layer["kernel"], 0.0).T
    n, (out, inputs) = threat.batch, mixtures.shape
    if n > min(out, inputs):
        raise InputError(
            f"cocktail_party separates at most {min(out, inputs)} images in a layer of {inputs} inputs and "
            f"{out} outputs, got batch={n}; use a smaller batch or attack=inverting"
        )
    mean = mixtures.mean(1)
    left, sizes, right = linalg.svd(mixtures - mean[:, None], full_matrices=False)
    sizes, root = sizes[:n], jnp.sqrt(1.0 * inputs)
    full = sizes[-1] > RESIDUAL * jnp.finfo(sizes.dtype).eps * sizes[0]
    to = (left[:, :n] * jnp.where(sizes > 0, root / jnp.where(sizes > 0, sizes, 1.0), 0.0)).T
    bias = layer.get("bias")
    one = None if bias is None else to @ jnp.where(jnp.isfinite(bias), bias, 0.0)
    return Whitened(root * right[:n], to @ mean, one, left[:, :n] * sizes / root, full)


def unit(point: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Rows of length one.

    >>> unit(jnp.array([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    point = point / jnp.maximum(jnp.abs(point).max(1, keepdims=True), 1e-30)
    return point / jnp.maximum(jnp.linalg.norm(point, axis=1, keepdims=True), 1e-30)


def fixed_point(z: Float[Array, "n in"], point: Float[Array, "n n"], iterations: int) -> Float[Array, "n n"]:
    """FastICA with log cosh, all rows at once, from an orthogonal matrix to another one.

    U <- E[tanh(s) z^T] - diag(E[1 - tanh^2 s]) U, then U <- (U U^T)^(-1/2) U (Hyvarinen, IEEE Transactions on
    Neural Networks 1999, equations 20 and 45).
    """

    def improve(_, u):
        t = jnp.tanh(u @ z)
        moved = t @ z.T / z.shape[1] - (1.0 - t * t).mean(1)[:, None] * u
        left, _, right = linalg.svd(moved, full_matrices=False)
        return left @ right

    return jax.lax.fori_loop(0, iterations, improve, point)


def negentropy(s: Float[Array, "n in"]) -> Float[Array, ""]:
    """mean_i (E log cosh s_i)^2: high for spread-out components of variance one.

    >>> bool(negentropy(jnp.array([[-1.0, 1.0]])) > negentropy(jnp.array([[-2.0, 0, 0, 0, 0, 0, 0, 2.0]])))
    True
    """
    log_cosh = jnp.logaddexp(s, -s) - jnp.log(2.0)
    return jnp.mean(log_cosh.mean(1) ** 2)


def dependence(u: Float[Array, "n n"], temperature: float) -> Float[Array, ""]:
    """mean_{i != j} exp(T |cos(u_i, u_j)|) - 1; 0 for orthogonal rows.

    >>> round(float(dependence(jnp.ones((2, 1)), 1.0)), 4)
    1.7183
    """
    n = len(u)
    apart = jnp.expm1(temperature * jnp.abs(u @ u.T)) * (1.0 - jnp.eye(n))
    return apart.sum() / max(n * (n - 1), 1)


def gains(mixed: Whitened, u: Float[Array, "n n"]) -> Float[Array, " n"]:
    """What a pixel of value 1 is in each component: by the bias, else by the largest pixel."""
    if mixed.one is not None:
        return u @ mixed.one
    x = u @ mixed.x + (u @ mixed.mean)[:, None]
    sign = jnp.where(x.mean(1) < 0, -1.0, 1.0)
    return sign * (sign[:, None] * x).max(1)


def outside(s: Float[Array, "n in"], gain: Float[Array, " n"], mean: Float[Array, " n"]) -> Float[Array, ""]:
    """Mean square of how far pixels are outside of [0, 1], in units of s."""
    x = (s + mean[:, None]) * jnp.where(gain < 0, -1.0, 1.0)[:, None]
    over = jax.nn.relu(x - jnp.abs(gain)[:, None])
    return jnp.mean(jax.nn.relu(-x) ** 2 + over**2)
