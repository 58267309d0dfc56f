"""What closed forms say of a bad input reaches the record, and nothing false is proven."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.audit import driver, parts
from jleak.audit.case import Case
from jleak.audit.memory import Budget
from jleak.check import InputError
from jleak.types import Status, View

BASE = Case(
    model="mlp", model_args={"hidden": 24}, attack="demixing", attack_args={"starts": 1, "steps": 15},
    batch=4, draw="distinct", victims=2, known_labels=True,
)  # fmt: skip
PRUNED = {"defense": "prune", "defense_args": {"fraction": 0.9}}
NOISY = {"defense": "gaussian", "defense_args": {"sigma": 1e-5}}

SAYS = {
    "nothing is wrong": ({}, {"proven"}, "ok"),
    "no bias": ({"model_args": {"hidden": 24, "bias": False}}, {"proven"}, "ok"),
    "repeated labels": ({"draw": "one_class"}, {"class mean"}, "only the mean of the images that share"),
    "all classes present": ({"batch": 10}, {"common offset"}, "no class is absent"),
    "B > n": ({"batch": 12, "draw": "random"}, {"common offset"}, "no class is absent"),
    "narrow layer": ({"model_args": {"hidden": 3}}, {"rank deficient"}, "does not determine every image"),
    "pruned": (PRUNED, {"masked"}, "pruned or masked"),
    "an entry a tensor": (
        {**PRUNED, "defense_args": {"fraction": 1.0}},
        {"common offset", "rank deficient"},
        "not proven",
    ),  # fmt: skip
    "noisy": (NOISY, {"noisy"}, "up to the noise in the update"),
}


@pytest.mark.parametrize("name", SAYS)
def test_the_record_says_what_was_wrong(audited, name):
    changes, statuses, text = SAYS[name]
    record, _ = audited(dataclasses.replace(BASE, **changes))
    seen = record["certificate"]["status"]
    assert [len(victim) for victim in seen] == [record["batch"]] * 2
    assert {one for victim in seen for one in victim} == statuses
    assert text in record["status"]
    proven = statuses == {"proven"}
    assert (record["status"] == "ok") == proven
    assert all(psnr > 80 for psnr in record["psnr"]) == proven or statuses == {"noisy"}


def test_the_mixing_score_is_the_clients_own_and_no_attackers(audited):
    plain, noisy = (audited(dataclasses.replace(BASE, **changes))[0] for changes in ({}, NOISY))
    assert plain["mixing"] == noisy["mixing"]
    alike, _ = audited(dataclasses.replace(BASE, draw="one_class"))
    assert np.allclose(alike["mixing"]["mu"], 3.0, atol=0.01)
    assert max(plain["mixing"]["mu"]) < 1 < min(alike["mixing"]["condition"])


def test_an_attack_that_searches_vouches_for_nothing(small_case, audited):
    record, _ = audited(small_case())
    assert record["certificate"] is None and record["status"] == "ok"


SINGLE = {"batch": 1, "draw": "random", "attack_args": {}}
LENET = {**SINGLE, "attack": "rgap", "model": "lenet", "model_args": {}}
DENSE = {**SINGLE, "attack": "dense"}
MANY = {"attack": "dense", "attack_args": {}}
PARTY = {"attack": "cocktail_party", "attack_args": {"steps": 2, "warm": 5}}
ONE_ENTRY = {"defense": "prune", "defense_args": {"fraction": 1.0}}

OTHERS = {
    "dense: nothing is wrong": (DENSE, {"proven"}),
    "dense: another loss": ({**DENSE, "loss_fn": "bce"}, {"proven"}),
    "dense: clipped": ({**DENSE, "defense": "clip", "defense_args": {"bound": 0.01}}, {"proven"}),
    "dense: noisy": ({**DENSE, **NOISY}, {"noisy"}),
    "dense: all noise": ({**DENSE, "defense": "gaussian", "defense_args": {"sigma": 1.0}}, {"approximate"}),
    "dense: pruned": ({**DENSE, **PRUNED}, {"masked"}),
    "dense: an entry a tensor": ({**DENSE, **ONE_ENTRY}, {"approximate"}),
    "dense: a batch": (MANY, {"approximate"}),
    "dense: a pruned batch": ({**MANY, **PRUNED}, {"masked"}),
    "dense: more images than outputs": ({**MANY, "model_args": {"hidden": 3}}, {"rank deficient"}),
    "dense: B > n": ({**MANY, "batch": 12, "draw": "random"}, {"approximate"}),
    "rgap: nothing is wrong": (LENET, {"proven"}),
    "rgap: noisy": ({**LENET, **NOISY}, {"noisy"}),
    "rgap: too noisy": ({**LENET, "defense": "gaussian", "defense_args": {"sigma": 1.0}}, {"rank deficient"}),
    "rgap: pruned": ({**LENET, **PRUNED}, {"masked"}),
    "cocktail party: nothing is wrong": (PARTY, {"approximate"}),
    "cocktail party: no bias": ({**PARTY, "model_args": {"hidden": 24, "bias": False}}, {"approximate"}),
    "cocktail party: B > n": ({**PARTY, "batch": 12, "draw": "random"}, {"approximate"}),
    "cocktail party: pruned": ({**PARTY, **PRUNED}, {"masked"}),
    "cocktail party: an entry a tensor": ({**PARTY, **ONE_ENTRY}, {"rank deficient"}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_closed_forms_say_it_too(audited, name):
    changes, statuses = OTHERS[name]
    record, _ = audited(dataclasses.replace(BASE, **changes))
    seen = record["certificate"]["status"]
    assert [len(victim) for victim in seen] == [record["batch"]] * 2
    assert {one for victim in seen for one in victim} == statuses
    assert (record["status"] == "ok") == (statuses == {"proven"})
    if statuses == {"proven"}:
        assert min(record["psnr"]) > 60
    if statuses == {"noisy"}:
        assert min(record["psnr"]) > 34  # an expected error of a pixel below 0.02


NOTHING = {
    "dense": (DENSE, "dense0"),
    "rgap": (LENET, "head"),
    "cocktail_party": (PARTY, "dense0"),
    "demixing": ({}, "head"),
}


@pytest.mark.parametrize("broken", [0.0, np.nan])
@pytest.mark.parametrize("name", NOTHING)
def test_an_update_that_holds_nothing_is_unreadable(digits, name, broken):
    changes, layer = NOTHING[name]
    case = dataclasses.replace(BASE, **changes)
    model = parts.model_of(case, digits.shape, digits.classes)
    params = model.init(jax.random.key(0))
    update = dict(params["params"])
    update[layer] = jax.tree.map(lambda u: broken * u, update[layer])
    view = View(params, update, jnp.arange(case.batch))
    attack = parts.attack_of(case, model, view, parts.floats_of(case))
    rec = jax.jit(attack)(jax.random.key(1), view)
    assert {Status(int(one)) for one in rec.certificate.status} == {Status.UNREADABLE}


def test_what_cannot_be_attacked_is_refused_before_the_audit_with_a_remedy(digits):
    bare = {"model_args": {"hidden": 24, "bias": False}}
    for changes, remedy in (
        ({**DENSE, **bare}, "has no bias; use attack=demixing"),
        ({**LENET, "batch": 2}, "use batch=1 or attack=demixing"),
        ({**PARTY, "model_args": {"hidden": 3}}, "use a smaller batch or attack=inverting"),
        ({"loss_fn": "mse", "known_labels": False}, r"grant them \(known_labels\)"),
    ):
        case = dataclasses.replace(BASE, **changes)
        with pytest.raises(InputError, match=remedy):
            driver.fits(case, digits, Budget(1.0))
