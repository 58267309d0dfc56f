"""Registration against shifts that were made, and against scikit-image."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from jleak import registration
from jleak.check import InputError

N, H, W = 24, 24, 28


@functools.cache
def translations(**how):
    return jax.jit(jax.vmap(functools.partial(registration.translation, **how)))


def smooth(shape, seed, sigma=2.0):
    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.normal(size=shape), (0, sigma, sigma, 0)[-len(shape) :], mode="wrap")
    return (x - x.min()) / (x.max() - x.min())


def moved(x, by):
    """Fourier's shift in float64, of one image."""
    channels = [np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(x[..., c]), by)) for c in range(x.shape[-1])]
    return np.stack(channels, -1).real


@functools.cache
def periodic(channels=3):
    x = smooth((N, H, W, channels), 0)
    by = np.random.default_rng(1).uniform(-5, 5, (N, 2))
    return x, by, np.stack([moved(image, d) for image, d in zip(x, by, strict=True)])


@functools.cache
def cropped(noise=0.0):
    """Views of one larger scene, so that new things enter at the border."""
    by = np.random.default_rng(2).uniform(-3, 3, (N, 2))
    scene = smooth((N, H + 16, W + 16, 1), 3, sigma=1.0)
    views = [scene, np.stack([moved(image, d) for image, d in zip(scene, by, strict=True)])]
    rng = np.random.default_rng(4)
    x, reference = (v[:, 8:-8, 8:-8] + noise * rng.normal(size=(N, H, W, 1)) for v in views)
    return x, by, reference


def errors(x, by, reference, **how):
    got = translations(**how)(jnp.asarray(x, jnp.float32), jnp.asarray(reference, jnp.float32))
    return np.abs(np.asarray(got) - by).max(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_finds_every_periodic_shift_to_a_twentieth_of_a_pixel(channels):
    assert errors(*periodic(channels), taper=0.0).max() < 0.05


def test_finds_shifts_of_a_scene_that_goes_on_beyond_the_border():
    assert errors(*cropped()).max() < 0.1
    assert np.median(errors(*cropped(noise=0.05))) < 0.1
    assert np.median(errors(*cropped(), taper=0.0)) > 0.1  # what the taper is for


def test_agrees_with_scikit_image():
    """Its cross correlation (normalization=None) on the same periodic images."""
    x, by, reference = periodic(1)
    theirs = [
        phase_cross_correlation(r[..., 0], i[..., 0], upsample_factor=50, normalization=None)[0]
        for i, r in zip(x, reference, strict=True)
    ]
    ours = translations(taper=0.0)(jnp.asarray(x, jnp.float32), jnp.asarray(reference, jnp.float32))
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    np.testing.assert_allclose(theirs, by, atol=0.05)  # so the oracle is one


def test_upsampling_is_the_resolution():
    x, by, reference = periodic(1)
    coarse = translations(taper=0.0, upsample=1, rounds=1)(
        jnp.asarray(x, jnp.float32), jnp.asarray(reference, jnp.float32)
    )
    np.testing.assert_array_equal(coarse, np.round(coarse))
    assert 0.3 < np.abs(coarse - by).max() <= 0.6


def test_a_bound_holds():
    x, by, reference = periodic(1)
    wrong = errors(x, by, reference, taper=0.0, most=2.0)
    inside = np.abs(by).max(1) < 1.9
    assert inside.any() and wrong[inside].max() < 0.05
    got = translations(taper=0.0, most=2.0)(jnp.asarray(x, jnp.float32), jnp.asarray(reference, jnp.float32))
    assert np.abs(got).max() <= 2.0


@pytest.mark.parametrize("flat", ["first", "second", "both"])
def test_flat_images_are_not_moved(flat):
    x = jnp.asarray(periodic(1)[0][0], jnp.float32)
    grey = jnp.full_like(x, 0.3)
    pair = {"first": (grey, x), "second": (x, grey), "both": (grey, grey)}[flat]
    got = translations()(*(image[None] for image in pair))
    np.testing.assert_array_equal(got, 0.0)


@pytest.mark.parametrize("by", [(0.0, 0.0), (1.0, -2.0), (0.5, 0.25), (-3.7, 9.1)])
def test_fourier_shift_agrees_with_scipy(by):
    x = periodic(3)[0][0]
    got = registration.shift(jnp.asarray(x, jnp.float32), jnp.array(by))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, moved(x, by), atol=1e-5)


@pytest.mark.parametrize("by", [(0.0, 0.0), (1.0, -2.0), (0.5, 0.25), (-3.7, 9.1)])
def test_linear_shift_agrees_with_scipy(by):
    x = periodic(3)[0][0]
    got = registration.shift(jnp.asarray(x, jnp.float32), jnp.array(by), mode="linear")
    np.testing.assert_allclose(got, ndimage.shift(x, (*by, 0), order=1, mode="nearest"), atol=1e-5)


@pytest.mark.parametrize("mode", ["fourier", "linear"])
def test_shift_is_differentiable_in_both(mode):
    x, by = jnp.asarray(periodic(1)[0][0], jnp.float32), jnp.array([0.3, -0.6])

    def value(x, by):
        return jnp.sum(registration.shift(x, by, mode=mode) ** 3)

    for argument, tangent in ((0, jnp.ones_like(x)), (1, jnp.array([1.0, -1.0]))):
        slope = jnp.vdot(jax.grad(value, argument)(x, by), tangent)
        ends = [
            value(*((x + h * tangent, by) if argument == 0 else (x, by + h * tangent))) for h in (1e-2, -1e-2)
        ]
        assert float(slope) == pytest.approx((float(ends[0]) - float(ends[1])) / 2e-2, rel=0.02, abs=0.02)


@functools.cache
def runs():
    """Four runs of three images, each shifted and noisy, and the images."""
    truth = smooth((3, H, W, 1), 5, sigma=1.5)
    rng = np.random.default_rng(6)
    by = rng.uniform(-2, 2, (4, 3, 2))
    by -= by.mean(0)
    shifted = [[moved(x, d) for x, d in zip(truth, row, strict=True)] for row in by]
    return truth, np.clip(np.array(shifted) + 0.02 * rng.normal(size=(4, *truth.shape)), 0, 1)


def test_the_registered_mean_is_nearer_the_truth_than_the_plain_mean():
    truth, group = runs()
    middle = (slice(None), slice(4, -4), slice(4, -4))
    registered = jax.jit(registration.group_mean)(jnp.asarray(group, jnp.float32))
    plain = np.mean((group.mean(0) - truth)[middle] ** 2)
    assert np.mean((registered - truth)[middle] ** 2) < 0.1 * plain
    assert registered.min() >= group.min() and registered.max() <= group.max()


def test_the_mean_of_runs_that_agree_is_what_they_agree_on():
    truth = jnp.asarray(runs()[0], jnp.float32)
    np.testing.assert_allclose(jax.jit(registration.group_mean)(jnp.stack([truth] * 4)), truth, atol=1e-5)


def test_register_moves_every_image_onto_the_reference():
    x, by, reference = periodic(1)
    group = jnp.asarray([moved(x[0], d) for d in by[:5]], jnp.float32)
    register = jax.jit(functools.partial(registration.register, mode="fourier"))
    got = register(group, jnp.asarray(x[0], jnp.float32))
    assert np.abs(got - x[0]).max() < 0.3 * np.abs(group - x[0]).max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: registration.translation(x, x[1:]),
            r"two images \(h, w, c\) of one shape, got \(4, 4, 1\) and",
        ),
        (lambda x: registration.translation(x[None], x[None]), "vmap over more"),
        (lambda x: registration.translation(x, x, upsample=0), "upsample must be >= 1"),
        (lambda x: registration.translation(x, x, most=-1), "most must be >= 0"),
        (lambda x: registration.translation(x, x, taper=1.5), "taper must be <= 1"),
        (lambda x: registration.shift(x, (0.0, 0.0), mode="cubic"), "known: fourier, linear"),
        (lambda x: registration.shift(x[None], (0.0, 0.0)), r"one image \(h, w, c\)"),
        (lambda x: registration.group_mean(x[None]), r"group must be the batches of several runs"),
    ],
)
def test_what_cannot_be_registered_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.zeros((4, 4, 1)))
