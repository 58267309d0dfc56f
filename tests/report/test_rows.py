"""From records to rows: what is put together, and the numbers of it."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from jleak import weights
from jleak.audit.case import Case
from jleak.report.rows import SETTING, by_model, counted, label, rows, spread, text, wilson

CLIP = {"defense": "clip", "defense_args": {"bound": 1.0}}
OTHER = {
    "dataset": "npz:a.npz",
    "model": "jleak.models:mlp",
    "model_args": {"hidden": 3},
    "weights": "other.safetensors",
    "loss_fn": "mse",
    "client": "jleak.clients:fedavg",
    "client_args": {"lr": 0.5},
    "batch": 2,
    "draw": "balanced",
    "victims": 3,
    "defense": "jleak.defenses:clip",
    "defense_args": {"bound": 1.0000001},
    "knows": "all",
    "known_labels": True,
    "attack": "jleak.attacks:inverting",
    "attack_args": {"lr": 0.5},
    "restarts": 2,
    "halving": True,
    "stop": 0.1,
    "lanes": 3,
    "precision": "bfloat16",
}


@pytest.fixture(autouse=True)
def other_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights.save(OTHER["weights"], {"bias": np.ones(2, np.float32)})


def test_trained_weights_are_in_the_title(case, record):
    one = case(weights=OTHER["weights"])
    ((title, _),) = by_model(rows([record(one)]))
    assert title == f"mlp on digits, weights={one.weights}" and "@" in one.weights


def test_every_setting_but_the_seed_makes_rows():
    fields = {field.name for field in dataclasses.fields(Case)}
    assert set(SETTING) == fields - {"seed"}
    assert set(OTHER) == fields - {"seed"}


@pytest.mark.parametrize("name", OTHER)
def test_settings_that_differ_are_never_put_together(case, record, name):
    """Neither in a row, nor in two rows that a reader could not tell apart."""
    base = CLIP | {"client": "fedavg"}
    one, other = case(**base), case(**base | {name: OTHER[name]})
    found = rows([record(one, psnr=10.0), record(other, psnr=50.0)])
    assert [row.psnr.median for row in found] == [10.0, 50.0]
    names = [(title, row.defense, row.attack, row.knows) for title, group in by_model(found) for row in group]
    assert len(set(names)) == 2, names


def test_a_record_older_than_a_setting_has_its_default(case, record):
    new = record(case())
    old = {name: value for name, value in new.items() if name not in ("weights", "halving", "stop")}
    assert len(old) == len(new) - 3
    assert rows([old]) == rows([new]) and len(rows([old, new])) == 1


def test_seeds_are_put_together(case, record):
    found = rows([record(case(seed=s), psnr=[float(s), 10.0 + s]) for s in range(4)])
    assert len(found) == 1 and found[0].victims == 8
    numbers = [0, 10, 1, 11, 2, 12, 3, 13]
    assert found[0].psnr == tuple(np.quantile(numbers, q) for q in (0.5, 0.25, 0.75))
    assert found[0].evaluations == 10 and found[0].seconds == 2.0


def test_spread_leaves_out_what_is_not_finite(case, record):
    (row,) = rows([record(case(), loss=[None, 3.0], psnr=[None, None])])
    assert row.loss == (3.0, 3.0, 3.0)
    assert all(map(math.isnan, row.psnr))
    assert all(map(math.isnan, spread([math.inf, math.nan])))


@pytest.mark.parametrize(("successes", "trials"), [(0, 8), (8, 8), (3, 8), (1, 1), (57, 400), (0, 1)])
def test_wilson(successes, trials):
    """Against SciPy, and by its definition: at the ends the share is 1.96 standard errors away."""
    low, high = wilson(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    for end in (low, high):
        if 0 < end < 1:
            z = abs(successes / trials - end) / math.sqrt(end * (1 - end) / trials)
            assert z == pytest.approx(1.959964, abs=1e-6)


def test_labels_are_counted_over_images(case, record):
    (row,) = rows([record(case(batch=4), label_success=[0.75, 0.5])])
    assert row.labels.median == pytest.approx(5 / 8)
    assert (row.labels.low, row.labels.high) == pytest.approx(wilson(5, 8))


@pytest.mark.parametrize(
    ("psnr", "constant", "verdict"),
    [
        (30.0, 10.0, "recovered"),
        (29.99, 10.0, "partly"),
        (13.0, 10.0, "partly"),
        (12.99, 10.0, "not recovered"),
        (9.0, 10.0, "not recovered"),
        (29.0, 26.5, "not recovered"),
        (None, 10.0, "not recovered"),
    ],
)
def test_verdicts(case, record, psnr, constant, verdict):
    (row,) = rows([record(case(), psnr=psnr, constant_psnr=constant)])
    assert row.verdict == verdict


def test_the_verdict_is_the_median_victims(case, record):
    (row,) = rows([record(case(victims=3), psnr=[5.0, 31.0, 90.0])])
    assert row.verdict == "recovered"
    (row,) = rows([record(case(victims=3), psnr=[5.0, 6.0, 90.0])])
    assert row.verdict == "not recovered"


def test_statuses_are_told_once(case, record):
    statuses = ["ok", "non-finite loss", "ok"]
    (row,) = rows([record(case(seed=i), status=status) for i, status in enumerate(statuses)])
    assert row.status == "non-finite loss; ok"


def test_rows_of_a_defense_stand_together_in_the_order_of_the_audit(case, record):
    plan = [
        case(
            attack=attack, knows=knows if defense != "none" else "nothing", defense=defense, defense_args=args
        )
        for attack in ("inverting", "dlg")
        for knows in ("all", "nothing", "kind")
        for defense, args in (("none", {}), ("prune", {"fraction": 0.9}), ("clip", {"bound": 1.0}))
    ]
    plan = list({one.case_id: one for one in plan}.values())
    ((title, group),) = by_model(rows([record(one) for one in plan]))
    assert title == "mlp on digits"
    assert [row.setting["defense"] for row in group] == ["none"] * 2 + ["prune"] * 6 + ["clip"] * 6
    assert [row.knows for row in group[2:8]] == ["nothing"] * 2 + ["kind"] * 2 + ["all"] * 2


def test_labels_of_names_say_what_tells_them_apart(case, record):
    records = [
        record(case(attack_args={"steps": 10})),
        record(case(attack_args={"steps": 20})),
        record(case(**CLIP, model_args={"hidden": [8, 4]})),
    ]
    assert [label("attack", one, records) for one in records[:2]] == [
        "inverting steps=10",
        "inverting steps=20",
    ]
    assert label("model", records[2], records) == "mlp hidden=8-4"
    assert label("defense", records[2], records) == "clip bound=1"
    assert label("defense", records[0], records) == "none"


def test_text_is_exact():
    for number in (0.1, 1e-4, 1 / 3, 1.0000001, 123456.7):
        assert float(text(number)) == number
    assert text(1.0) == "1" and text(True) == "true" and text((16, 8)) == "16-8" and text("adam") == "adam"


def test_an_unfinished_run_says_how_many_victims(case, record):
    found = rows([record(case()), record(case(seed=1)), record(case(**CLIP))])
    assert counted(found) == "2 to 4" and counted(found[:1]) == "4"


def test_the_features_of_the_model_are_in_the_row(case, record):
    """And in none of a record that is older than they are, or of a model that does not tell them."""
    (found,) = rows([record(case(), mse_features=[0.1, 0.3])])
    assert found.mse_features.median == pytest.approx(0.2)
    assert math.isnan(rows([record(case())])[0].mse_features.median)
