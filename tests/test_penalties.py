"""Penalties against NumPy in float64 and images made by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import penalties
from jleak.check import InputError
from jleak.types import Model

MODERN = functools.partial(penalties.total_variation_powered, double_opponents=True)
ROUGH = functools.partial(penalties.total_variation_powered, inner=1.5, outer=1.25)
ALL = [penalties.total_variation, penalties.l2, penalties.l2_norm, MODERN, ROUGH]
SHAPES = [(1, 8, 8, 1), (3, 5, 7, 3), (2, 32, 32, 5)]


def images(shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_agrees_with_numpy(shape):
    x = images(shape)
    wide = x.astype(np.float64)
    down = np.abs(wide[:, 1:] - wide[:, :-1]).mean()
    across = np.abs(wide[:, :, 1:] - wide[:, :, :-1]).mean()
    np.testing.assert_allclose(penalties.total_variation(jnp.array(x)), down + across, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_l2_agrees_with_numpy(shape):
    x = images(shape)
    np.testing.assert_allclose(penalties.l2(jnp.array(x)), np.mean(x.astype(np.float64) ** 2), rtol=1e-5)


def test_total_variation_of_images_made_by_hand():
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 5)[None, :, None, None], (2, 5, 4, 3))
    board = jnp.array(np.indices((6, 6)).sum(0) % 2, jnp.float32)[None, :, :, None]
    assert penalties.total_variation(jnp.full((2, 8, 8, 3), 0.7)) == 0.0
    assert penalties.total_variation(ramp) == pytest.approx(0.25)
    assert penalties.total_variation(ramp.transpose(0, 2, 1, 3)) == pytest.approx(0.25)
    assert penalties.total_variation(board) == pytest.approx(2.0)


def test_total_variation_prefers_the_smooth_image():
    yy, xx = np.mgrid[:16, :16] / 16
    smooth = jnp.array(0.5 + 0.4 * np.sin(3 * xx + 2 * yy), jnp.float32)[None, :, :, None]
    noisy = smooth + 0.1 * jax.random.normal(jax.random.key(0), smooth.shape)
    assert penalties.total_variation(smooth) < 0.5 * penalties.total_variation(noisy)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 1, 3, 1), 0.5), ((1, 3, 1, 1), 0.5), ((2, 1, 1, 3), 0.0)]
)
def test_total_variation_of_one_pixel_wide_images(shape, expected):
    x = jnp.broadcast_to(jnp.array([0.0, 1.0, 1.0]), (2, 3)).ravel()[: np.prod(shape)].reshape(shape)
    assert penalties.total_variation(x) == pytest.approx(expected)
    assert np.all(np.isfinite(jax.jit(jax.grad(penalties.total_variation))(x)))


@pytest.mark.parametrize("penalty", ALL)
def test_weight_does_not_depend_on_the_number_of_images(penalty):
    """In float64, so that it is the penalty that is tested and not the order of its sums."""
    with jax.enable_x64(True):
        x = jnp.asarray(images((2, 8, 8, 3)), jnp.float64)
        np.testing.assert_allclose(penalty(jnp.concatenate([x, x, x])), penalty(x), rtol=1e-6)


@pytest.mark.parametrize("penalty", ALL)
@pytest.mark.parametrize("flat", [True, False])
def test_gradient_is_finite_and_agrees_with_differences(penalty, flat):
    x = jnp.full((2, 4, 4, 2), 0.3) if flat else jnp.array(images((2, 4, 4, 2)))
    gradient, hessian = jax.jit(lambda x: (jax.grad(penalty)(x), jax.hessian(penalty)(x)))(x)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(hessian))
    if not flat:
        step = images(x.shape, 1) - 0.5
        ends = [float(penalty(x + h * step)) for h in (1e-3, -1e-3)]
        assert float(jnp.vdot(gradient, step)) == pytest.approx(
            (ends[0] - ends[1]) / 2e-3, rel=0.02, abs=1e-4
        )


@pytest.mark.parametrize("penalty", ALL)
def test_jit_and_vmap_agree_with_the_plain_call(penalty):
    x = jnp.array(images((4, 2, 6, 6, 3)))
    np.testing.assert_allclose(jax.jit(jax.vmap(penalty))(x), [penalty(one) for one in x], rtol=1e-5)


@pytest.mark.parametrize("penalty", ALL)
def test_one_image_without_a_batch_axis_is_refused(penalty):
    with pytest.raises(
        InputError, match=r"x must be images \(n, h, w, c\), got \(8, 8, 1\); write x\[None\]"
    ):
        penalty(jnp.zeros((8, 8, 1)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("inner", "outer"), [(1.0, 1.0), (2.0, 0.5), (2.0, 1.25), (1.5, 0.75)])
@pytest.mark.parametrize("opponents", [False, True])
def test_powered_total_variation_agrees_with_numpy(shape, inner, outer, opponents):
    x = images(shape)
    wide = x.astype(np.float64)
    if opponents:
        c = shape[-1]
        pairs = [wide[..., [i]] - wide[..., [j]] for i in range(c) for j in range(i + 1, c)]
        wide = np.concatenate([wide, *pairs], -1)
        assert c != 3 or wide.shape[-1] == 6
    down, across = np.zeros_like(wide), np.zeros_like(wide)
    down[:, :-1] = np.abs(wide[:, 1:] - wide[:, :-1])
    across[:, :, :-1] = np.abs(wide[:, :, 1:] - wide[:, :, :-1])
    wanted = np.mean((down**inner + across**inner) ** outer)
    got = penalties.total_variation_powered(
        jnp.array(x), inner=inner, outer=outer, double_opponents=opponents
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_opponents_hold_against_coloured_edges_only():
    grey = jnp.array(images((2, 8, 8, 1)))
    modern = penalties.total_variation_powered
    for x, more in ((jnp.repeat(grey, 3, -1), False), (jnp.concatenate([grey, 1 - grey, grey], -1), True)):
        sums = [modern(x, double_opponents=o) * (6 if o else 3) for o in (False, True)]
        assert (sums[1] > 1.5 * sums[0]) == more


def test_norms_agree_with_numpy():
    x, group = images((3, 5, 7, 3)), images((3, 5, 7, 3), 1)
    norms = np.sqrt(np.sum(x.astype(np.float64) ** 2, (1, 2, 3)))
    np.testing.assert_allclose(penalties.l2_norm(jnp.array(x)), norms.mean(), rtol=1e-5)
    apart = np.sqrt(np.sum((x.astype(np.float64) - group) ** 2, (1, 2, 3)))
    np.testing.assert_allclose(penalties.group_consistency(x, group), apart.mean(), rtol=1e-5)
    one = jnp.array(x[:1])
    np.testing.assert_allclose(penalties.l2_norm(one), jnp.sqrt(one.size * penalties.l2(one)), rtol=1e-5)


def test_group_consistency_pulls_every_image_to_its_consensus_with_the_same_force():
    x, group = jnp.array(images((2, 4, 4, 1))), jnp.array(images((2, 4, 4, 1), 1))
    slope = jax.grad(penalties.group_consistency)(x, group)
    for got, u, v in zip(slope, x, group, strict=True):
        np.testing.assert_allclose(got, (u - v) / jnp.linalg.norm(u - v) / 2, rtol=1e-4)
    np.testing.assert_array_equal(jax.grad(penalties.group_consistency)(x, x), 0.0)
    assert penalties.group_consistency(x, x) == 0


def test_epoch_consistency_agrees_with_numpy_over_all_pairs():
    x = images((4, 3, 5, 6, 2))
    means = x.astype(np.float64).mean(1)
    wanted = np.mean([[np.mean((m - o) ** 2) for o in means] for m in means])
    np.testing.assert_allclose(penalties.epoch_consistency(jnp.array(x)), wanted, rtol=1e-4)
    shuffled = jnp.array(x)[:, ::-1]
    np.testing.assert_allclose(penalties.epoch_consistency(shuffled), wanted, rtol=1e-4)
    orders = [np.random.default_rng(e).permutation(3) for e in range(4)]
    same = jnp.stack([jnp.array(x)[0][order] for order in orders])
    assert penalties.epoch_consistency(same) < 1e-12
    assert np.all(np.isfinite(jax.grad(penalties.epoch_consistency)(same)))


def normed(statistics=True):
    """Two layers that normalise, run as `stem` and then `body`, which sort the other way round."""

    def stats(params, x):
        second = jnp.tanh(x @ params["params"]["stem"])
        return {
            name: {"mean": h.mean((0, 1, 2)), "var": h.var((0, 1, 2))}
            for name, h in (("body", second), ("stem", x))
        }

    def init(key):
        sizes = {"stem": 3, "body": 4}
        batch_stats = {name: {"mean": jnp.zeros(n), "var": jnp.ones(n)} for name, n in sizes.items()}
        return {"params": {"stem": jax.random.normal(key, (3, 4))}, "batch_stats": batch_stats}

    return Model(init, None, (6, 6, 3), 2, ("head",), statistics=stats if statistics else None)


@pytest.mark.parametrize("first", [1.0, 10.0])
def test_batch_statistics_agree_with_numpy(first):
    model = normed()
    params, x = model.init(jax.random.key(0)), images((2, 6, 6, 3))
    wide = x.astype(np.float64)
    hidden = np.tanh(wide @ np.asarray(params["params"]["stem"], np.float64))
    wanted = sum(
        weight * (np.linalg.norm(h.mean((0, 1, 2))) + np.linalg.norm(h.var((0, 1, 2)) - 1))
        for weight, h in ((first, wide), (1.0, hidden))
    )
    penalty = penalties.batch_statistics(model, first=first)
    np.testing.assert_allclose(penalty(params, jnp.array(x), params["batch_stats"]), wanted, rtol=1e-5)


def test_batch_statistics_vanish_for_the_images_behind_them_with_a_finite_gradient():
    model = normed()
    params, x = model.init(jax.random.key(0)), jnp.array(images((2, 6, 6, 3)))
    penalty = penalties.batch_statistics(model, first=10.0)
    own = model.statistics(params, x)
    assert penalty(params, x, own) == 0
    assert np.all(np.isfinite(jax.grad(penalty, 1)(params, x, own)))
    lanes = jnp.stack([x, x[::-1] ** 2])
    many = jax.vmap(penalty, (None, 0, None))(params, lanes, own)
    np.testing.assert_allclose(many, [penalty(params, one, own) for one in lanes], rtol=1e-5, atol=1e-6)
    assert many[1] > 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: penalties.total_variation_powered(x, inner=0.0), "inner must be > 0"),
        (lambda x: penalties.total_variation_powered(x, outer=-1.0), "outer must be > 0"),
        (lambda x: penalties.group_consistency(x, x[None]), "give its mean over the runs"),
        (lambda x: penalties.epoch_consistency(x), r"\(epochs, n, h, w, c\), got \(1, 6, 6, 3\)"),
        (lambda x: penalties.batch_statistics(normed(False)), "use a model with it, or drop the penalty"),
        (lambda x: penalties.batch_statistics(normed(), first=-1.0), "first must be >= 0"),
        (
            lambda x: penalties.batch_statistics(normed())(normed().init(jax.random.key(0)), x, {"stem": {}}),
            "same leaves",
        ),
    ],
)
def test_what_cannot_be_penalised_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.zeros((1, 6, 6, 3)))
