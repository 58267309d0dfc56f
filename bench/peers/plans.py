"""How much of a model is run at once, on either side."""

from typing import NamedTuple


class Plan(NamedTuple):
    """One model.

    Attributes:
      candidates: restarts of one victim, over all devices.
      widths: how many a device may advance at once; the fastest is taken.
      steps: iterations of each, in jleak.
      iterations: iterations of the peer's one restart.
    """

    candidates: int
    widths: tuple[int, ...]
    steps: int
    iterations: int


PLANS = {
    "cpu": {
        "lenet": Plan(8, (4,), 1600, 500),
        "resnet18": Plan(8, (2, 4), 16, 10),
        "convnet64": Plan(4, (1, 2), 16, 20),
    },
    "gpu": {
        "lenet": Plan(1024, (1024,), 400, 150),
        "resnet18": Plan(1024, (64,), 16, 40),
        "convnet64": Plan(256, (64,), 16, 40),
    },
}
QUICK = {
    "lenet": Plan(8, (4,), 32, 5),
    "resnet18": Plan(2, (1,), 32, 2),
    "convnet64": Plan(2, (1,), 32, 2),
}
"""To see whether everything runs; the numbers mean nothing."""
