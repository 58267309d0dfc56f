"""Batches with and without an attribute: apart by record and person, matched label by label."""

import jax
import numpy as np
import pytest

from jleak.check import InputError
from jleak.leakage.usable import apart, batches, draws
from jleak.leakage.usable.splits import dealt, pools

KEY = jax.random.key(0)
SIZE, N = 600, 6


@pytest.fixture(scope="module")
def population():
    """Labels, an attribute of three values that goes with them, and persons of four records each."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, SIZE)
    attribute = np.where(random.random(SIZE) < 0.6, labels % 3, random.integers(0, 3, SIZE))
    return labels, attribute, np.arange(SIZE) // 4


def drawn(population, how, **settings):
    labels, attribute, _ = population
    values = 3 if how == "homogeneous" else 2
    return draws(KEY, labels, attribute, count=20 * values, n=N, how=how, **settings)


@pytest.mark.parametrize("how", ["homogeneous", "presence"])
@pytest.mark.parametrize("by_person", [False, True])
def test_nobody_is_in_two_splits(population, how, by_person):
    persons = population[2]
    found = drawn(population, how, groups=persons if by_person else None)
    owners = (persons if by_person else np.arange(SIZE))[found.picks]
    seen = [set(owners[found.split == part].ravel()) for part in range(3)]
    assert all(seen)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    if not by_person:  # persons would be, so the split by person is one that matters
        with pytest.raises(InputError, match="group"):
            apart(found.picks, found.split, persons)


@pytest.mark.parametrize("how", ["homogeneous", "presence"])
def test_labels_are_matched_exactly(population, how):
    labels, attribute, _ = population
    values = 3 if how == "homogeneous" else 2
    found = drawn(population, how)
    sets = labels[found.picks].reshape(-1, values, N)
    np.testing.assert_array_equal(sets, np.broadcast_to(sets[:, :1], sets.shape))
    np.testing.assert_array_equal(found.value.reshape(-1, values), np.tile(np.arange(values), (20, 1)))
    assert len({tuple(sorted(one[0])) for one in sets}) > 5  # and not by being all the same
    # unlike those of the records themselves
    assert np.abs(np.corrcoef(labels % 3 == 0, attribute == 0)[0, 1]) > 0.3


def test_a_homogeneous_batch_has_one_value(population):
    found = drawn(population, "homogeneous")
    np.testing.assert_array_equal(population[1][found.picks], np.tile(found.value[:, None], N))


@pytest.mark.parametrize(("share", "holders"), [(0.01, 1), (0.5, 3), (1.0, 6)])
def test_a_share_of_a_batch_has_the_value_or_none(population, share, holders):
    found = drawn(population, "presence", share=share, present=2)
    np.testing.assert_array_equal((population[1][found.picks] == 2).sum(1), found.value * holders)


@pytest.mark.parametrize("how", ["homogeneous", "presence"])
def test_records_of_a_batch_differ_and_the_key_decides_which(population, how):
    found = drawn(population, how)
    assert all(len(set(batch)) == N for batch in found.picks)
    np.testing.assert_array_equal(found.picks, drawn(population, how).picks)
    labels, attribute, _ = population
    other = draws(jax.random.key(1), labels, attribute, count=len(found.picks), n=N, how=how)
    assert (other.picks != found.picks).mean() > 0.9


def test_shares_of_records_and_batches_are_60_20_20(population):
    labels, attribute, persons = population
    cells = 3 * labels + attribute
    place = pools(KEY, cells)
    for cell in np.unique(cells):
        counts = np.bincount(place[cells == cell], minlength=3)
        np.testing.assert_allclose(counts, np.array([0.6, 0.2, 0.2]) * counts.sum(), atol=1)
    grouped = np.bincount(pools(KEY, cells, groups=persons)) / SIZE
    np.testing.assert_allclose(grouped, [0.6, 0.2, 0.2], atol=0.02)
    found = drawn(population, "homogeneous")
    assert np.bincount(found.split).tolist() == [36, 12, 12]


def test_hands_use_the_whole_deck_before_a_card_again():
    hands = dealt(KEY, np.arange(5), [3, 3, 3, 3, 3])
    assert all(len(set(hand.tolist())) == 3 for hand in hands)
    assert np.bincount(np.concatenate(hands)).tolist() == [3] * 5


def test_batches_without_an_attribute_are_apart_too(population):
    labels, _, persons = population
    found = batches(KEY, labels, count=50, n=8, groups=persons)
    apart(found.picks, found.split, persons)
    assert found.picks.shape == (50, 8)
    assert not found.value.any()


def attempt(population, **changes):
    labels, attribute, persons = population
    return draws(KEY, **{"labels": labels, "attribute": attribute, "count": 60, "n": N, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribute": np.ones(SIZE, int)}, r"must take two values at least, got \[1\] only.*choose an attr"),
        ({"attribute": (np.arange(SIZE) < 8).astype(int)}, "must have 6 that every value.*smaller n"),
        ({"n": 200}, "must have 200 that every value of the attribute can match"),
        ({"how": "presence", "share": 0.01, "n": 120}, "must have 119 that every value.*got"),
        ({"count": 61}, "count must be a multiple of 3.*got count=61; use 60"),
        ({"count": 6}, "count must be >= 9, got count=6; every split needs a batch"),
        ({"how": "presense"}, "unknown how 'presense'; did you mean 'presence'"),
        ({"how": "presence", "present": 7}, r"present=7; it takes \[0, 1, 2\]"),
        ({"share": 0.0}, "share must be > 0, got share=0.0"),
        ({"labels": np.zeros(SIZE)}, "labels must be one whole number a record, got float64"),
        ({"labels": np.zeros(3, int)}, r"one of each a record, got labels \(3,\), attribute \(600,\)"),
        ({"groups": np.arange(SIZE) % 2}, "need a group each, got 2; give more, or split by records"),
    ],
)
def test_bad_input_is_refused(population, changes, message):
    with pytest.raises(InputError, match=message):
        attempt(population, **changes)
