"""Small cases of label leakage, out of programs that all tests share."""

import pytest

from jleak.audit.cohort import stages
from jleak.audit.cohort.pools import pools
from jleak.audit.labels import trial
from jleak.audit.labels.case import LabelCase
from jleak.audit.parts import model_of


@pytest.fixture(scope="session")
def case():
    """`case(field=value, ...)`: six perceptrons of 16 hidden units."""
    base = {
        "attack": "llg", "model": "mlp", "model_args": {"hidden": 16}, "models": 6, "lanes": 3, "batch": 4,
    }  # fmt: skip
    return lambda **changes: LabelCase(**base | changes)


@pytest.fixture(scope="session")
def memory():
    """Compiled programs that all tests share; intermediate results are taken by their settings."""
    return stages.Memory()


@pytest.fixture(scope="session")
def run(digits, memory):
    """`run(case)`: its record."""
    return lambda one, told=lambda part, loss: None: trial.trial(one, {"digits": digits}, memory, told)[0]


@pytest.fixture(scope="session")
def shared(digits):
    """`shared(case)`: (model, sides, stage, what the clients send, true counts), computed anew."""

    def build(one):
        memory = stages.Memory()
        sides = stages.placed(pools(one, {"digits": digits}))
        model = model_of(one, digits.shape, digits.classes)
        stage = stages.trained(one, model, sides, memory, lambda part, loss: None)
        return model, sides, stage, *trial.clients(one, model, sides, stage.params, memory)

    return build
