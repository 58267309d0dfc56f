"""What each defense guarantees, and what an attacker who knows of it believes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defending import KEY, defended, equal, flat, near, shared, some_update
from scipy import stats

from jleak.catalog import DEFENSES
from jleak.clients import chain
from jleak.defenses import clip, gaussian, prune
from jleak.tree import dot

# What each defense guarantees.


@pytest.mark.parametrize("scope", ["global", "tensor"])
@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 1e3])
def test_clip_bounds_the_norm_and_keeps_the_direction(scope, bound):
    for scale in (1e-6, 1.0, 1e6):
        update = some_update(scale=scale)
        after = defended(clip(bound=bound, scope=scope), update)
        groups = (
            [(update, after)]
            if scope == "global"
            else zip(*map(jax.tree.leaves, (update, after)), strict=True)
        )
        for before, clipped in groups:
            before, clipped = flat(before), flat(clipped)
            length = np.linalg.norm(before)
            assert np.linalg.norm(clipped) <= bound * (1 + 1e-6)
            np.testing.assert_allclose(clipped, before * min(1.0, bound / length), rtol=1e-6)


FRACTIONS = [0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0]


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_prune_removes_the_stated_share_and_keeps_the_largest(fraction):
    update = some_update()
    after = defended(prune(fraction=fraction), update)
    for before, left in zip(*map(jax.tree.leaves, (update, after)), strict=True):
        before, left = np.ravel(before), np.ravel(left)
        kept = left != 0
        removed = np.sum(~kept)
        assert math.floor(fraction * (before.size - 1)) <= removed <= math.ceil(fraction * (before.size - 1))
        np.testing.assert_array_equal(left[kept], before[kept])
        assert np.abs(before[kept]).min() > np.abs(before[~kept]).max(initial=0.0)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("n", [1, 2, 37, 1000])
def test_prune_agrees_with_the_quantile_in_double_precision(fraction, n):
    u = np.random.default_rng(n).normal(size=n).astype(np.float32)
    magnitude = np.abs(u).astype(np.float64)
    threshold = np.quantile(magnitude, fraction) * (1 - 1e-12)  # of a quantile that is an entry, the rounding
    np.testing.assert_array_equal(
        defended(prune(fraction=fraction), jnp.asarray(u)), np.where(magnitude >= threshold, u, 0)
    )


@pytest.mark.parametrize("value", [0.1, 0.3, 1.0, 1e-7, 123.456])
def test_prune_keeps_entries_of_one_magnitude_together(value):
    for n in (2, 3, 7, 33):
        u = value * jnp.where(jnp.arange(n) % 2, 1.0, -1.0)
        for fraction in FRACTIONS:
            np.testing.assert_array_equal(defended(prune(fraction=fraction), u), u)


# What an attacker who knows of a defense believes.


@pytest.mark.parametrize("bound", [0.01, 0.3, 10.0, math.inf])
@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_who_knows_of_clipping_shares_the_true_update_on_the_true_batch(scope, bound, three):
    seen = shared(clip(bound=bound, scope=scope), three)
    imitated = shared(DEFENSES["clip"].adapt(three.view._replace(update=seen), scope=scope), three)
    near(imitated, seen)


def test_who_knows_of_clipping_clips_other_batches_to_the_bound(three, small):
    view = three.view._replace(update=shared(clip(bound=0.1), three))
    other = small(3, seed=1)
    assert np.linalg.norm(flat(other.view.update)) > 0.2
    np.testing.assert_allclose(
        np.linalg.norm(flat(shared(DEFENSES["clip"].adapt(view), other))), 0.1, rtol=1e-5
    )


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_who_sees_no_update_believes_in_no_clipping(scope, three):
    nothing = three.view._replace(update=jax.tree.map(jnp.zeros_like, three.view.update))
    assert equal(shared(DEFENSES["clip"].adapt(nothing, scope=scope), three), three.view.update)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 1.0])
def test_who_knows_of_pruning_has_the_true_mask(fraction, three, small):
    seen = shared(prune(fraction=fraction), three)
    adapted = DEFENSES["prune"].adapt(three.view._replace(update=seen))
    assert equal(shared(adapted, three), seen)
    other = small(3, seed=1)
    masked = shared(adapted, other)
    for u, mask, plain in zip(*map(jax.tree.leaves, (masked, seen, other.view.update)), strict=True):
        np.testing.assert_array_equal(u, np.where(mask != 0, plain, 0))


def test_defenses_compose_to_dp_sgd_release(three):
    """Clipping, then noise: what leaves is within the noise of the clipped update."""
    clipped = shared(clip(bound=0.05), three)
    released = shared(chain(clip(bound=0.05), gaussian(sigma=0.01)), three)
    noise = flat(released) - flat(clipped)
    assert stats.kstest(noise, stats.norm(scale=0.01).cdf).pvalue > 1e-3


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_attacks_can_differentiate_through_clipping(scope, three):
    """The gradient with respect to the image, of a clipped update, is the finite difference's."""
    defense = clip(bound=0.1, scope=scope)
    weights = jax.tree.map(lambda u: jnp.cos(jnp.arange(u.size)).reshape(u.shape), three.view.update)

    @jax.jit
    def score(x):
        return dot(weights, shared(defense, three._replace(batch=three.batch._replace(x=x))))

    x = three.batch.x
    direction = jax.random.normal(KEY, x.shape)
    slope, step = jnp.vdot(jax.grad(score)(x), direction), 1e-2
    difference = (score(x + step * direction) - score(x - step * direction)) / (2 * step)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, difference, rtol=0.01)
