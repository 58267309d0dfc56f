"""Augmentations as NumPy writes them out, and the gradients through them."""

import jax
import numpy as np
import pytest

from jleak.training import diffaugment
from jleak.training.diffaugment import POLICIES, color, cutout, translation

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def x():
    return jax.random.uniform(KEY, (64, 16, 8, 3), minval=-1.0)


def test_no_policy_changes_nothing(x):
    np.testing.assert_array_equal(diffaugment("none")(KEY, x), x)


@pytest.mark.parametrize("policy", [*POLICIES, "color-translation-cutout"])
def test_gradients_flow(policy, x):
    """Every change is affine in the image, so its derivative is its difference, however far the step."""
    change = diffaugment(policy)
    step = jax.random.normal(jax.random.key(1), x.shape)
    _, slope = jax.jvp(lambda x: change(KEY, x), (x,), (step,))
    np.testing.assert_allclose(change(KEY, x + step) - change(KEY, x), slope, atol=1e-5)
    weight = jax.random.normal(jax.random.key(2), x.shape)
    g = jax.grad(lambda x: (weight * change(KEY, x)).sum())(x)
    np.testing.assert_allclose((g * step).sum(), (weight * slope).sum(), rtol=1e-4)
    assert np.abs(g).sum() > 0
    moved = np.abs(np.asarray(change(KEY, x) - x)).sum((1, 2, 3)) > 0.1
    assert moved.mean() > 0.9


def test_color_is_brightness_saturation_contrast(x):
    u = np.asarray(jax.random.uniform(KEY, (3, len(x), 1, 1, 1)), float)
    wanted = np.asarray(x, float) + u[0] - 0.5
    grey = wanted.mean(-1, keepdims=True)
    wanted = grey + 2 * u[1] * (wanted - grey)
    level = wanted.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(color(KEY, x), level + (0.5 + u[2]) * (wanted - level), atol=1e-5)


def test_translation_shifts_by_up_to_an_eighth_of_each_side(x):
    seen = set()
    for image, made in zip(np.asarray(x), np.asarray(translation(KEY, x)), strict=True):
        framed = np.pad(image, ((2, 2), (1, 1), (0, 0)))
        places = [(i, j) for i in range(5) for j in range(3)]
        (place,) = (p for p in places if np.array_equal(made, framed[p[0] : p[0] + 16, p[1] : p[1] + 8]))
        seen.add(place)
    assert {i for i, _ in seen} == {*range(5)} and {j for _, j in seen} == {*range(3)}


def test_cutout_cuts_a_rectangle_of_half_the_sides(x):
    """Its centre is anywhere, so at the border less of it is in the image."""
    cut = np.asarray(cutout(KEY, x + 5.0)) == 0
    np.testing.assert_array_equal(np.asarray(cutout(KEY, x))[~cut], np.asarray(x)[~cut])
    heights, widths = set(), set()
    for mask in cut:
        assert (mask == mask[..., :1]).all()
        rows, columns = mask[..., 0].any(1), mask[..., 0].any(0)
        np.testing.assert_array_equal(mask[..., 0], rows[:, None] & columns)
        for lines in (rows, columns):
            at = np.flatnonzero(lines)
            assert at[-1] - at[0] + 1 == len(at)
        heights.add(rows.sum()), widths.add(columns.sum())
    assert heights == {4, 5, 6, 7, 8} and widths == {2, 3, 4}
