"""MS-GMSD against SciPy in double precision, and how it orders what can happen to an image."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter
from sklearn.datasets import load_sample_images

from jleak.check import InputError
from jleak.metrics import ms_gmsd

PREWITT = np.array([[1, 0, -1]] * 3) / 3
WEIGHTS = np.array([0.096, 0.596, 0.289, 0.019])


def by_scipy(x, truth, scales):
    """Of two grey images: the papers' formulas, word for word."""
    found = []
    for _ in range(scales):
        m = [
            np.sqrt(correlate(v, PREWITT, mode="nearest") ** 2 + correlate(v, PREWITT.T, mode="nearest") ** 2)
            for v in (x, truth)
        ]
        c, alpha = 170 / 255**2, 0.5
        gms = ((2 - alpha) * m[0] * m[1] + c) / (m[0] ** 2 + m[1] ** 2 - alpha * m[0] * m[1] + c)
        found.append(np.sqrt(np.mean((gms - gms.mean()) ** 2)))
        rows, columns = (side // 2 * 2 for side in x.shape)
        x, truth = (
            (
                v[:rows:2, :columns:2]
                + v[1:rows:2, :columns:2]
                + v[:rows:2, 1:columns:2]
                + v[1:rows:2, 1:columns:2]
            )
            / 4
            for v in (x, truth)
        )
    w = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    return np.sqrt(np.sum(w * np.square(found)))


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((3, 3, 1), 1),
        ((7, 9, 1), 1),
        ((8, 8, 1), 2),
        ((28, 28, 1), 3),
        ((31, 40, 1), 3),
        ((32, 32, 3), 4),
        ((64, 33, 2), 4),
        ((224, 224, 3), 4),
    ],
)
def test_agrees_with_scipy(shape, scales):
    rng = np.random.default_rng(0)
    x, truth = (gaussian_filter(rng.random((2, *shape)), (0, 1, 1, 0)) for _ in range(2))
    x = 0.3 * x + 0.7 * truth
    weights = {3: np.array([0.299, 0.587, 0.114])}.get(shape[2], np.full(shape[2], 1 / shape[2]))
    wanted = [by_scipy(a @ weights, b @ weights, scales) for a, b in zip(x, truth, strict=True)]
    assert min(wanted) > 1e-3
    got = ms_gmsd(jnp.asarray(x, jnp.float32), jnp.asarray(truth, jnp.float32))
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


@pytest.fixture(scope="module")
def photographs():
    """Sixteen pieces of a photograph that comes with scikit-learn, 64 x 64."""
    temple = load_sample_images().images[0][: 4 * 96, : 4 * 96].astype(float) / 255
    pieces = [temple[i : i + 96, j : j + 96] for i in range(0, 384, 96) for j in range(0, 384, 96)]
    return np.stack(pieces)[:, :64, :64]


def test_orders_what_can_happen_to_an_image(photographs):
    """More noise, more blur or a larger shift is worse; another image is worse than any mild damage."""
    truth, rng = photographs, np.random.default_rng(0)
    noise = rng.normal(size=truth.shape)

    def score(x):
        return float(np.median(ms_gmsd(jnp.asarray(x, jnp.float32), jnp.asarray(truth, jnp.float32))))

    noisy = [score(truth + sd * noise) for sd in (0.02, 0.05, 0.1, 0.2)]
    blurred = [score(gaussian_filter(truth, (0, sd, sd, 0))) for sd in (0.5, 1.0, 2.0)]
    moved = [score(np.roll(truth, k, axis=2)) for k in (1, 4)]
    other = score(np.roll(truth, 1, axis=0))
    blank = score(np.broadcast_to(truth.mean((1, 2), keepdims=True), truth.shape))
    for scores in (noisy, blurred, moved):
        assert (np.diff(scores) > 0.01).all(), scores
    mild = [*noisy[:3], *blurred[:2], moved[0]]
    assert max(mild) < min(other, blank) - 0.02, (mild, other, blank)
    assert score(0.8 * truth + 0.1) < 0.02  # contrast and brightness count for little
    assert score(1 - truth) < 1e-6  # the sign of contrast for nothing
    assert 0.2 < blank < 0.5 and 0.2 < other < 0.5


def test_a_constant_image(photographs):
    """Two of them are alike whatever their brightness; it is far from what has edges, not from a sky."""
    flat = jnp.full((1, 8, 8, 1), 0.2)
    assert float(ms_gmsd(flat, flat + 0.7)[0]) == 0.0
    truth = jnp.asarray(photographs, jnp.float32)
    score, spread = ms_gmsd(jnp.full_like(truth, 0.5), truth), truth.std((1, 2, 3))
    assert (score[spread > 0.1] > 0.25).all() and (spread > 0.1).sum() > 8
    assert (score[jnp.array([0, 1, 3])] < 0.01).all()  # the sky


def test_sides_below_three_pixels_are_refused():
    with pytest.raises(InputError, match="ms_gmsd needs images of at least 3 x 3 pixels, got 2 x 9; use mse"):
        ms_gmsd(jnp.zeros((1, 2, 9, 1)), jnp.zeros((1, 2, 9, 1)))
