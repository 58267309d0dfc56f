"""Cases of measures: checked, run from seed to record, resumed; what they look at and what they do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data
from jleak.audit import store
from jleak.audit.cohort.pools import pools
from jleak.audit.cohort.stages import Memory, placed
from jleak.audit.measures import driver
from jleak.audit.measures.case import MeasureCase
from jleak.audit.measures.config import cases, measure_config_of
from jleak.audit.measures.programs import plans, shortened
from jleak.audit.measures.trial import drawn_for, measure_of, status, summary, trial
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage.sensitivity import sensitivity
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch

TIMES = ("seconds", "compile_seconds")


def numbers(record):
    return {name: value for name, value in record.items() if name not in TIMES}


PARTS = {
    "sensitivity": {},
    "mutual_information": {"components": 8},
    "mixing": {},
    "subspace_distance": {"k": 2, "splits": 2},
    "recovery": {"attack": "inverting:steps=20"},
}


@pytest.mark.parametrize("measure", PARTS)
def test_a_record_is_complete_and_repeats(run, digits, measure, made):
    case = made(measure=measure, measure_args=PARTS[measure])
    record, arrays = run(case)
    assert MeasureCase.from_json(record) == case and record["case_id"] == case.case_id
    assert record["kind"] == "measure" and record["status"] == "ok"
    assert record["names"] == ["dense0", "head"] and record["sizes"] == [65 * 16, 17 * 10]
    main = record["main"]
    assert np.isfinite(record["whole"][main["whole"]]["median"])
    if main["layer"]:
        values = arrays[f"layers/{main['layer']}"]
        assert values.shape[0] == 2 and values.shape[-1] == 2 and np.isfinite(values).all()
        np.testing.assert_allclose(
            record["layers"][main["layer"]]["median"],
            np.median(values.reshape(-1, 2), axis=0),
            rtol=1e-5,
        )
    again = trial(case, {"digits": digits}, Memory(), lambda part, loss: None)[0]
    assert numbers(again) == numbers(record)


def test_a_measure_of_a_batch_is_that_of_the_library(run, digits, made):
    """Of the first model and its first batch."""
    case = made(measure="sensitivity", measure_args={"probes": 2000}, records=1, models=1, batch=2)
    found = run(case)[1]["layers/frobenius"][0, 0]
    sides = placed(pools(case, {"digits": digits}))
    from jleak.audit.cohort.stages import keys
    from jleak.tree import stream

    model = mlp(digits.shape, 10, hidden=16)
    picks = data.picks(stream(jax.random.key(0), "data"), sides.pools.private, 1, 2)[0]
    batch = Batch(
        jnp.asarray(data.pixels(sides.pools.private.x[picks])), jnp.asarray(sides.pools.private.labels[picks])
    )
    params = model.init(keys(case, "model")[0])
    plain = sensitivity(jax.random.key(9), model, fedsgd(model, cross_entropy), params, batch, probes=2000)
    np.testing.assert_allclose(found, plain.frobenius, rtol=0.1)


def test_more_noise_tells_less_and_is_recovered_worse(run, made):
    quiet, noisy = ({"defense": "gaussian", "defense_args": {"sigma": s}} for s in (0.001, 0.3))
    total = [run(made(measure="mutual_information", **d))[0]["whole"]["total"] for d in (quiet, noisy)]
    assert total[0]["low"] > 2 * total[1]["high"]
    mse = [
        run(made(measure="recovery", measure_args=PARTS["recovery"], **d))[0]["whole"]["mse"]
        for d in (quiet, noisy)
    ]
    assert mse[0]["median"] < mse[1]["median"] / 2


@pytest.mark.slow
def test_trees_run_on_the_host(run, made):
    settings = {"family": "boosted_trees", "seeds": 1, "permutations": 0}
    record, _ = run(made(measure="usable_information", measure_args=settings, updates=120, batch=8))
    assert 0 <= record["whole"]["ratio"]["median"] <= 1


@pytest.mark.slow
def test_estimators_from_pairs_look_at_images(run, made):
    settings = {"estimator": "gaussian", "sigma": 1e-3}
    record, _ = run(made(measure="mutual_information", measure_args=settings, updates=200))
    assert record["on"] == "images" and record["layers"]["nats"]["median"][0] > 0.5


def test_batches_of_an_attribute_are_matched_and_apart(digits, made):
    case = made(measure="subspace_distance", batch=4, updates=60)
    sides = placed(pools(case, {"digits": digits}))
    drawn, images = drawn_for(case, measure_of(case), sides), sides.pools.private
    held = data.attribute(images, "bright")[drawn.picks]
    assert (held == drawn.value[:, None]).all()
    labels = images.labels[drawn.picks]
    np.testing.assert_array_equal(labels[drawn.value == 0], labels[drawn.value == 1])
    of_split = [set(drawn.picks[drawn.split == part].ravel()) for part in range(3)]
    assert not (of_split[0] & of_split[2] or of_split[0] & of_split[1] or of_split[1] & of_split[2])


def test_nobody_is_in_training_and_test(digits, made):
    """By groups: five images of each person."""
    person = {"person": np.arange(digits.size) // 5}
    images = data.from_arrays(digits.x / 16.0, digits.labels, name="people", attributes=person)
    case = made(measure="usable_information", measure_args={"of": "images"}, groups="person", updates=50)
    sides = placed(pools(case, {"digits": images}))
    drawn, who = drawn_for(case, measure_of(case), sides), sides.pools.private.attributes["person"]
    of_split = [set(who[drawn.picks[drawn.split == part]].ravel()) for part in range(3)]
    assert not (of_split[0] & of_split[2] or of_split[0] & of_split[1] or of_split[1] & of_split[2])


def test_layers_are_sketched_by_one_key(digits):
    rows = jax.random.normal(jax.random.key(1), (2, 100))
    by = plans(jax.random.key(0), (100,), 16)
    one, other = (shortened((row,), by, 16)[0] for row in rows)
    both = shortened((rows.sum(0),), by, 16)[0]
    np.testing.assert_allclose(one + other, both, atol=1e-5)  # linear, so the projection is the same


def test_summaries_leave_out_what_is_not_finite():
    found = summary(np.array([[1.0, np.nan], [3.0, np.inf], [5.0, np.nan]]), keep=1)
    assert found == {"median": [3.0, None], "low": [2.0, None], "high": [4.0, None]}


def test_estimates_that_are_not_to_be_trusted_are_told():
    """Near the cap, or with an interval of no width."""
    fine = {name: np.array([1.0]) for name in ("layers/nats", "layers/low")}
    assert status(fine | {"layers/cap": np.array([9.0]), "layers/high": np.array([2.0])}) == "ok"
    flat = fine | {"layers/high": fine["layers/low"], "layers/cap": np.array([1.05])}
    assert "near the cap of the estimator, 1.05 nats" in status(flat) and "without width" in status(flat)


@pytest.fixture
def plan():
    settings = {
        "models": "mlp:hidden=16", "count": 1, "records": 2, "measures": ["sensitivity", "mixing"],
        "attacks": "dlg:steps=3", "train_steps": [0, 60], "lanes": 1,
    }  # fmt: skip
    return cases(measure_config_of(settings))


def test_a_run_is_a_grid_and_goes_on_where_it_was_stopped(plan, tmp_path, digits):
    assert [(case.train_steps, case.measure) for case in plan] == [
        (steps, name) for steps in (0, 60) for name in ("sensitivity", "mixing", "recovery")
    ]
    path = tmp_path / "run"
    store.make(path, {"kind": "measure"})

    def interrupt(stand):
        if stand.part > 0.5:
            raise KeyboardInterrupt

    sets = {"digits": digits}
    with pytest.raises(KeyboardInterrupt):
        driver.run(plan, path, sets, finished={}, report=interrupt)
    finished = store.finished(path, resume=True, kind="measure")
    assert [*finished] == [case.case_id for case in plan[:3]]
    records = driver.run(plan, path, sets, finished=finished)
    other = tmp_path / "other"
    store.make(other, {"kind": "measure"})
    whole = driver.run(plan, other, sets, finished={})
    assert [*map(numbers, records)] == [*map(numbers, whole)]
    assert records[3]["accuracy"] is not None and records[0]["accuracy"] is None


REFUSED = {
    "unknown measure": ({"measure": "sensitvity"}, "did you mean 'sensitivity'"),
    "no resolution": ({"measure": "mutual_information", "measure_args": {"sigma": 0.0}}, "sigma must be > 0"),
    "unknown estimator": (
        {"measure": "mutual_information", "measure_args": {"estimator": "kgs"}},
        "did you mean 'ksg'",
    ),
    "unknown family": (
        {"measure": "usable_information", "measure_args": {"family": "tree"}},
        "unknown family 'tree'",
    ),
    "conv probes of a model that does not convolve": (
        {"measure": "usable_information", "measure_args": {"family": "conv"}},
        "family 'conv' must have a layer whose kernel slides over an image .* take family=mlp",
    ),
    "unknown attribute": ({"measure": "subspace_distance", "attribute": "smiling"}, "unknown attribute"),
    "label for attribute": (
        {"measure": "subspace_distance", "attribute": "labels"},
        "an attribute that labels do not determine",
    ),
    "too few updates": (
        {"measure": "subspace_distance", "measure_args": {"k": 40}},
        "subspaces of k=40 dimensions need 80",
    ),
    "odd number": ({"measure": "subspace_distance", "updates": 61}, "count must be a multiple of 2"),
    "unknown attack": ({"measure": "recovery", "measure_args": {"attack": "dl"}}, "unknown attack 'dl'"),
    "attack with a prior": (
        {"measure": "recovery", "measure_args": {"attack": "ggl:prior=digits"}},
        "attacks that need no generator, got 'ggl:prior=digits'; name another",
    ),
    "no updates": ({"measure": "sensitivity", "updates": 0}, "updates must be >= 1"),
    "unknown protocol": ({"measure": "sensitivity", "protocol": "homogenous"}, "did you mean 'homogeneous'"),
    "constant covariance": (
        {"measure": "mutual_information", "measure_args": {"draws": 1}},
        "draws must be >= 2",
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_settings_are_refused_before_anything_runs(changes, message, made):
    with pytest.raises(InputError, match=message):
        driver.prepared([made(**changes)])


def test_a_factory_that_gives_no_measure_is_named(made):
    with pytest.raises(InputError, match="must give a jleak.leakage.measure.Measure on one of batch, images"):
        driver.prepared([made(measure="jleak.leakage.usable:logistic")])


def test_what_is_known_of_images_is_worked_out_once(digits, made):
    """Over the defenses and stages of one data set; anew for another number of directions."""
    memory, built = Memory(), []
    memory.last = lambda name, key, build, last=memory.last: last(
        name, key, lambda: built.append(name) or build()
    )
    for sigma in (0.1, 0.2):
        for components in (4, 8):
            noise = {"defense": "gaussian", "defense_args": {"sigma": sigma}}
            case = made(measure="mutual_information", measure_args={"components": components}, **noise)
            trial(case, {"digits": digits}, memory, lambda part, loss: None)
    assert built.count("known to mutual_information") == 4  # the latest alone is kept
    again = made(measure="mutual_information", measure_args={"components": 8}, batch=2)
    trial(again, {"digits": digits}, memory, lambda part, loss: None)
    assert built.count("known to mutual_information") == 4


def test_unknown_keys_are_named():
    with pytest.raises(InputError, match="measurs: unknown key; known: .*measures"):
        measure_config_of({"measurs": "mixing"})
