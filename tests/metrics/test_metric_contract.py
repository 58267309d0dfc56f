"""What being in METRICS promises: every image metric, on images of every size."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.metrics import METRICS, Entry, best_constant, psnr

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3)]
BLIND_TO_BRIGHTNESS = {"avd", "ms_gmsd"}
every_metric = pytest.mark.parametrize("name", METRICS)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def batch(shape, n=4, seed=0):
    """Structured truths, and reconstructions of them that get worse along the batch."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[: shape[0], : shape[1]] / shape[0]
    waves = [
        0.5 + 0.4 * np.sin((3 + i) * xx + (2 + 2 * i) * yy)[..., None] * np.ones(shape) for i in range(n)
    ]
    truth = np.stack(waves)
    noise = rng.normal(size=truth.shape) * 0.05 * 2.0 ** np.arange(n)[:, None, None, None]
    return jnp.array(truth + noise, jnp.float32), jnp.array(truth, jnp.float32)


SCORE = {name: jax.jit(entry.fn) for name, entry in METRICS.items()}


def better(name, a, b):
    """Where `a` says that more leaked than `b`."""
    return np.asarray(a > b) if METRICS[name].higher_is_better else np.asarray(a < b)


@every_metric
def test_entry_is_complete(name):
    entry = METRICS[name]
    assert isinstance(entry, Entry)
    assert entry.fn.__name__ == name
    assert entry.unit in ("", "dB")
    assert list(inspect.signature(entry.fn).parameters) == ["x", "truth"]


@every_metric
@pytest.mark.parametrize(("shape", "n"), [*((shape, 4) for shape in SHAPES), ((8, 8, 1), 1)])
def test_one_finite_number_an_image(name, shape, n):
    score = SCORE[name](*batch(shape, n))
    assert score.shape == (n,)
    assert score.dtype == jnp.float32
    assert np.all(np.isfinite(score))


@every_metric
@every_shape
def test_perfect_images_get_the_best_value(name, shape):
    best = {"psnr": 150.0, "psnr_pm1": 150.0 - 6.0206, "ssim": 1.0}.get(name, 0.0)
    x, truth = batch(shape)
    perfect = SCORE[name](truth, truth)
    np.testing.assert_allclose(perfect, best, rtol=1e-6)
    assert np.all(better(name, perfect, SCORE[name](x, truth)))
    brighter = SCORE[name](truth + 1e-3, truth)
    if name in BLIND_TO_BRIGHTNESS:
        np.testing.assert_allclose(brighter, perfect, atol=1e-6)
    else:
        assert np.all(better(name, perfect, brighter))


@every_metric
@every_shape
def test_worse_images_get_worse_values(name, shape):
    x, truth = batch(shape)
    score = SCORE[name](x, truth)
    noisier = SCORE[name](truth + 2 * (x - truth), truth)
    assert np.all(better(name, score, noisier))


@every_metric
@every_shape
def test_an_image_does_not_depend_on_the_others(name, shape):
    x, truth = batch(shape)
    together = SCORE[name](x, truth)
    alone = jnp.concatenate([SCORE[name](x[i : i + 1], truth[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    changed = SCORE[name](x.at[1].set(0.0), truth)
    np.testing.assert_array_equal(np.delete(changed, 1), np.delete(together, 1))
    assert changed[1] != together[1]


@every_metric
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_broken_image_spoils_only_its_own_score(name, poison):
    x, truth = batch((8, 8, 1))
    score = SCORE[name](x.at[2, 3, 3].set(poison), truth)
    np.testing.assert_array_equal(np.delete(score, 2), np.delete(SCORE[name](x, truth), 2))
    assert not np.isfinite(score[2])
    assert np.isnan(score[2]) or np.isinf(poison)


@every_metric
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)], ids=str)
def test_jit_and_vmap_agree_with_the_plain_call(name, shape):
    x, truth = (jnp.stack(part) for part in zip(*(batch(shape, 2, seed) for seed in range(3)), strict=True))
    got = jax.jit(jax.vmap(METRICS[name].fn))(x, truth)
    plain = jnp.stack([METRICS[name].fn(*pair) for pair in zip(x, truth, strict=True)])
    assert got.shape == (3, 2)
    np.testing.assert_allclose(got, plain, rtol=1e-5)


@every_metric
def test_is_symmetric(name):
    x, truth = batch((28, 28, 1))
    np.testing.assert_allclose(SCORE[name](x, truth), SCORE[name](truth, x), rtol=1e-5)


@every_metric
@pytest.mark.parametrize(
    ("x", "truth", "message"),
    [
        (jnp.zeros((8, 8, 1)), jnp.zeros((8, 8, 1)), r"write x\[None\] for one image"),
        (jnp.zeros((2, 8, 8, 1)), jnp.zeros((3, 8, 8, 1)), r"x \(2, 8, 8, 1\), truth \(3, 8, 8, 1\)"),
        (jnp.zeros((2, 8, 8, 1)), jnp.zeros((1, 8, 8, 1)), "of one shape"),
        (
            jnp.zeros((2, 8, 8, 1)),
            jnp.zeros((2, 8, 8, 1), jnp.uint8),
            "truth must hold floats.*got uint8; divide",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(name, x, truth, message):
    with pytest.raises(InputError, match=message):
        SCORE[name](x, truth)


@every_shape
def test_no_constant_image_beats_the_best_constant(shape):
    _, truth = batch(shape)
    null = best_constant(truth)
    assert null.shape == truth.shape
    np.testing.assert_allclose(null, np.broadcast_to(null[:, :1, :1], null.shape))
    floor = psnr(null, truth)
    for shift in (-0.2, -0.01, 0.01, 0.2):
        assert np.all(psnr(null + shift, truth) < floor)
        assert np.all(psnr(null.at[..., 0].add(shift), truth) < floor)
    variance = np.asarray(truth, np.float64).var(axis=(1, 2)).mean(-1)
    np.testing.assert_allclose(floor, -10 * np.log10(variance), rtol=1e-5)
