"""What each defense guarantees, and what an attacker who knows of it believes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defending import KEY, defended, equal, flat, near, shared, some_update
from scipy import stats

from jleak.catalog import DEFENSES
from jleak.check import InputError
from jleak.clients import chain, fedavg
from jleak.defenses import clip, dp_sgd, gaussian, prune
from jleak.losses import cross_entropy
from jleak.tree import dot
from jleak.types import Batch, View

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


def rows_of(three):
    """The gradient of each example by itself, one row each, in double precision."""
    one = jax.vmap(lambda x, y: three.client(KEY, three.params, Batch(x[None], y[None])))(*three.batch)
    return np.stack([flat(jax.tree.map(lambda u, i=i: u[i], one)) for i in range(len(three.batch.y))])


@pytest.mark.parametrize("share", [0.01, 0.9, 1.0, 1.1, 100.0])
def test_dp_sgd_is_the_mean_of_clipped_gradients(share, three):
    """Abadi et al., CCS 2016, algorithm 1, in NumPy, at bounds below, between and above the norms."""
    rows = rows_of(three)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    bound = float(share * np.median(lengths))
    wanted = (rows * np.minimum(1, bound / lengths)).mean(0)
    got = flat(shared(dp_sgd(bound=bound, noise=0.0), three))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())
    assert np.linalg.norm(got) <= bound * (1 + 1e-6)


def echo(key, params, batch):
    """A client whose gradient of an example is the example: as bad as a gradient can be."""
    return {"w": batch.x.mean(0)}


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("bound", [1e-3, 1.0, 50.0])
def test_one_example_moves_dp_sgd_by_at_most_two_bounds_over_n(n, bound):
    """And the worst example by exactly that."""
    client, rng = dp_sgd(bound=bound, noise=0.0)(echo), np.random.default_rng(n)
    x, y = rng.normal(size=(n, 2, 3, 1)), jnp.zeros(n, int)
    moved = []
    for other in (-1e3 * x[0], 1e3 * x[0], 0 * x[0], rng.normal(size=(2, 3, 1))):
        after = np.concatenate([other[None], x[1:]])
        before, after = (flat(client(KEY, None, Batch(jnp.asarray(a), y))) for a in (x, after))
        moved.append(np.linalg.norm(after - before))
        assert moved[-1] <= 2 * bound / n * (1 + 1e-5)
    if bound < 1:  # the example was clipped before, too
        np.testing.assert_allclose(moved[0], 2 * bound / n, rtol=1e-4)


@pytest.mark.parametrize(
    ("bound", "noise", "n"), [(0.5, 2.0, 1), (0.5, 2.0, 4), (3.0, 0.1, 4), (1.0, 1.0, 10)]
)
def test_noise_of_dp_sgd_is_of_the_bound_and_the_batch(bound, noise, n):
    batch = Batch(jnp.zeros((n, 100_000)), jnp.zeros(n, int))
    drawn = flat(dp_sgd(bound=bound, noise=noise)(echo)(KEY, None, batch))
    p = {
        r: stats.kstest(drawn, stats.norm(scale=r * noise * bound / n).cdf).pvalue for r in (2 / 3, 1, 3 / 2)
    }
    assert p[1] > 1e-3
    assert max(p[2 / 3], p[3 / 2]) < 1e-6


def test_bound_and_noise_of_dp_sgd_may_be_traced_together(three):
    """And are one by default."""
    traced = jax.vmap(lambda b, s: shared(dp_sgd(bound=b, noise=s), three))(jnp.ones(2), jnp.arange(2.0))
    near(jax.tree.map(lambda u: u[1], traced), shared(dp_sgd(), three), rtol=1e-5, atol=1e-6)
    near(jax.tree.map(lambda u: u[0], traced), shared(dp_sgd(noise=0.0), three), rtol=1e-5, atol=1e-6)


def test_dp_sgd_of_a_client_that_needs_more_than_one_example_is_refused(three):
    local = three._replace(client=fedavg(three.model, cross_entropy, steps=3))
    with pytest.raises(InputError, match="a multiple of its steps, got batch=1 and steps=3"):
        shared(dp_sgd(), local)


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


@pytest.mark.parametrize(("n", "bound"), [(3, 1e-3), (3, 0.5), (1, 1e-3), (1, 0.5), (1, 1e3)])
def test_who_knows_of_dp_sgd_shares_the_true_update_on_the_true_batch(n, bound, small):
    """Where all examples were clipped, or there is but one; without noise."""
    case = small(n)
    seen = shared(dp_sgd(bound=bound, noise=0.0), case)
    imitated = shared(DEFENSES["dp_sgd"].adapt(case.view._replace(update=seen)), case)
    near(imitated, seen, rtol=1e-4, atol=1e-6 * bound)
    told = DEFENSES["dp_sgd"].belief(case.view, bound=bound, noise=0.3)
    near(shared(told, case), seen, rtol=1e-5, atol=1e-7)


def test_who_knows_of_dp_sgd_sends_updates_of_the_observed_norm(three, small):
    """Noise included, for nobody can tell it from the gradient."""
    seen = shared(dp_sgd(bound=0.3, noise=0.5), three)
    adapted = DEFENSES["dp_sgd"].adapt(three.view._replace(update=seen))
    lengths = [np.linalg.norm(flat(u)) for u in (seen, shared(adapted, small(3, seed=1)))]
    assert lengths[0] > 2 * 0.3
    np.testing.assert_allclose(lengths[1], lengths[0], rtol=1e-5)


def test_who_sees_no_update_of_dp_sgd_believes_in_no_clipping(three):
    nothing = three.view._replace(update=jax.tree.map(jnp.zeros_like, three.view.update))
    near(shared(DEFENSES["dp_sgd"].adapt(nothing), three), three.view.update, rtol=1e-5, atol=1e-7)


def test_imitating_dp_sgd_has_a_finite_gradient_at_a_zero_update():
    zero = jax.tree.map(jnp.zeros_like, some_update())
    for seen in (zero, some_update()):
        adapted = DEFENSES["dp_sgd"].adapt(View(None, seen))
        slope = jax.grad(lambda u, a=adapted: dot(some_update(1), defended(a, u)))(zero)
        assert np.isfinite(flat(slope)).all()


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 1.0])
def test_who_knows_of_pruning_has_the_true_mask(fraction, three, small):
    seen = shared(prune(fraction=fraction), three)
    adapted = DEFENSES["prune"].adapt(three.view._replace(update=seen))
    assert equal(shared(adapted, three), seen)
    other = small(3, seed=1)
    masked = shared(adapted, other)
    for u, mask, plain in zip(*map(jax.tree.leaves, (masked, seen, other.view.update)), strict=True):
        np.testing.assert_array_equal(u, np.where(mask != 0, plain, 0))


def test_the_mask_beats_one_share_of_zeros_for_all_tensors():
    """GGL's rule, in NumPy: a tensor with zeros of its own makes it prune another one too much."""
    dense, dead = np.array([1.0, -2, 3, -4, 5, -6, 7, -8, 9, -10]), np.array([1.0, -3] + [0.0] * 8)
    plain = {"dense": jnp.asarray(dense), "dead": jnp.asarray(dead)}
    seen = defended(prune(fraction=0.5), plain)
    assert [int((u == 0).sum()) for u in (seen["dense"], seen["dead"])] == [5, 8]
    share = {name: np.mean(np.asarray(u) == 0) for name, u in seen.items()}
    whole = np.mean(np.concatenate([*seen.values()]) == 0)

    def pruned(u, p):
        return np.where(np.abs(u) >= np.percentile(np.abs(u), 100 * p), u, 0)

    def error(rule):
        return sum(
            np.sum((rule(name, np.asarray(u)) - np.asarray(seen[name])) ** 2) for name, u in plain.items()
        )

    exact = defended(DEFENSES["prune"].adapt(View(None, seen)), plain)
    assert error(lambda name, u: np.asarray(exact[name])) == 0
    assert error(lambda name, u: pruned(u, share[name])) == 0
    assert error(lambda name, u: pruned(u, whole)) == 6.0**2  # 65 % in place of 50 %


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
