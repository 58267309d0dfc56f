"""`draw` and `victims`: determinism, the promise of each way of drawing, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.data import HOW, digits, draw, from_arrays, picks, victims
from jleak.data.draw import REPLACED

KEY = jax.random.key(0)
LABELS = np.repeat([0, 1, 2, 4], [20, 12, 8, 5])  # class 3 has no images
TINY = from_arrays(
    np.arange(45, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8),
    LABELS,
    list("abcde"),
    name="tiny",
)


def positions(batch):
    """Which images of TINY a batch holds."""
    return np.rint(np.asarray(batch.x)[..., 0, 0, 0] * 255).astype(int)


def test_batch_is_float32_in_the_unit_interval_with_its_own_labels():
    batch = draw(KEY, TINY, 7)
    assert batch.x.shape == (7, 2, 2, 1) and batch.x.dtype == jnp.float32
    assert batch.y.shape == (7,) and batch.y.dtype == jnp.int32
    np.testing.assert_array_equal(batch.y, LABELS[positions(batch)])
    np.testing.assert_array_equal(batch.x, TINY.x[positions(batch)] / np.float32(255))


def test_stored_floats_are_drawn_unchanged():
    images = digits()
    batch = draw(KEY, images, 5)
    for x, y in zip(batch.x, batch.y, strict=True):
        assert y in images.labels[(images.x == x).all(axis=(1, 2, 3))]


PINNED = {
    "balanced": [11, 34, 20, 44],
    "distinct": [11, 34, 20, 44],
    "non_iid": [19, 21, 5, 36],
    "one_class": [11, 9, 14, 18],
    "random": [11, 34, 20, 9],
    "uniform": [31, 21, 33, 24],
}


@pytest.mark.parametrize("how", HOW)
def test_the_same_numbers_on_every_machine(how):
    """Pinned: a change here silently changes the victims of every recorded run."""
    assert positions(draw(KEY, TINY, 4, how)).tolist() == PINNED[how]


def test_the_same_victims_on_every_machine():
    assert positions(victims(KEY, TINY, 4, 3)).tolist() == [
        [26, 12, 8],
        [17, 34, 31],
        [7, 20, 15],
        [29, 3, 27],
    ]


@pytest.mark.parametrize("how", HOW)
def test_same_key_same_batch_other_key_other_batch(how):
    first = positions(draw(KEY, TINY, 4, how))
    np.testing.assert_array_equal(first, positions(draw(jax.random.key(0), TINY, 4, how)))
    others = [positions(draw(jax.random.key(k), TINY, 4, how)).tolist() for k in range(1, 6)]
    assert first.tolist() not in others and len(set(map(tuple, others))) == 5


@pytest.mark.parametrize("how", HOW)
def test_sixty_four_bit_mode_draws_the_same(how):
    with jax.enable_x64(True):
        batch = draw(KEY, TINY, 4, how)
    assert batch.x.dtype == jnp.float32
    np.testing.assert_array_equal(positions(batch), positions(draw(KEY, TINY, 4, how)))


def test_random_is_without_replacement_and_uniform():
    assert sorted(positions(draw(KEY, TINY, 45))) == list(range(45))
    drawn = positions(victims(KEY, TINY, 300, 3)).ravel()  # 900 images, each 20 times as all are reused
    assert np.bincount(drawn, minlength=45).tolist() == [20] * 45
    first = [positions(draw(jax.random.key(k), TINY, 1))[0] for k in range(450)]
    counts = np.bincount(first, minlength=45)
    assert ((counts - 10) ** 2 / 10).sum() < 87  # chi-squared with 44 degrees of freedom: p = 1e-4


@pytest.mark.parametrize("n", [1, 3, 4, 6, 8, 20, 23])
def test_balanced_counts_differ_by_at_most_one(n):
    for k in range(5):
        counts = np.bincount(draw(jax.random.key(k), TINY, n, "balanced").y, minlength=5)[[0, 1, 2, 4]]
        assert counts.sum() == n and counts.max() - counts.min() <= 1


def test_balanced_remainder_falls_on_every_class():
    extra = [int(draw(jax.random.key(k), TINY, 1, "balanced").y[0]) for k in range(60)]
    assert set(extra) == {0, 1, 2, 4}


def test_order_within_a_balanced_batch_is_not_sorted():
    assert any(np.any(np.diff(draw(jax.random.key(k), TINY, 8, "balanced").y) < 0) for k in range(3))


def test_one_class_takes_one_that_is_large_enough():
    seen = set()
    for k in range(40):
        batch = draw(jax.random.key(k), TINY, 8, "one_class")
        assert len(set(batch.y.tolist())) == 1 and len(set(positions(batch))) == 8
        seen.add(int(batch.y[0]))
    assert seen == {0, 1, 2}


def test_distinct_labels():
    for k in range(5):
        assert len(set(draw(jax.random.key(k), TINY, 3, "distinct").y.tolist())) == 3
    assert sorted(draw(KEY, TINY, 4, "distinct").y.tolist()) == [0, 1, 2, 4]


@pytest.mark.parametrize("how, count, n", [("random", 15, 3), ("distinct", 5, 4), ("balanced", 5, 4)])
def test_victims_share_no_image(how, count, n):
    batch = victims(KEY, TINY, count, n, how)
    assert batch.x.shape == (count, n, 2, 2, 1) and batch.y.shape == (count, n)
    assert len(np.unique(positions(batch))) == count * n
    np.testing.assert_array_equal(batch.y, LABELS[positions(batch)])


def test_one_class_victims_share_no_image_until_no_class_is_left():
    drawn = positions(victims(KEY, TINY, 9, 4, "one_class"))  # 5 + 3 + 2 + 1 fit
    assert len(np.unique(drawn)) == 36


@pytest.mark.parametrize("how", HOW)
def test_victims_follow_draw_and_do_not_depend_on_their_number(how):
    many, few = victims(KEY, TINY, 6, 4, how), victims(KEY, TINY, 2, 4, how)
    np.testing.assert_array_equal(many.x[:2], few.x)
    np.testing.assert_array_equal(few.x[0], draw(jax.random.fold_in(KEY, 0), TINY, 4, how).x)


@pytest.mark.parametrize("how", sorted({*HOW} - {*REPLACED}))
def test_victims_reuse_images_once_all_are_used(how):
    batch = victims(KEY, TINY, 40, 4, how)
    for row, y in zip(positions(batch), np.asarray(batch.y), strict=True):
        assert len(set(row)) == 4
        assert len(set(y)) == {"distinct": 4, "balanced": 4, "one_class": 1}.get(how, len(set(y)))


def labels_of(count, n, how):
    """The labels of that many victims' batches."""
    return LABELS[picks(KEY, TINY, count, n, how)]


def test_uniform_labels_whatever_the_sizes_of_the_classes():
    y = labels_of(40, 25, "uniform")
    counts = np.bincount(y.ravel(), minlength=5)[[0, 1, 2, 4]]
    assert ((counts - 250) ** 2 / 250).sum() < 21.1  # 3 degrees of freedom, p = 1e-4
    assert len({tuple(np.bincount(row, minlength=5)) for row in y}) > 20


def test_uniform_images_within_a_class_with_replacement():
    drawn = picks(KEY, TINY, 1, 4000, "uniform")[0]
    for label, size in {0: 20, 1: 12, 2: 8, 4: 5}.items():
        counts = np.bincount(drawn[LABELS[drawn] == label], minlength=45)[label == LABELS]
        assert len(counts) == size and counts.min() > 0
        assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 3 * size + 20


@pytest.mark.parametrize("n", [1, 2, 3, 8, 21, 64])
def test_non_iid_has_a_half_and_a_quarter(n):
    y = labels_of(30, n, "non_iid")
    counts = np.sort([np.bincount(row, minlength=5) for row in y])[:, ::-1]
    assert (counts[:, 0] >= n // 2).all()
    assert (counts[:, :2].sum(1) >= n // 2 + n // 4).all()


def test_non_iid_classes_and_their_places_are_random():
    y = labels_of(40, 64, "non_iid")
    first = [int(np.bincount(row).argmax()) for row in y]
    second = [int(np.bincount(row, minlength=5).argsort()[-2]) for row in y]
    assert set(first) == set(second) == {0, 1, 2, 4}
    assert all(np.any(np.diff(row[:32])) for row in y)  # the half is not at the front
    rest = np.array([np.bincount(row, minlength=5) for row in y]).sum(0) / y.size
    assert rest[3] == 0 and rest[[0, 1, 2, 4]].min() > 0.1


def test_batches_with_replacement_may_be_larger_than_the_data():
    for how in REPLACED:
        assert draw(KEY, TINY, 100, how).x.shape == (100, 2, 2, 1)


def refuse(n, how, *parts):
    for attempt in lambda: draw(KEY, TINY, n, how), lambda: victims(KEY, TINY, 2, n, how):
        with pytest.raises(InputError) as error:
            attempt()
        for part in parts:
            assert part in str(error.value)


def test_refuses_what_the_data_cannot_give():
    refuse(46, "random", "n must be <= 45", "n=46", "tiny has 45 images", "larger data set")
    refuse(21, "one_class", "n must be <= 20", "n=21", "5 to 20", "smaller batch")
    refuse(5, "distinct", "n must be <= 4", "n=5", "4 classes", "how='random'")
    refuse(24, "balanced", "n must be <= 23", "n=24", "how='random'")


def test_refuses_unknown_ways_and_numbers():
    refuse(4, "ballanced", "unknown how 'ballanced'", "did you mean 'balanced'", "one_class")
    refuse(0, "random", "n must be >= 1", "n=0")
    refuse(2.5, "random", "whole number", "2.5")
    with pytest.raises(InputError, match="count must be >= 1, got count=0"):
        victims(KEY, TINY, 0, 4)
