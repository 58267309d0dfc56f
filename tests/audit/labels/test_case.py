"""A case of label leakage: checked, completed, JSON both ways; and the grid that a user asks for."""

import dataclasses
import json

import pytest

from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.config import LabelsConfig, cases, labels_config_of
from jleak.check import InputError
from jleak.labels import unknown
from jleak.types import Threat


def test_json_both_ways():
    case = LabelCase(attack="llg", defense="clip", defense_args={"bound": 1}, client="fedavg", batch=20)
    assert case.client_args == {"epochs": 1, "lr": 0.1, "steps": 10} and case.attack_args == {"exact": True}
    fields = json.loads(json.dumps(case.to_json()))
    assert LabelCase.from_json(fields | {"success": [1.0]}) == case
    assert LabelCase.from_json(fields).case_id == case.case_id


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(LabelCase)])
def test_every_setting_is_in_the_hash(name):
    other = {
        "dataset": "npz:a.npz", "public": "npz:b.npz", "model": "mlp", "model_args": {"init": "lecun"},
        "loss_fn": "mse", "client": "fedavg", "client_args": {"lr": 0.2}, "draw": "random",
        "defense_args": {"sigma": 2.0}, "attack": "llg_plus",
        "attack_args": {"exact": False}, "train_lr": 0.2,
    }  # fmt: skip
    base = {"attack": "llg"}
    if name == "client_args":
        base |= {"client": "fedavg"}
    if name == "defense":  # one whose argument has the same name
        base |= {"defense": "clip", "defense_args": {"bound": 1.0}}
        other["defense"] = "jleak.defenses:clip"
    if name == "defense_args":
        base |= {"defense": "gaussian", "defense_args": {"sigma": 1.0}}
    changed = LabelCase(**base | {name: other.get(name, 7)})
    assert changed.case_id != LabelCase(**base).case_id


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"attack": "lgg"}, ["unknown attack 'lgg'", "did you mean 'llg'?"]),
        ({"attack": "dlg"}, ["unknown attack 'dlg'", "ilrg"]),
        ({"attack_args": {"exat": True}}, ["'exat'", "did you mean 'exact'?"]),
        ({"models": 0}, ["models must be >= 1, got models=0"]),
        ({"train_steps": -1}, ["train_steps must be >= 0", "use 0 for untrained models"]),
        (
            {"assumed_batch": 2.5},
            ["assumed_batch must be a whole number", "write known, unknown or a number"],
        ),
        ({"assumed_batch": 0}, ["assumed_batch must be >= 1", "write known, unknown or a number"]),
        ({"assumed_batch": "unknwon"}, ["assumed_batch='unknwon'", "write known, unknown or a number"]),
        ({"assumed_batch": True}, ["assumed_batch=True", "write known, unknown or a number"]),
        *(
            ({"attack": name, "assumed_batch": "unknown"}, [f"{name} tells no shares", "such as demix"])
            for name in ("bias_sign", "idlg", "yin")
        ),
        ({"train_lr": -0.1}, ["train_lr must be >= 0"]),
        ({"train_lr": float("nan")}, ["train_lr", "finite"]),
        ({"draw": "iid"}, ["unknown draw 'iid'", "non_iid", "uniform"]),
        ({"public": "npy:a"}, ["unknown data source 'npy'", "did you mean 'npz'?"]),
        ({"client_args": {"steps": 2}}, ["client 'fedsgd' has no argument 'steps'"]),
        ({"defense_args": {"bound": 1.0}}, ["defense 'none' takes no arguments"]),
        ({"seed": 2**32}, ["seed must be < ", "32 bits"]),
    ],
)
def test_bad_settings(fields, parts):
    with pytest.raises(InputError) as error:
        LabelCase(**{"attack": "llg"} | fields)
    for part in parts:
        assert part in str(error.value)


def test_the_grid_is_every_combination_once_with_guessing_in_each_setting():
    settings = {
        "models": ["mlp", "lenet"], "defenses": ["none", "clip:bound=1", "clip:bound=1.0"],
        "seeds": [0, 1, 1],
        "attacks": ["llg", "llg:exact=true", "llg:exact=false"], "batches": [1, 8], "draws": ["uniform"],
        "train_steps": [500, 0], "count": 3,
    }  # fmt: skip
    found = cases(labels_config_of(settings))
    assert len({case.case_id for case in found}) == len(found) == 2 * 2 * 2 * 3 * 2 * 2
    assert all(case.models == 3 for case in found)
    for attacks in zip(*[iter(found)] * 3, strict=True):  # one setting in a row
        assert [case.attack for case in attacks] == ["random", "llg", "llg"]
        shared = [{k: v for k, v in c.to_json().items() if not k.startswith("attack")} for c in attacks]
        assert shared[0] == shared[1] == shared[2]
    steps = [case.train_steps for case in found]
    assert steps == (12 * [0] + 12 * [500]) * 4  # rising, for each model and seed


def test_guessing_is_there_once_where_it_is_asked_for():
    for asked in (["random"], ["llg", "random"], "llg"):
        found = cases(LabelsConfig(attacks=asked, batches=4))
        assert [case.attack for case in found].count("random") == 1


def test_the_default_is_what_was_promised():
    found = cases(LabelsConfig())
    assert {case.attack for case in found} == {
        "random", "llg", "llg_star", "llg_plus", "counts", "ilrg", "demix",
    }  # fmt: skip
    assert {(c.dataset, c.model, c.client, c.defense, c.draw, c.models, c.train_steps) for c in found} == {
        ("digits", "lenet", "fedsgd", "none", "uniform", 100, 0)
    }
    batches = sorted({case.batch for case in found})
    assert batches[0] == 1 and batches[-1] == 128


def test_unknown_keys_list_the_known_ones(tmp_path):
    (tmp_path / "labels.yaml").write_text("batch: 8\n")
    with pytest.raises(InputError, match="labels.yaml: batch: unknown key; known: assumed_batches, attacks"):
        labels_config_of({}, tmp_path / "labels.yaml")


def test_flags_go_over_the_file(tmp_path):
    (tmp_path / "labels.yaml").write_text("batches: [8, 16]\ncount: 5\nattacks: {llg: {exact: false}}\n")
    config = labels_config_of({"batches": [4]}, tmp_path / "labels.yaml")
    assert (config.batches, config.count, config.attacks[0].args) == ([4], 5, {"exact": False})


def test_beliefs_in_the_batch_size_are_names_and_numbers():
    """Text from the command line, or what YAML makes of it."""
    config = labels_config_of(
        {"assumed_batches": ["known", "unknown", "16", 9], "batches": 8, "attacks": "llg"}
    )
    found = [case for case in cases(config) if case.attack == "llg"]
    assert [case.assumed_batch for case in found] == ["known", "unknown", 16, 9]
    assert [case.believed for case in found] == [8, unknown(Threat(client=None, model=None)).batch, 16, 9]
    assert LabelCase.from_json(json.loads(json.dumps(found[1].to_json()))) == found[1]
