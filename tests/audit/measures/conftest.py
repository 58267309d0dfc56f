"""Small cases of measures, and how they are run."""

import pytest

from jleak.audit.cohort.stages import Memory
from jleak.audit.measures.case import MeasureCase
from jleak.audit.measures.trial import trial

BASE = {
    "model": "mlp", "model_args": {"hidden": 16}, "models": 2, "records": 3, "updates": 60, "width": 32,
    "lanes": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def made():
    """`changes -> case`."""
    return lambda **changes: MeasureCase(**BASE | changes)


@pytest.fixture(scope="session")
def run(digits):
    """`case -> (record, arrays)`; what cases share is kept."""
    memory = Memory()
    return lambda case: trial(case, {"digits": digits}, memory, lambda part, loss: None)
