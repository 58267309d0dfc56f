"""Every attack and every defense of the catalog finds in a sweep what it finds alone."""

import numpy as np
import pytest

from jleak import catalog
from jleak.audit import trial
from jleak.audit.built import Programs
from jleak.audit.sweep import run, store
from jleak.audit.sweep.config import sweep_config_of
from jleak.audit.sweep.place import place
from jleak.audit.sweep.plan import every

pytestmark = pytest.mark.slow  # compiles everything twice

ATTACKS = {
    "cocktail_party": {"attacks": {"cocktail_party": {"steps": 20}}, "batch": 2},
    "demixing": {"batch": 2, "draw": "distinct"},
    "dense": {},
    "dlg": {"attacks": {"dlg": {"steps": 5}}},
    "ggl": {"attacks": {"ggl": {"prior": "digits", "evaluations": 60}}},
    "gias": {"attacks": {"gias": {"prior": "digits", "steps": 30, "latent_steps": 20}}},
    "gifd": {"attacks": {"gifd": {"prior": "digits", "steps": 20}}},
    "gradinversion": {"attacks": {"gradinversion": {"steps": 10}}, "batch": 2},
    "idlg": {"attacks": {"idlg": {"steps": 5}}},
    "inverting": {"attacks": {"inverting": {"steps": 20, "lr": {"each": [0.1, 0.2]}}}},
    "inverting_tuned": {"attacks": {"inverting_tuned": {"steps": 20}}},
    "multistep": {
        "attacks": {"multistep": {"steps": 10}},
        "batch": 2,
        "clients": {"fedavg": {"steps": 2, "lr": {"each": [0.1, 0.5]}}},
    },
    "relative": {"attacks": {"relative": {"steps": 20}}},
    "rgap": {"models": "lenet"},
}
DEFENSES = {
    "clip": {"bound": {"each": [0.1, 1.0]}},
    "dp_sgd": {"bound": 1.0, "noise": {"each": [0.01, 0.1]}},
    "gaussian": {"sigma": {"each": [0.01, 0.1]}},
    "laplace": {"scale": {"each": [0.01, 0.1]}},
    "prune": {"fraction": {"each": [0.5, 0.9]}},
    "soteria": {"fraction": {"each": [0.1, 0.5]}},
}


def compared(settings, tmp_path):
    """The sweep's records beside those of its cases alone."""
    sweep = run.prepared(sweep_config_of({"models": "mlp", "seeds": [0, 5], "memory": 2.0} | settings))
    where = place(str(tmp_path))
    store.begin(where, run.described(sweep.config), command="", total=sweep.cases)
    run.drive(where, sweep, (0, 1), finished=set())
    swept = {record["case_id"]: record for record in store.records(where)}
    assert len(swept) == sweep.cases and max(batch.count for batch in sweep.batches) >= 2
    alone = Programs()
    for case in every(sweep.settings):
        record, _ = trial.trial(case, sweep.means.images[case.dataset], alone, lambda *_: None)
        yield case, swept[case.case_id], record


def test_all_attacks_and_defenses_are_here():
    assert set(ATTACKS) == set(catalog.ATTACKS) and set(DEFENSES) == set(catalog.DEFENSES)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_finds_what_it_finds_alone(name, tmp_path):
    for case, one, other in compared({"attacks": name} | ATTACKS[name], tmp_path):
        assert one["status"] == other["status"] and one["evaluations"] == other["evaluations"]
        assert one["label_success"] == other["label_success"], case
        near = {"rtol": 0.05, "atol": 1e-5}
        np.testing.assert_allclose(*(np.array(r["loss"], float) for r in (one, other)), **near)
        np.testing.assert_allclose(*(np.array(r["mse"], float) for r in (one, other)), rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("name", DEFENSES)
def test_a_defense_is_what_it_is_alone(name, tmp_path):
    known = [level for level in ("nothing", "kind", "all") if level != "kind" or catalog.DEFENSES[name].adapt]
    settings = {"defenses": {name: DEFENSES[name]}, "knows": known, "attacks": {"inverting": {"steps": 3}}}
    for _, one, other in compared(settings, tmp_path):
        for number in ("snr", "loss"):
            values = (np.array(record[number], float) for record in (one, other))
            # of pruning, an entry at the threshold may go either way, which is 1 of 64 here
            np.testing.assert_allclose(*values, rtol=0.1 if name == "prune" else 0.002, atol=1e-5)
