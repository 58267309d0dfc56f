"""How the labels that an attacker finds are judged: rates, statuses, and the batch size that it estimates."""

import jax.numpy as jnp
import numpy as np
import pytest

from jleak.audit.labels import programs, trial
from jleak.labels.size import SIGNIFICANT


def test_noise_shows_in_the_imbalance(case, run):
    noisy = run(case(defense="gaussian", defense_args={"sigma": 10.0}))
    assert np.median(noisy["imbalance"]) > 0.2 and noisy["status"] == "ok"


def test_updates_that_are_not_numbers_are_a_status(case, run):
    wild = run(case(defense="gaussian", defense_args={"sigma": 3e38}))
    assert wild["status"] == "non-finite update" and wild["success"].count(None) > 3


@pytest.mark.parametrize(
    ("finite", "masked", "wanted"),
    [([1, 1], [0, 0], "ok"), ([1, 0], [0, 0], "non-finite update"), ([1, 1], [1, 0], "all-zero update")],
)
def test_status(finite, masked, wanted):
    sent = programs.Shared(None, jnp.zeros(2), jnp.array(finite, bool), jnp.array(masked, bool))
    assert trial.status(sent) == wanted


def test_an_assumed_batch_size_is_judged_by_shares(case, run):
    exact, believed = (run(case(attack="llg_plus", batch=8, assumed_batch=n)) for n in ("known", 16))
    assert believed["found"] == [16] * 6 and exact["found"] == [8] * 6
    assert np.mean(believed["success"]) > 0.9
    assert run(case(assumed_batch=4))["success"] == run(case())["success"]
    for record in (exact, believed):
        assert record["batch_estimate"] is record["batch_error"] is record["batch_chance"] is None


def test_an_attacker_who_is_not_told_the_batch_size_estimates_it(case, run, shared):
    """It alone is told nothing: from its shares of the classes, as `batch_size` does of each on its own."""
    one = case(attack="demix", batch=8, assumed_batch="unknown", models=12)
    record, (_, _, _, _, truth) = run(one), shared(one)
    assert np.mean(record["success"]) > 0.95 and set(record["found"]) == {one.believed}
    true = 8 // np.gcd.reduce(truth[:, 0], axis=1)
    estimate = np.array(record["batch_estimate"])
    assert (estimate == true).mean() > 0.5 and ((estimate == true) | (estimate == 0)).mean() > 0.9
    told = np.array(record["batch_chance"]) < SIGNIFICANT
    np.testing.assert_array_equal(estimate > 0, told)
    assert len(record["batch_error"]) == 12 and max(record["batch_error"]) <= 0.5


def test_the_estimate_is_of_each_updates_shares(case, memory):
    """Of counts by hand; none of an update that is not finite, and 0 where nothing is predicted."""
    counts = np.array([[3, 0, 5, 4], [3000, 0, 5000, 4000], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])[
        :, None
    ]
    kept = np.array([True, True, True, True, False])
    found = trial.sized(case(assumed_batch="unknown"), counts, kept, memory)
    assert found["batch_estimate"] == [12, 12, 0, 0, None]
    assert found["batch_error"][0] < 1e-5 and found["batch_chance"][2:] == [1, 1, None]


@pytest.mark.parametrize(
    ("predicted", "true", "shares", "wanted"),
    [
        ([2, 2, 0], [2, 2, 0], False, 1.0),
        ([4, 0, 0], [1, 1, 2], False, 0.25),
        ([0, 1, 0], [1, 1, 2], False, 1.0),  # of what was predicted
        ([0, 0, 0], [1, 1, 2], False, 0.0),
        ([2, 2, 4], [1, 1, 2], True, 1.0),
        ([0, 0, 8], [1, 1, 2], True, 0.5),
        ([0, 0, 0], [1, 1, 2], True, 0.0),
    ],
)
def test_success_by_hand(predicted, true, shares, wanted):
    assert trial.success(np.array(predicted), np.array(true), shares=shares) == wanted
