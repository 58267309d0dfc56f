"""Small cases, each audited once for all tests."""

import dataclasses
import sys

import pytest

from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.trial import trial

WHERE = ("seconds", "compile_seconds", "devices")


@pytest.fixture(scope="session")
def small_case():
    """`small_case(field=value, ...)`: two victims, a perceptron of 16 hidden units, 20 steps."""
    base = Case(
        model="mlp", model_args={"hidden": 16}, attack="inverting", attack_args={"steps": 20}, victims=2
    )
    return lambda **changes: dataclasses.replace(base, **changes)


@pytest.fixture(scope="session")
def audited(digits):
    """`audited(case)`: its record and images, out of programs that all tests share."""
    programs, known = Programs(), {}

    def run(case):
        if case.case_id not in known:
            known[case.case_id] = trial(case, digits, programs, lambda part, loss: None)
        return known[case.case_id]

    return run


@pytest.fixture(scope="session")
def numbers():
    """`numbers(record)`: what must repeat, which is everything but where it ran and how long."""
    return lambda record: {name: value for name, value in record.items() if name not in WHERE}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own on the Python path, by the name `own_parts`."""
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    return "own_parts"


OWN = '''
import jax
import jax.numpy as jnp

from jleak.check import number
from jleak.clients import on_update
from jleak.defenses import Kind
from jleak.models import mlp
from jleak.types import Reconstruction


def tiny(shape, classes, *, hidden: int = 4):
    return mlp(shape, classes, hidden=hidden)


def shrink(*, factor: float = 0.5):
    number("factor", factor, above=0)
    return on_update(lambda key, update: jax.tree.map(lambda u: factor * u, update))


SHRINK = Kind(shrink, adapt=lambda view: shrink(factor=1.0))


def grey(threat, *, level: float = 0.5):
    """Says one grey for everything, and class 0 unless it was told."""

    def attack(key, view):
        told = view.labels if view.labels is not None else jnp.zeros(threat.batch, int)
        return Reconstruction(jnp.full(threat.shape, level), told, jnp.array(level), jnp.array(0))

    return attack


THREE = 3
'''
