"""From a file of settings to cases: axes, zipped axes, conditions, presets, and what is refused."""

import pytest
import yaml

from jleak.audit.config import AuditConfig, cases
from jleak.audit.sweep.config import sweep_config_of
from jleak.audit.sweep.plan import every, plan
from jleak.audit.sweep.run import described
from jleak.check import InputError

DLG = {"attacks": "dlg"}


def planned(**settings):
    return list(every(plan(sweep_config_of(DLG | settings))))


def test_every_combination_is_there_once():
    found = planned(
        models=["mlp", "lenet"], defenses=[{"gaussian": {"sigma": {"log": [0.01, 1, 3]}}}, "clip:bound=1"],
        batch=[1, 8], seeds={"range": [5, 8]}, victims={"each": [1, 2]},
    )  # fmt: skip
    assert len(found) == len({case.case_id for case in found}) == 2 * 4 * 2 * 3 * 2
    assert {case.defense_args.get("sigma") for case in found} == {0.01, 0.1, 1.0, None}
    assert [case.seed for case in found[:3]] == [5, 6, 7]


def test_a_file_of_an_audit_is_a_sweep_of_the_same_cases():
    settings = {
        "dataset": "digits", "models": ["mlp", {"lenet": {}}], "defenses": ["none", {"clip": {"bound": 1.0}}],
        "knows": ["nothing", "kind"], "attacks": [{"inverting": {"steps": 20}}, "dlg"], "seeds": [0, 3],
        "victims": 3, "restarts": 2, "lanes": 2,
    }  # fmt: skip
    asked = {case.case_id for case in cases(AuditConfig.model_validate(settings))}
    assert {case.case_id for case in planned(**settings)} == asked


def test_what_is_zipped_varies_together():
    found = planned(zip={"models": ["mlp", {"mlp": {"hidden": 8}}], "batch": [1, 4], "seeds": [7, 9]})
    assert [(case.model_args["hidden"], case.batch, case.seed) for case in found] == [
        ([64], 1, 7),
        (8, 4, 9),
    ]


def test_conditions_leave_cases_out():
    grid = {"defenses": ["none", {"gaussian": {"sigma": {"each": [0.1, 1.0]}}}], "seeds": {"range": 4}}
    found = planned(**grid, skip=[{"defense.sigma": 1.0, "seed": [1, 2]}, {"defense": "none", "seed": 0}])
    assert len(found) == 3 + 4 + 2
    assert not [c for c in found if c.defense_args.get("sigma") == 1.0 and c.seed in (1, 2)]
    kept = planned(**grid, only=[{"seed": 3}, {"defense": "none", "seed": 0}])
    assert [(case.defense, case.seed) for case in kept] == [
        ("none", 0),
        ("none", 3),
        ("gaussian", 3),
        ("gaussian", 3),
    ]


def test_without_a_defense_there_is_nothing_to_know():
    found = planned(defenses=["none", "clip:bound=1"], knows=["kind", "all"])
    assert [(case.defense, case.knows) for case in found] == [
        ("none", "nothing"),
        ("clip", "kind"),
        ("clip", "all"),
    ]


def test_presets_are_overridden_by_later_ones_and_by_the_file(tmp_path):
    file = tmp_path / "sweep.yaml"
    presets = {"long": {"seeds": {"range": 9}, "victims": 4}, "small": {"seeds": {"range": 2}}}
    file.write_text(yaml.safe_dump({"presets": presets, "use": ["long", "small"], "batch": 2, **DLG}))
    found = list(every(plan(sweep_config_of({}, file))))
    assert [(case.seed, case.victims, case.batch) for case in found] == [(0, 4, 2), (1, 4, 2)]


def test_settings_come_back_from_the_store():
    zipped = {"defenses": ["none", "clip:bound=1"], "batch": [1, 2]}
    config = sweep_config_of({**DLG, "zip": zipped, "seeds": {"range": 3}, "skip": {"seed": 1}})
    again = sweep_config_of(described(config))
    assert again == config and [c.case_id for c in every(plan(again))] == [
        c.case_id for c in every(plan(config))
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seedz": 1}, "settings: seedz: unknown key; known: attacks"),
        (
            {"zip": {"models": ["mlp", "lenet"], "batch": [1]}},
            "zip.0 must hold two keys or more with as many",
        ),
        ({"zip": {"modelz": ["mlp"], "batch": [1]}}, "did you mean 'models'"),
        ({"zip": [{"batch": [1], "victims": [1]}, {"batch": [2], "restarts": [2]}]}, "batch in two groups"),
        ({"skip": {"defence": "none"}}, "unknown setting in skip.0 'defence'; did you mean 'defense'?"),
        ({"skip": {"seed.x": 1}}, "setting in skip.0"),
        ({"use": "quick"}, "unknown preset 'quick'"),
        ({"presets": [1], "use": "quick"}, "presets must map names to settings"),
        (
            {"seeds": {"rnge": 3}},
            "settings: seeds: unknown way to give several values 'rnge'; did you mean 'range'?",
        ),
        ({"seeds": {"range": 0}}, "range must be"),
        ({"seeds": {"range": [3, 3]}}, "range must hold 1 to"),
        ({"seeds": {"each": []}}, "each must be a list of one value or more"),
        ({"seeds": [2**32]}, "seed"),
        ({"defenses": {"gaussian": {"sigma": {"log": [0, 1, 3]}}}}, "log must be between numbers > 0"),
        ({"defenses": {"gaussian": {"sigma": {"log": [1, 2]}}}}, "log must be [first, last, how many]"),
        ({"defenses": {"gausian": {"sigma": 1}}}, "did you mean 'gaussian'?"),
        ({"victims": 0}, "victims must be"),
        ({"skip": {"attack": "dlg"}}, "the sweep holds no case"),
        ({"only": {"seed": 99}}, "only.0: no case has seed=99; it is 0"),
        ({"skip": [{"seed": 0}, {"defense": "clap"}]}, "skip.1: no case has defense=clap; it is none"),
        (
            {"defenses": "clip:bound=1", "skip": {"defense.bond": 1}},
            "no case has defense.bond=1; it is nothing",
        ),
        (
            {"defenses": "clip:bound=1", "skip": {"defense.bound": [1, 2]}},
            "no case has defense.bound=2; it is 1.0",
        ),
        ({"together": 0}, "together must be"),
        ({"checkpoint": -1}, "checkpoint must be"),
        ({"together": "many"}, "settings: together: "),
        ({"lanes": [4, "x"]}, "settings: lanes.1: "),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(InputError) as error:
        planned(**settings)
    assert said in str(error.value)
