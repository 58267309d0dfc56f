"""Gradient optimisers by name; what is put before and after them; learning rate schedules."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from jleak.check import InputError, number, one_of, whole
from jleak.search.lbfgs import lbfgs
from jleak.tree import draws

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "sgd": lambda lr: optax.sgd(lr, momentum=0.9),
    "lbfgs": lbfgs,
}
"""name -> `lr -> optax.GradientTransformation`: optax's, `sgd` with momentum 0.9; `jleak.search.lbfgs`."""


def optimizer(
    name: str,
    lr: optax.ScalarOrSchedule,
    *,
    sign: str = "none",
    steps: int | None = None,
    noise: float | None = None,
) -> optax.GradientTransformation:
    """The optimiser of that name at a learning rate or schedule.

    Args:
      name: one of `OPTIMIZERS`.
      lr: learning rate, or a schedule `step -> learning rate`; `lbfgs` finds its lengths itself and takes the
        schedule's first value.
      sign: what it is fed: `"none"`, the gradient; `"hard"`, its sign (Geiping et al., NeurIPS 2020);
        `"soft"`, see `soft_sign`.
      steps: the budget; only the soft sign needs it.
      noise: Langevin noise on its updates (`langevin`), None for none. Its `update` then needs `key=`.

    Raises:
      InputError: unknown name or sign, a soft sign without steps.

    >>> tx = optimizer("adam", 0.1, sign="hard")
    >>> updates, _ = tx.update(jnp.array([1e-9, -5.0]), tx.init(jnp.zeros(2)))
    >>> [round(float(u), 3) for u in updates]
    [-0.1, 0.1]
    """
    factory = OPTIMIZERS[one_of("optimizer", name, OPTIMIZERS)]
    tx = factory(lr(0) if factory is lbfgs and callable(lr) else lr)
    one_of("sign", sign, ("none", "hard", "soft"))
    before = {"none": [], "hard": [optax.scale_by_sign()], "soft": []}[sign]
    if sign == "soft":
        before = [soft_sign(whole("steps", steps, hint="the soft sign hardens over the budget: give steps="))]
    after = [] if noise is None else [langevin(noise, lr)]
    return optax.chain(*before, tx, *after) if before or after else tx


class Count(NamedTuple):
    """Updates made so far."""

    count: Int[Array, ""]


def soft_sign(steps: int) -> optax.GradientTransformation:
    """tanh(s g) / s with s = 1 - t / steps at step t: bounded by 1 at first, the gradient itself at last.

    Source: Geiping et al., breaching, `signed: soft` (the attack `modern`). From `steps` on, s stays there.

    Raises:
      InputError: steps < 1.

    >>> tx = soft_sign(2)
    >>> state = tx.init(jnp.zeros(()))
    >>> for _ in range(2):
    ...     update, state = tx.update(jnp.array(9.0), state)
    ...     print(update)
    1.0
    1.9995064
    """
    whole("steps", steps)

    def update(grads, state, params=None):
        del params
        s = jnp.maximum(1 - state.count / steps, 1 / steps)
        return jax.tree.map(lambda g: jnp.tanh(s * g) / s, grads), Count(state.count + 1)

    return optax.GradientTransformation(_uncounted, update)


def langevin(noise: float, lr: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Adds N(0, (noise * lr)^2) to every entry of the updates; the last link of a chain.

    Source: Yin, Mallya, Vahdat, Alvarez, Kautz & Molchanov, See through Gradients, CVPR 2021: noise 0.2 on
    the pixels in every step. (breaching adds it to the gradient, before any sign.)

    No key is stored: `update` takes `key=`, a fresh one every step, so that restarts, which share the
    transformation, do not share the noise.

    Args:
      noise: standard deviation as a multiple of the learning rate.
      lr: learning rate, or the schedule that the optimiser follows.

    Raises:
      InputError: noise below 0; an update without a key.

    >>> tx = langevin(0.2, 0.1)
    >>> moves, _ = tx.update(jnp.zeros(10_000), tx.init(jnp.zeros(10_000)), key=jax.random.key(0))
    >>> round(float(moves.std()), 3)
    0.02
    """
    number("noise", noise, least=0)

    def update(moves, state, params=None, *, key=None, **_):
        del params
        if key is None:
            raise InputError("langevin draws noise in every step; call update(..., key=) with a fresh key")
        scale = noise * (lr(state.count) if callable(lr) else lr)
        drawn = draws(jax.random.normal, key, moves)
        return jax.tree.map(lambda u, z: u + scale * z, moves, drawn), Count(state.count + 1)

    return optax.GradientTransformationExtraArgs(_uncounted, update)


def _uncounted(params):
    del params
    return Count(jnp.zeros((), int))


def schedule(name: str, lr: float, steps: int, *, warmup: int = 0) -> optax.Schedule:
    """The learning rate over the steps: `decay(t) * min(1, (t + 1) / warmup)`.

    Source: Geiping et al., breaching: the attack `modern` takes cosine with 50 steps of warm-up, as do Yin et
    al., See through Gradients, CVPR 2021. There the warm-up begins at 0.

    Args:
      name: `"constant"`, `"cosine"` (lr (1 + cos(pi t / steps)) / 2), or `"step_decay"` (see there).
      lr: its highest value; may be traced.
      steps: the budget, warm-up included.
      warmup: steps in which it rises to its full value.

    Raises:
      InputError: unknown name, steps < 1, warmup < 0.

    >>> [round(float(schedule("cosine", 1.0, 6, warmup=2)(t)), 2) for t in range(6)]
    [0.5, 0.93, 0.75, 0.5, 0.25, 0.07]
    """
    one_of("schedule", name, SCHEDULES)
    whole("steps", steps)
    whole("warmup", warmup, least=0)
    decay = SCHEDULES[name](lr, steps)
    if not warmup:
        return decay
    return lambda t: decay(t) * jnp.minimum(1.0, (t + 1) / warmup)


def step_decay(lr: float, steps: int) -> optax.Schedule:
    """lr, divided by ten after 3/8, 5/8 and 7/8 of the steps.

    Source: Geiping et al., NeurIPS 2020, reference code.

    >>> [round(float(step_decay(1.0, 8)(t)), 4) for t in range(8)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01, 0.001]
    """
    factors: dict[int, float] = {}
    for milestone in (steps * k // 8 for k in (3, 5, 7)):  # short runs pass several at once
        factors[milestone] = 0.1 * factors.get(milestone, 1.0)
    return optax.piecewise_constant_schedule(lr, factors)


SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "constant": lambda lr, steps: optax.constant_schedule(lr),
    "cosine": lambda lr, steps: optax.cosine_decay_schedule(lr, steps),
    "step_decay": step_decay,
}
"""name -> `(lr, steps) -> optax.Schedule`."""
