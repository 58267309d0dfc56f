"""Variation distances against the published code's formula, written out in NumPy loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import metrics
from jleak.check import InputError


def oracle(v0, v1, c1=1.0, c2=0.5):
    """E.1 pixel by pixel, channels first, in double precision."""
    v0, v1 = (np.moveaxis(np.asarray(v, np.float64), -1, 0) for v in (v0, v1))
    channels, height, width = v0.shape

    def first(v, c, i, j):
        return abs((v[c, i + 1, j] - v[c, i + 1, j + 1]) + (v[c, i, j + 1] - v[c, i + 1, j + 1]))

    def second(v, c, i, j):
        row = v[c, i + 2, j] - 2 * v[c, i + 2, j + 1] + v[c, i + 2, j + 2]
        return abs(row + v[c, i, j + 2] - 2 * v[c, i + 1, j + 2] + v[c, i + 2, j + 2])

    def gap(difference, margin):
        where = np.ndindex(channels, height - margin, width - margin)
        return np.mean([(difference(v1, *at) - difference(v0, *at)) ** 2 for at in where])

    return np.sqrt(c1 * gap(first, 1) + (c2 * gap(second, 2) if c2 else 0.0))


def images(shape=(9, 12, 3), n=3, seed=0):
    """Two batches of float32, in part outside of [0, 1]."""
    rng = np.random.default_rng(seed)
    return [rng.normal(0.5, 0.4, (n, *shape)).astype(np.float32) for _ in range(2)]


avd, variation = jax.jit(metrics.avd), jax.jit(metrics.variation, static_argnames=("clip", "eight_bit"))


@pytest.mark.parametrize("shape", [(3, 3, 1), (8, 8, 1), (9, 12, 3)], ids=str)
def test_agrees_with_the_formula(shape):
    x, truth = images(shape)
    inside = [np.clip(v, 0, 1) for v in (truth, x)]
    np.testing.assert_allclose(avd(x, truth), list(map(oracle, *inside)), rtol=1e-6, atol=1e-6)
    raw = variation(x, truth, c1=0.3, c2=2.0, clip=False)
    np.testing.assert_allclose(
        raw, [oracle(a, b, 0.3, 2.0) for a, b in zip(truth, x, strict=True)], rtol=1e-6
    )
    old = [oracle(a / 2, b / 2, 1.0, 0.0) / np.sqrt(0.1) for a, b in zip(*inside, strict=True)]
    np.testing.assert_allclose(metrics.avd_2022(x, truth), old, rtol=1e-6)


def test_eight_bits_round():
    x, truth = (np.clip(v, 0, 1) for v in images())
    rounded = [np.rint(v.astype(np.float64) * 255) / 255 for v in (truth, x)]
    np.testing.assert_allclose(variation(x, truth, eight_bit=True), list(map(oracle, *rounded)), rtol=1e-5)


def test_it_sees_neither_offset_nor_inversion_and_calls_a_blank_image_near():
    """The warning of the docstring."""
    yy, xx = np.mgrid[:32, :32] / 32
    truth = jnp.asarray((0.5 + 0.3 * np.sin(9 * xx + 5 * yy))[None, :, :, None], jnp.float32)
    noisy = truth + 0.1 * jax.random.normal(jax.random.key(0), truth.shape)
    np.testing.assert_allclose(avd(1 - truth, truth), 0, atol=1e-6)
    np.testing.assert_allclose(avd(truth + 0.1, truth), 0, atol=1e-6)
    assert avd(jnp.full_like(truth, 0.5), truth)[0] < avd(noisy, truth)[0] / 2


def test_matches_are_the_least_and_ranks_count_what_is_nearer():
    truth, others = (np.clip(v, 0, 1) for v in images(n=5))
    x = np.concatenate([0.9 * truth[3:4], truth[:2], np.full_like(truth[:1], np.nan)])
    assert metrics.avd_match(x, truth).tolist()[:3] == [3, 0, 1]
    shuffled = others[::-1]
    scores = [[oracle(t, o) for o in others] for t in truth]
    own = [oracle(t, s) for t, s in zip(truth, shuffled, strict=True)]
    wanted = [1 + sum(s < mine - 1e-9 for s in row) for row, mine in zip(scores, own, strict=True)]
    assert metrics.avd_rank(shuffled, truth, others).tolist() == wanted
    assert metrics.avd_rank(truth, truth, others).tolist() == [1] * 5
    assert metrics.avd_rank(np.full_like(truth, np.nan), truth, others).tolist() == [6] * 5


@pytest.mark.parametrize("size", [(2, 8), (8, 2)])
def test_small_images_are_refused(size):
    x = jnp.zeros((1, *size, 1))
    with pytest.raises(InputError, match=f"at least 3 x 3 pixels, got {size[0]} x {size[1]}; use mse"):
        metrics.avd(x, x)
    with pytest.raises(InputError, match=r"got \(1, .*and \(1, 9, 9, 1\); resize one"):
        metrics.avd_match(x, jnp.zeros((1, 9, 9, 1)))
