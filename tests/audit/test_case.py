"""A case: complete, checked, the same both ways through JSON, and named by its content."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jleak import catalog, weights
from jleak.audit.case import Case
from jleak.audit.parts import belief_of, defense_of, floats_of, model_of
from jleak.check import InputError
from jleak.types import View

BASE = {
    "model": "mlp",
    "model_args": {"hidden": 16},
    "client": "fedavg",
    "defense": "gaussian",
    "defense_args": {"sigma": 0.01},
    "attack": "inverting",
    "attack_args": {"steps": 10},
}
OTHER = {
    "dataset": "npz:faces.npz",
    "model": "jleak.models:mlp",
    "model_args": {"hidden": 17},
    "weights": "other.safetensors",
    "loss_fn": "mse",
    "client": "jleak.clients:fedavg",
    "client_args": {"steps": 2},
    "batch": 2,
    "draw": "balanced",
    "victims": 5,
    "defense": "jleak.defenses:gaussian",
    "defense_args": {"sigma": 0.02},
    "knows": "all",
    "known_labels": True,
    "attack": "jleak.attacks:inverting",
    "attack_args": {"steps": 11},
    "restarts": 3,
    "halving": True,
    "stop": 0.1,
    "seed": 1,
    "lanes": 3,
    "precision": "bfloat16",
}
"""Of every field another value than that of `BASE`."""


@pytest.fixture(autouse=True)
def other_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights.save(OTHER["weights"], {"bias": np.ones(2, np.float32)})


def refused(message, **fields):
    with pytest.raises(InputError) as error:
        Case(**{"attack": "inverting", **fields})
    for part in [message] if isinstance(message, str) else message:
        assert part in str(error.value)


def test_there_is_another_value_for_every_field():
    assert OTHER.keys() == {field.name for field in dataclasses.fields(Case)}


@pytest.mark.parametrize("name", OTHER)
def test_another_setting_is_another_case(name):
    case, other = Case(**BASE), Case(**BASE | {name: OTHER[name]})
    assert getattr(other, name) != getattr(case, name)
    assert other.case_id != case.case_id


def test_the_id_is_of_the_content_alone():
    """Pinned: where this changes, no run made before can be resumed, and the changelog has to say so."""
    assert Case(**BASE).case_id == Case(**dict(reversed(BASE.items()))).case_id == "a89bef4ccce1"


def test_weights_are_named_by_their_content():
    first = Case(**BASE, weights="other.safetensors")
    path, _, digest = first.weights.partition("@")
    assert path == "other.safetensors" and len(digest) == 12 and int(digest, 16)
    again = Case.from_json(json.loads(json.dumps(first.to_json())))
    assert again == first and again.case_id == first.case_id
    weights.save("other.safetensors", {"bias": np.zeros(2, np.float32)})
    second = Case(**BASE, weights="other.safetensors")
    assert second.case_id != first.case_id
    refused(["has changed", digest, second.weights.partition("@")[2]], **first.to_json())
    refused(["no weights at none.safetensors", "jleak train-model"], weights="none.safetensors")


def test_json_both_ways():
    case = Case(**BASE | {"model_args": {"hidden": (32, 16), "bias": False}})
    text = json.dumps(case.to_json() | {"psnr": [30.0], "status": "ok"}, allow_nan=False)
    again = Case.from_json(json.loads(text))
    assert again == case and again.case_id == case.case_id
    assert again.model_args["hidden"] == [32, 16] and again.model_args["bias"] is False


def test_defaults_are_filled_in():
    case = Case(model="mlp", attack="inverting", defense="clip", defense_args={"bound": 2})
    assert case.defense_args == {"bound": 2.0, "scope": "global"}
    for kind, factory in (("model", catalog.MODELS["mlp"]), ("attack", catalog.ATTACKS["inverting"])):
        declared = {k: v for k, v in catalog.keywords(factory).items()}
        assert getattr(case, f"{kind}_args") == json.loads(json.dumps(declared))
    spelt = Case(model="mlp", attack="inverting", defense="clip", defense_args=case.defense_args)
    assert spelt.case_id == case.case_id


@pytest.mark.parametrize(
    ("args", "same"),
    [
        ({"defense_args": {"sigma": 1}}, {"defense_args": {"sigma": 1.0}}),
        ({"attack_args": {"steps": 1e3, "lr": 1}}, {"attack_args": {"steps": 1000, "lr": 1.0}}),
        ({"defense_args": {"sigma": np.float64(0.5)}}, {"defense_args": {"sigma": 0.5}}),
        ({"seed": np.int64(3), "batch": np.int32(2)}, {"seed": 3, "batch": 2}),
        ({"model_args": {"hidden": (8, 4)}}, {"model_args": {"hidden": [8, 4]}}),
    ],
)
def test_one_setting_in_two_spellings_is_one_case(args, same):
    one, other = Case(**BASE | args), Case(**BASE | same)
    assert one == other and one.case_id == other.case_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "lennet"}, ["model 'lennet'", "did you mean 'lenet'?", "convnet, convnet64, lenet, mlp"]),
        ({"attack": "invert"}, ["attack 'invert'", "did you mean 'inverting'?", "dlg"]),
        ({"defense": "gausian"}, ["defense 'gausian'", "did you mean 'gaussian'?", "clip"]),
        ({"dataset": "digit"}, ["data source 'digit'", "did you mean 'digits'?", "npz:PATH"]),
        ({"dataset": "npy:x"}, ["data source 'npy'", "did you mean 'npz'?"]),
        ({"loss_fn": "cross-entropy"}, ["loss_fn 'cross-entropy'", "did you mean 'cross_entropy'?"]),
        ({"draw": "balance"}, ["draw 'balance'", "did you mean 'balanced'?"]),
        ({"knows": "everything"}, ["knows 'everything'", "all, kind, nothing"]),
        ({"client": "fedavgg"}, ["client 'fedavgg'", "fedavg"]),
        ({"attack": 3}, ["unknown attack 3"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(fields, message):
    refused(message, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 0}, "batch must be >= 1, got batch=0"),
        ({"batch": 1.5}, "batch must be a whole number, got batch=1.5"),
        ({"victims": -1}, "victims must be >= 1, got victims=-1"),
        ({"restarts": 0}, "restarts must be >= 1, got restarts=0"),
        ({"lanes": True}, "lanes must be a whole number, got lanes=True"),
        ({"seed": -1}, "seed must be >= 0, got seed=-1"),
        ({"seed": 2**32}, "seed must be < 4.29497e+09, got seed=4294967296"),
        ({"known_labels": 1}, "known_labels must be true or false, got known_labels=1"),
        ({"attack_args": {"steps": 1.5}}, "steps must be a whole number, got steps=1.5"),
        ({"attack_args": {"steps": float("inf")}}, "steps must be a finite number, got steps=inf"),
        ({"attack_args": {"lr": float("nan")}}, "lr must be a finite number, got lr=nan"),
        ({"attack_args": {"lr": "fast"}}, "lr must be a number, got lr='fast'"),
        ({"attack_args": {"signed": 1}}, "signed must be true or false, got signed=1"),
        ({"attack_args": {"labels": print}}, "attack 'inverting' takes names, numbers"),
        ({"model_args": {"hidden": [1.0, float("nan")]}, "model": "mlp"}, "model 'mlp' takes names, numbers"),
    ],
)
def test_bad_numbers_are_refused_by_name(fields, message):
    refused(message, **fields)


@pytest.mark.parametrize(
    ("defense", "args", "message"),
    [
        ("gaussian", {"sigma": -0.1}, "sigma must be >= 0, got sigma=-0.1"),
        ("gaussian", {"sigma": float("nan")}, "sigma must be a finite number, got sigma=nan"),
        ("gaussian", {"sigma": float("inf")}, "sigma must be a finite number, got sigma=inf"),
        ("laplace", {"scale": -1}, "scale must be >= 0, got scale=-1.0"),
        ("clip", {"bound": 0}, "bound must be > 0, got bound=0.0"),
        ("clip", {"bound": -1.0}, "bound must be > 0, got bound=-1.0"),
        ("clip", {"bound": 1.0, "scope": "layer"}, "unknown scope 'layer'"),
        ("prune", {"fraction": 1.01}, "fraction must be <= 1, got fraction=1.01"),
        ("prune", {"fraction": -0.5}, "fraction must be >= 0, got fraction=-0.5"),
        ("gaussian", {}, "defense 'gaussian' needs sigma; write gaussian:sigma=VALUE"),
        ("gaussian", {"sigam": 1.0}, "no argument 'sigam'; did you mean 'sigma'?"),
        ("none", {"sigma": 1.0}, "defense 'none' takes no arguments, got {'sigma': 1.0}"),
    ],
)
def test_bad_strengths_are_refused_by_name(defense, args, message):
    refused(message, defense=defense, defense_args=args)


def test_unknown_arguments_name_what_there_is():
    refused(["attack 'dlg' has no argument 'tv'", "steps, lr"], attack="dlg", attack_args={"tv": 1.0})
    refused(["model 'mlp' has no argument 'width'", "hidden"], model="mlp", model_args={"width": 3})


def test_parts_of_the_users_own(own, digits):
    case = Case(
        model=f"{own}:tiny",
        model_args={"hidden": 5},
        defense=f"{own}:shrink",
        defense_args={"factor": 1},
        knows="all",
        attack=f"{own}:grey",
    )
    assert case.attack_args == {"level": 0.5} and case.defense_args == {"factor": 1.0}
    model = model_of(case, digits.shape, digits.classes)
    params = model.init(jax.random.key(0))
    assert params["params"]["dense0"]["kernel"].shape == (64, 5)
    view = View(params, params["params"])
    for defense in (defense_of(case, floats_of(case)), belief_of(case, view, {"defense": {"factor": 0.25}})):
        assert callable(defense)
    shrunk = belief_of(case, view, {"defense": {"factor": 0.25}})(lambda key, params, batch: np.ones(2))
    assert shrunk(jax.random.key(0), None, None).tolist() == [0.25, 0.25]


def test_an_attacker_cannot_know_the_kind_of_a_bare_factory(own):
    refused(["own_parts:shrink", "knows=nothing or knows=all", "Kind"], defense=f"{own}:shrink", knows="kind")
    assert Case(attack="dlg", defense=f"{own}:SHRINK", knows="kind").defense_args == {"factor": 0.5}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_parts:missing", "no attribute 'missing'"),
        ("no_such_module:factory", "No module named 'no_such_module'"),
        ("own_parts:THREE", "is no factory but int"),
        (":factory", "cannot be imported"),
        ("clip:bound", "write clip:argument=value"),
    ],
)
def test_what_cannot_be_imported_is_refused(own, name, message):
    refused([f"defense {name!r}", message], defense=name)


def test_a_strength_that_the_users_own_factory_refuses(own):
    refused("factor must be > 0, got factor=-1.0", defense=f"{own}:shrink", defense_args={"factor": -1})
