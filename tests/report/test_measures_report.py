"""Measures shown: maps, correlations with attacks, pictures and page, from made-up records."""

import numpy as np
import pytest
from rich.console import Console

from jleak.audit import store
from jleak.audit.measures.case import MeasureCase
from jleak.report.kinds import KINDS, measures_line
from jleak.report.measures import console, figures, page, rows
from jleak.report.measures.scatter import correlation, points
from jleak.report.rows import Spread

LAYERS = ["conv0", "head"]
SIGMAS = (0.01, 0.1, 0.2, 0.5, 1.0)


def record(case, arrays, main, path, **more):
    """A finished case with these arrays."""
    made = {
        "case_id": case.case_id, "kind": "measure", **case.to_json(), "on": "batch", "main": main,
        "status": "ok", "names": LAYERS, "sizes": [30, 9], "layers": {}, "whole": {}, "accuracy": None,
        "seconds": 1.0, "compile_seconds": 0.0, "device": "cpu:cpu",
        "versions": {"jleak": "0", "python": "3"}, **more,
    }  # fmt: skip
    store.add_record(path, {r["case_id"]: r for r in store.read_records(path)}, made, arrays)
    return made


@pytest.fixture
def run(tmp_path):
    """Five noises: the more, the less a measure of two layers shows and the worse an attack recovers."""
    store.make(tmp_path / "run", {"kind": "measure", "command": "jleak measure"})
    path, rng = tmp_path / "run", np.random.default_rng(0)
    nats = {"layer": "nats", "whole": "sample", "unit": "nats"}
    mse = {"layer": "", "whole": "mse", "unit": ""}
    for sigma in SIGMAS:
        shared = {"defense": "gaussian", "defense_args": {"sigma": sigma}, "models": 2, "records": 3}
        wobble = 1 + 0.01 * rng.random((2, 3))
        measure = MeasureCase(measure="mutual_information", **shared)
        layers = np.stack([wobble / sigma, 2 * wobble / sigma], -1)
        record(measure, {"layers/nats": layers, "whole/sample": wobble / sigma}, nats, path)
        attack = MeasureCase(measure="recovery", **shared)
        record(attack, {"whole/mse": 0.1 * wobble * sigma, "whole/psnr": -wobble}, mse, path)
    return path


@pytest.fixture
def found(run):
    return rows.blocks(store.read_records(run), run)


def test_a_block_a_setting_with_its_measures_and_attacks(found):
    assert [block.title for block in found] == [
        f"lenet on digits, untrained, batch 1, gaussian sigma={s:g}" for s in SIGMAS
    ]
    first = found[0]
    assert [c.name for c in first.measures] == ["mutual information"]
    assert [c.name for c in first.attacks] == ["inverting:steps=200"]
    assert 100 <= first.measures[0].shown[0].median <= 101 and 200 <= first.measures[0].shown[1].median <= 202
    assert first.measures[0].layers["nats"].shape == (6, 2)


def test_seeds_are_put_together_and_nothing_else(run):
    whole = {"layer": "", "whole": "mu", "unit": ""}
    for seed, value in ((0, 1.0), (1, 3.0)):
        case = MeasureCase(measure="mixing", seed=seed, batch=8)
        record(case, {"whole/mu": np.full((2, 3), value)}, whole, run)
    (block,) = [b for b in rows.blocks(store.read_records(run), run) if b.records[0]["batch"] == 8]
    assert block.columns[0].whole["mu"].shape == (4, 3) and block.columns[0].total.median == 2.0


def test_the_correlation_is_over_settings_and_right(found):
    (one,) = points(found)
    assert (one.over, one.rho, one.measure) == ("settings", -1.0, "mutual information")
    assert len(one.x) == 30 and one.middle.shape == (5, 2)
    np.testing.assert_allclose(one.middle[:, 1], 0.1 * np.array(SIGMAS), rtol=0.02)


def test_few_settings_are_compared_batch_by_batch(found):
    (one,) = points(found[:2])
    assert one.over == "batches" and len(one.x) == 12 and one.rho < -0.5


def test_rank_correlations_have_intervals_that_cover():
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    rho, low, high = correlation(x, x + 2 * rng.normal(size=60))
    assert low < rho < high and high - low > 0.2
    assert np.isnan(correlation(x[:3], x[:3])[0])
    assert np.isnan(correlation(np.ones(9), x[:9])[0])
    assert correlation(x, -np.exp(x))[0] == -1.0


def test_a_number_a_model_meets_the_mean_of_its_batches(run):
    """A measure that learns from many updates has one value a model."""
    main = {"layer": "", "whole": "ratio", "unit": "share"}
    for sigma in SIGMAS:
        shared = {"defense": "gaussian", "defense_args": {"sigma": sigma}, "models": 2, "records": 3}
        case = MeasureCase(measure="usable_information", **shared)
        record(case, {"whole/ratio": np.array([0.5, 0.6]) / sigma}, main, run)
    of = {one.measure: one for one in points(rows.blocks(store.read_records(run), run))}
    assert len(of["usable information"].x) == 10 and of["usable information"].rho == -1.0


def test_the_table_names_layers_wholes_and_the_prediction(found):
    screen = Console(record=True, width=150)
    for table in console.tables(found, 150):
        screen.print(table)
    text = screen.export_text()
    for part in (*LAYERS, "mutual information, sample: 100", "inverting:steps=200, mse: 0.001", "oracle's"):
        assert part in text
    assert "-1.00 [-1.00, -1.00]" in text and "5 settings" in text


def test_a_status_is_told(run, found):
    case = MeasureCase(
        measure="sensitivity", defense="gaussian", defense_args={"sigma": SIGMAS[0]}, models=2, records=3
    )
    main = {"layer": "relative", "whole": "frobenius", "unit": ""}
    arrays = {"layers/relative": np.full((2, 3, 2), np.nan), "whole/frobenius": np.full((2, 3), np.nan)}
    made = record(case, arrays, main, run)
    records = [
        r | ({"status": "not finite: layers/relative"} if r["case_id"] == made["case_id"] else {})
        for r in store.read_records(run)
    ]
    screen = Console(record=True, width=150)
    blocks = rows.blocks(records, run)
    screen.print(console.table(blocks[0], 150))
    assert "not finite: layers/relative" in screen.export_text()
    assert figures.layer_map(blocks[0], _made(run)).path.is_file()


def _made(run):
    (run / "figures").mkdir(exist_ok=True)
    return run


def test_numbers_are_short():
    assert console.number(Spread(0.123456, 0.1, 0.2), 200) == "0.123 [0.1, 0.2]"
    assert console.number(Spread(float("nan"), float("nan"), float("nan")), 200) == "-"


def test_pictures_and_page(run, found):
    pictures = figures.draw(found, run)
    assert len(pictures) == 6 and all(p.path.is_file() for p in pictures)
    text = page.html(found, pictures, store.read_settings(run))
    for part in ("Where it leaks", "Does the measure predict the attack?", "conv0", "oracle"):
        assert part in text


def test_measures_that_no_attack_is_beside_are_shown_alone(run):
    records = [r for r in store.read_records(run) if r["measure"] != "recovery"]
    blocks = rows.blocks(records, run)
    assert points(blocks) == [] and len(console.tables(blocks, 100)) == 5
    assert len(KINDS["measure"].draw(blocks, run)) == 5


def test_a_case_in_a_line():
    case = MeasureCase(measure="recovery", client="fedavg", batch=10, measure_args={"attack": "dlg:steps=9"})
    assert measures_line(case) == "lenet, fedavg, batch 10: dlg:steps=9"


@pytest.fixture
def exposing(run):
    """Two seeds of a measure that knows records, whose probes differ by layer; other cases know none."""
    main, path = {"layer": "ratio", "whole": "ratio", "unit": "share"}, run
    for seed, bits in ((0, (3.0, 1.0)), (1, (2.0, None))):
        case = MeasureCase(measure="usable_information", models=2, records=3, seed=seed)
        top = [
            {
                "record": 100 * seed + i, "label": "seven", "bits": {"median": b, "low": b, "high": b},
                "batches": 1, "layer": "head", "of_layer": b,
            }
            for i, b in enumerate(bits)
        ]  # fmt: skip
        arrays = {
            "layers/ratio": np.full((2, 2), 0.5), "whole/ratio": np.full(2, 0.5),
            "exposed/record": np.arange(2), "exposed/images": np.full((2, 4, 4, 1), bits[0] / 3),
        }  # fmt: skip
        told = {"records": 40, "median": 0.25, "top": top}
        record(case, arrays, main, path, exposed=told, note="conv probes for conv0")
    return [b for b in rows.blocks(store.read_records(run), run) if b.ranked]


def test_the_most_exposed_records_of_all_seeds_come_first(exposing):
    ((column, ranking),) = exposing[0].ranked
    assert [(one.record, one.seed) for one in ranking.top] == [(0, 0), (100, 1), (1, 0), (101, 1)]
    assert [float(one.image.max()) for one in ranking.top[:2]] == [1.0, pytest.approx(2 / 3)]
    assert (ranking.records, ranking.median, column.note) == (80, 0.25, "conv probes for conv0")
    assert set(column.whole) == {"ratio"}


def test_they_are_told_on_screen_and_page_with_their_pictures(run, exposing):
    screen = Console(record=True, width=150)
    for table in console.tables(exposing, 150):
        screen.print(table)
    pictures = figures.draw(exposing, run)
    text = page.html(exposing, pictures, store.read_settings(run))
    for shown in (screen.export_text(), text):
        for part in ("Most exposed records", "seven", "head 2", "80 test records has 0.25 bits"):
            assert part in shown
        assert "usable information: conv probes for conv0." in shown and "seed" in shown
    assert [p.path.name for p in pictures] == [
        f"{kind}-lenet_on_digits_untrained_batch_1_no_defense.png" for kind in ("map", "exposed")
    ]
