"""Gradient optimisers by name, all from optax."""

from collections.abc import Callable

import optax

from jleak.check import one_of

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "sgd": lambda lr: optax.sgd(lr, momentum=0.9),
    "lbfgs": lambda lr: optax.lbfgs(
        lr,
        memory_size=10,
        # each search starts at lr: optax's default, the last step's length, stalls once that was short
        linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one"),
    ),
}
"""name -> `lr -> optax.GradientTransformation`. `sgd` has momentum 0.9; `lbfgs` a zoom line search."""


def optimizer(name: str, lr: optax.ScalarOrSchedule, *, signed: bool = False):
    """The optimiser of that name at a learning rate or schedule.

    Args:
      name: one of `OPTIMIZERS`.
      lr: learning rate, or a schedule `step -> learning rate`.
      signed: whether it is fed the sign of the gradient (Geiping et al., NeurIPS 2020).

    Raises:
      InputError: unknown name.

    >>> import jax.numpy as jnp
    >>> tx = optimizer("adam", 0.1, signed=True)
    >>> updates, _ = tx.update(jnp.array([1e-9, -5.0]), tx.init(jnp.zeros(2)))
    >>> [round(float(u), 3) for u in updates]
    [-0.1, 0.1]
    """
    tx = OPTIMIZERS[one_of("optimizer", name, OPTIMIZERS)](lr)
    return optax.chain(optax.scale_by_sign(), tx) if signed else tx


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
