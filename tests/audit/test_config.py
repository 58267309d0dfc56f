"""What a user asks for: text, YAML and flags, checked with the key's path in the message."""

import pytest

from jleak.audit.config import AuditConfig, attacks_of, cases, config_of
from jleak.check import InputError


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "audit.yaml").write_text(text)
        return tmp_path / "audit.yaml"

    return write


def refused(settings, *parts, path=None):
    with pytest.raises(InputError) as error:
        cases(config_of(settings, path))
    for part in parts:
        assert str(part) in str(error.value)
    return str(error.value)


def test_flags_go_over_the_file(file):
    path = file("batch: 2\nvictims: 3\nmodels: [mlp]\nattacks: dlg\n")
    config = config_of({"victims": 7, "attacks": ["inverting:steps=5"]}, path)
    assert (config.batch, config.victims, config.models[0].name) == ([2], 7, "mlp")
    assert [(attack.name, attack.args) for attack in config.attacks] == [("inverting", {"steps": 5})]
    assert config.seeds == AuditConfig().seeds


def test_every_form_of_yaml_says_the_same_as_text(file):
    path = file(
        """
        models:
          - mlp: {hidden: [16, 8], bias: false}
          - name: lenet
        defenses:
          - none
          - gaussian: {sigma: 1e-2}   # YAML reads this as text
          - name: clip
            args: {bound: 1, scope: tensor}
        knows: all
        known_labels: true
        seeds: 3
        attacks: {dlg: }
        """
    )
    text = {
        "models": ["mlp:hidden=16-8,bias=false", "lenet"],
        "defenses": ["none", "gaussian:sigma=1e-2", "clip:bound=1,scope=tensor"],
        "knows": ["all"],
        "known_labels": True,
        "seeds": [3],
        "attacks": ["dlg"],
    }
    assert config_of({}, path) == config_of(text)
    assert cases(config_of({}, path)) == cases(config_of(text))


@pytest.mark.parametrize(
    ("text", "name", "args"),
    [
        ("clip", "clip", {}),
        ("clip:bound=1", "clip", {"bound": 1}),
        ("gaussian:sigma=1E-2", "gaussian", {"sigma": 0.01}),
        ("mlp:hidden=64-32-16,bias=False", "mlp", {"hidden": [64, 32, 16], "bias": False}),
        ("mlp: hidden=8 , init=zhu".replace(" ", ""), "mlp", {"hidden": 8, "init": "zhu"}),
        ("inverting:tv=-1.5e-3,signed=TRUE", "inverting", {"tv": -0.0015, "signed": True}),
        ("pack.parts:factory", "pack.parts:factory", {}),
        ("pack.parts:factory:lr=2,optim=adam", "pack.parts:factory", {"lr": 2, "optim": "adam"}),
    ],
)
def test_specs_in_text(text, name, args):
    spec = config_of({"defenses": text}).defenses[0]
    assert (spec.name, spec.args) == (name, args)
    for value, wanted in zip(spec.args.values(), args.values(), strict=True):
        assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"atacks": "dlg"}, ["settings: atacks: unknown key", "known: attacks, batch"]),
        ({"defenses": [{"name": "clip", "arg": {}}]}, ["defenses.0.arg: unknown key; known: args, name"]),
        ({"models": ["mlp", {"nome": "mlp", "args": {}}]}, ["models.1.nome: unknown key", "models.1.name"]),
        ({"batch": "two"}, ["settings: batch.0: ", "valid integer", "'two'"]),
        ({"batch": 1.5}, ["batch.0: ", "1.5"]),
        ({"batch": True}, ["batch.0: ", "True"]),
        ({"dataset": 3}, ["dataset: ", "valid string", "3"]),
        ({"known_labels": "maybe"}, ["known_labels: ", "'maybe'"]),
        ({"seeds": [0, "x"]}, ["seeds.1: ", "'x'"]),
        ({"defenses": [{"clip": 3}]}, ["defenses.0: the arguments of 'clip' must be a mapping", "3"]),
        ({"defenses": [{"clip": {1: 2}}]}, ["defenses.0.args.1"]),
        ({"defenses": "=1"}, ["defenses.0: write name:argument=value"]),
        ({"defenses": "clip:bound=1,bound=2"}, ["defenses.0: an argument is given twice"]),
        ({"attacks": None}, ["attacks.0: ", "None"]),
        ({"seeds": []}, ["seeds: ", "at least 1 item"]),
        ({"attacks": []}, ["attacks: ", "at least 1 item"]),
        ({"defenses": {"clip": {"bond": 1}}}, ["no argument 'bond'; did you mean 'bound'?"]),
        ({"defenses": "clip:bound=-1"}, ["bound must be > 0, got bound=-1"]),
    ],
)
def test_what_is_refused_is_named_by_its_path(settings, parts):
    assert "Value error" not in refused(settings, *parts)


def test_every_fault_is_told_at_once(file):
    path = file("batch: two\natacks: dlg\n")
    lines = refused({}, path=path).splitlines()
    assert len(lines) == 2 and all(line.startswith(f"{path}: ") for line in lines)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "cannot be read as YAML"),
        ("- dlg\n- inverting\n", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("a: \x00", "cannot be read as YAML"),
        ("!!python/object/apply:os.system [true]", "cannot be read as YAML"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(file, text, part):
    path = file(text)
    refused({}, path, part, path=path)


def test_files_that_cannot_be_read(tmp_path):
    refused({}, "no such configuration file", tmp_path / "none.yaml", path=tmp_path / "none.yaml")
    refused({}, tmp_path, "cannot be read", path=tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe")
    refused({}, "bytes.yaml", "cannot be read", path=tmp_path / "bytes.yaml")


def test_the_grid_is_every_combination_once():
    settings = {
        "models": ["mlp", "lenet"],
        "defenses": ["none", "clip:bound=1", "clip:bound=1.0", "gaussian:sigma=0"],
        "knows": ["nothing", "kind", "all"],
        "attacks": ["dlg", "inverting"],
        "seeds": [0, 1, 1],
    }
    found = cases(config_of(settings))
    assert len({case.case_id for case in found}) == len(found) == 2 * 2 * 2 * (1 + 2 * 3)
    told = {(case.defense, case.knows) for case in found}
    assert told == {("none", "nothing")} | {(d, k) for d in ("clip", "gaussian") for k in settings["knows"]}


def test_shared_settings_reach_every_case():
    settings = {
        "dataset": "npz:a.npz", "loss_fn": "mse", "batch": 3, "draw": "distinct", "victims": 2,
        "known_labels": True, "restarts": 5, "lanes": 2,
    }  # fmt: skip
    for case in cases(config_of(settings)):
        assert {name: getattr(case, name) for name in settings} == settings


def test_the_default_audit_is_what_was_promised():
    config = AuditConfig()
    assert config.dataset == "private:digits"  # the half that the bundled prior has not seen
    assert config.batch == [1] and config.victims == 4
    assert [model.name for model in config.models] == ["lenet", "mlp"]
    assert [defense.name for defense in config.defenses] == ["none", "gaussian", "clip", "prune"]
    assert {"inverting", "dlg", "ggl"} <= {attack.name for attack in attacks_of(config)}
    assert all(defense.args for defense in config.defenses[1:])


def test_ones_own_data_are_not_searched_with_a_prior_of_digits():
    own = AuditConfig(dataset="npz:faces.npz", models="mlp")
    assert {case.attack for case in cases(own)} == {"inverting", "dlg"}
    asked = AuditConfig(attacks="dlg", models="mlp")
    assert {case.attack for case in cases(asked)} == {"dlg"}
