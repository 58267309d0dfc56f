"""A case's client is the one that shares, and the one that the attacker believes in."""

import pytest

from jleak import catalog
from jleak.audit.driver import fits
from jleak.audit.parts import attack_of, floats_of
from jleak.check import InputError
from jleak.models import mlp
from jleak.types import View


def local(lr=0.05, **args):
    return {"client": "fedavg", "client_args": {"lr": lr, "steps": 2, **args}, "batch": 4}


def test_local_training_is_imitated(small_case, audited):
    """One local step: FedAvg is FedSGD; two steps cost two gradients each."""
    one, plain = small_case(client="fedavg", client_args={"steps": 1}), small_case()
    assert audited(one)[0]["loss"] == pytest.approx(audited(plain)[0]["loss"], rel=1e-4)
    assert audited(small_case(**local()))[0]["evaluations"] == 2 * 2 * 20  # victims, local steps, steps


def test_the_rate_reaches_client_and_attacker_through_one_program(small_case, audited):
    losses = [audited(small_case(**local(lr)))[0]["loss"] for lr in (0.0, 2.0)]
    assert losses[0] != losses[1]


def test_label_attacks_are_told_of_the_local_steps(small_case, monkeypatch):
    told = []
    case = small_case(**local(epochs=3))
    monkeypatch.setitem(catalog.ATTACKS, "inverting", lambda threat, **args: told.append(threat))
    attack_of(case, mlp((8, 8, 1), 10), View(None, None), floats_of(case))
    assert (told[0].local_steps, told[0].epochs, told[0].lr, told[0].batch) == (6, 3, 0.05, 4)


def test_a_batch_that_the_steps_do_not_divide_is_refused(small_case, digits):
    with pytest.raises(InputError, match="multiple of its steps, got batch=4 and steps=3"):
        fits(small_case(**local() | {"client_args": {"steps": 3}}), digits)
