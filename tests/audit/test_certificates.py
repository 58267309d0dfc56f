"""What closed forms say of a bad input reaches the record, and nothing false is proven."""

import dataclasses

import numpy as np
import pytest

from jleak.audit.case import Case

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


@pytest.mark.parametrize(
    ("changes", "status"),
    [({}, "proven"), (NOISY, "approximate"), (PRUNED, "approximate")],
)
def test_the_bias_attack_proves_one_image(audited, changes, status):
    case = dataclasses.replace(BASE, attack="dense", attack_args={}, batch=1, draw="random", **changes)
    record, _ = audited(case)
    assert {one for victim in record["certificate"]["status"] for one in victim} == {status}
