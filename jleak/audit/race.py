"""Which restarts go on: by the attacker's own losses alone, never by the truth.

A restart ends when it has no finite loss, when a restart on the same victim has reached the loss at which the
attacker is content, and, in a race, when the better half of its rivals goes on without it.
"""

import numpy as np

RUNGS = (1 / 8, 1 / 4, 1 / 2)
"""After these shares of the budget a race keeps the better half."""


def going_on(
    losses: np.ndarray, alive: np.ndarray, *, before: float, now: float, halving: bool, stop: float
) -> np.ndarray:
    """Who of `alive` goes on.

    Successive halving is Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", AISTATS 2016; the shares are ours.

    Args:
      losses: (victims, restarts), the attacker's lowest loss so far; not finite where there is none.
      alive: (victims, restarts), who still runs.
      before, now: shares of the budget spent at the last call and at this one.
      halving: whether restarts race.
      stop: the loss at which the attacker is content with a victim; 0 for never.

    >>> losses = np.array([[3.0, 1.0, 2.0, np.nan], [0.1, 5.0, 6.0, 7.0]])
    >>> going_on(losses, np.ones((2, 4), bool), before=0, now=0.2, halving=True, stop=0.5).tolist()
    [[False, True, True, False], [False, False, False, False]]
    """
    found = np.where(np.isfinite(losses), losses, np.inf)
    content = (stop > 0) & (found.min(axis=1, keepdims=True) <= stop)
    alive = alive & np.isfinite(losses) & ~content
    for _ in range(sum(before < rung <= now for rung in RUNGS) if halving else 0):
        rank = np.argsort(np.argsort(np.where(alive, found, np.inf), axis=1), axis=1)
        alive = alive & (rank < np.maximum(1, -(-alive.sum(axis=1, keepdims=True) // 2)))
    return alive
