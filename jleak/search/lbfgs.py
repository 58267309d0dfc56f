"""L-BFGS that costs one evaluation a step.

optax's L-BFGS searches along a line inside a step. Under `vmap` all lanes of such a loop wait for the
slowest, and both branches of every decision are computed: several evaluations for one. Here a step proposes a
point, and the next step, which evaluates it, accepts it or goes part of the way: no lane waits for another.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from jleak import linalg
from jleak.check import InputError, whole
from jleak.tree import select

DECREASE = 1e-4
"""Armijo's constant: which share of the decrease that the slope promises a point must keep."""


class Pairs(NamedTuple):
    """The last steps and what they did to the gradient, in slots that are used in turns.

    Attributes:
      s, y: steps and changes of the gradient, a row each.
      sy, yy: their inner products s_i y_j and y_i y_j.
      count: pairs seen so far.
    """

    s: Float[Array, "memory size"]
    y: Float[Array, "memory size"]
    sy: Float[Array, "memory memory"]
    yy: Float[Array, "memory memory"]
    count: Int[Array, ""]


class Line(NamedTuple):
    """Where the search stands, and along which line it looks.

    Attributes:
      origin, level, uphill: the last accepted point, its value (infinite before the first) and gradient.
      direction: where it looks from there.
      length: how far along it the point lies that is evaluated next.
      pairs: the memory.
    """

    origin: Float[Array, " size"]
    level: Float[Array, ""]
    uphill: Float[Array, " size"]
    direction: Float[Array, " size"]
    length: Float[Array, ""]
    pairs: Pairs


def lbfgs(lr: float = 1.0, *, memory: int = 100) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with backtracking, one evaluation a step.

    Source: Liu and Nocedal, "On the limited memory BFGS method", Mathematical Programming 1989, in the
    compact form of Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices", ibid. 1994,
    theorem 2.2; Armijo's rule with quadratic interpolation (Nocedal and Wright, Numerical Optimization, 2006,
    section 3.5). Pairs without positive curvature are left out, points of non-finite value never accepted.

    Args:
      lr: the first trial's length in units of the direction, whose first one has length 1.
      memory: pairs that are remembered, each two copies of the point; 100 is that of DLG's code.

    Returns:
      A transformation whose `update(grads, state, params, value=...)` gives the move to the next trial.

    Raises:
      InputError: memory < 1; an update without `value=`.

    >>> import jax
    >>> tx, x = lbfgs(), jnp.array([3.0, -2.0])
    >>> state = tx.init(x)
    >>> for _ in range(30):
    ...     value, grad = jax.value_and_grad(lambda x: x[0] ** 2 + 100 * x[1] ** 2)(x)
    ...     move, state = tx.update(grad, state, x, value=value)
    ...     x += move
    >>> bool(abs(x).max() < 1e-3)
    True
    """
    whole("memory", memory)

    def init(params):
        flat, _ = ravel_pytree(params)
        rows, small, zero = jnp.zeros((memory, flat.size)), jnp.zeros((memory, memory)), jnp.zeros_like(flat)
        pairs = Pairs(rows, rows, small, small, jnp.array(0))
        return Line(flat, jnp.array(jnp.inf), zero, zero, jnp.array(0.0), pairs)

    def update(grads, state, params=None, *, value=None, **_):
        if value is None or params is None:
            raise InputError(
                "lbfgs needs the point and its value: call update(grads, state, point, value=...)"
            )
        (x, shaped), (g, _) = ravel_pytree(params), ravel_pytree(grads)
        first = ~jnp.isfinite(state.level)
        slope = state.direction @ state.uphill
        lower = value <= state.level + DECREASE * state.length * slope
        accepted = first | (lower & jnp.isfinite(g).all())
        pairs = remembered(state.pairs, x - state.origin, g - state.uphill, accepted & ~first)
        ahead = -inverse_hessian(pairs, g)
        ahead = jnp.where(ahead @ g < 0, ahead, -g)
        length = jnp.where(pairs.count > 0, lr, lr / jnp.maximum(jnp.linalg.norm(g), 1e-30))
        new = Line(x, value, g, ahead, length, pairs)
        old = state._replace(length=shorter(state, value, slope), pairs=pairs)
        after = select(accepted, new, old)
        return shaped(after.origin + after.length * after.direction - x), after

    return optax.GradientTransformationExtraArgs(init, update)


def shorter(line: Line, value: Float[Array, ""], slope: Float[Array, ""]) -> Float[Array, ""]:
    """Between a tenth and half of the length, where the parabola through what is known has its minimum."""
    t = line.length
    best = -slope * t**2 / (2 * (value - line.level - slope * t))
    return jnp.where(jnp.isfinite(best), jnp.clip(best, 0.1 * t, 0.5 * t), 0.1 * t)


def remembered(pairs: Pairs, s: Array, y: Array, told: Bool[Array, ""]) -> Pairs:
    """The pairs with (s, y) in place of the oldest, where it is told and curves upwards."""
    useful = told & (s @ y > 1e-10 * jnp.linalg.norm(s) * jnp.linalg.norm(y))
    slot = pairs.count % len(pairs.s)

    def put(rows, row):
        return rows.at[slot].set(jnp.where(useful, row, rows[slot]))

    new_s, new_y = put(pairs.s, s), put(pairs.y, y)
    sy = put(put(pairs.sy, new_y @ s).T, new_s @ y).T
    yy = put(put(pairs.yy, new_y @ y).T, new_y @ y)
    return Pairs(new_s, new_y, sy, yy, pairs.count + useful)


def inverse_hessian(pairs: Pairs, g: Float[Array, " size"]) -> Float[Array, " size"]:
    """H g of the compact form; g itself without a pair.

    With R the upper triangle of S Y^T in the order of time, D its diagonal, gamma = s y / y y of the last:
    H = gamma I + [S^T, gamma Y^T] [[R^-T (D + gamma Y Y^T) R^-1, -R^-T], [-R^-1, 0]] [S; gamma Y].
    """
    memory = len(pairs.s)
    order = (pairs.count + jnp.arange(memory)) % memory  # oldest first
    filled = order < pairs.count
    sy, yy = pairs.sy[order][:, order], pairs.yy[order][:, order]
    r = jnp.triu(sy) + jnp.diag(jnp.where(filled, 0.0, 1.0))
    gamma = jnp.where(pairs.count > 0, sy[-1, -1] / jnp.where(yy[-1, -1] > 0, yy[-1, -1], 1.0), 1.0)
    sg, yg = (pairs.s @ g)[order], gamma * (pairs.y @ g)[order]
    u = linalg.solve_triangular(r, sg)
    v = linalg.solve_triangular(r, jnp.diag(sy) * u + gamma * (yy @ u) - yg, trans="T")
    back = jnp.zeros(memory).at[order]
    return gamma * g + back.set(v) @ pairs.s - gamma * (back.set(u) @ pairs.y)
