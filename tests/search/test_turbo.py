"""TuRBO: the model against scikit-learn's, the regions' rules by hand, and what it reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from jleak.check import InputError
from jleak.search import advance, begin, drawing, turbo, turboing
from jleak.search.bayesian import process, region
from jleak.search.bayesian.process import Data, Kernel

KEY = jax.random.key(0)
DRAWN = np.random.default_rng(0)
X, Q = DRAWN.uniform(size=(30, 3)), DRAWN.uniform(size=(7, 3))
Y = np.sin(5 * X).sum(1)


def raw(dtype=float):
    return Kernel(jnp.array([0.1, -0.2, 0.3], dtype), jnp.array(0.2, dtype), jnp.array(0.1, dtype))


def oracle():
    held = process.values(raw())
    covariance = ConstantKernel(float(held.amplitude)) * Matern(np.array(held.lengths), nu=2.5)
    return GaussianProcessRegressor(covariance, alpha=float(held.noise), optimizer=None).fit(X, Y)


@pytest.mark.parametrize("spare", [0, 12])
def test_posterior_and_likelihood_are_those_of_scikit_learn(spare):
    """In float64, also with rows that do not count, whatever stands in them."""
    with jax.enable_x64(True):
        x = jnp.concatenate([jnp.array(X), jnp.array(DRAWN.uniform(size=(spare, 3)))])
        data = Data(x, jnp.concatenate([Y, jnp.full(spare, 7.0)]), jnp.arange(30 + spare) < 30)
        known = oracle()
        mean, covariance = process.posterior(raw(), data, jnp.array(Q))
        wanted, wanted_covariance = known.predict(Q, return_cov=True)
        np.testing.assert_allclose(mean, wanted, rtol=1e-10)
        np.testing.assert_allclose(covariance, wanted_covariance, atol=1e-12)
        _, std = known.predict(Q, return_std=True)
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), std, rtol=1e-8)
        likelihood = process.likelihood(raw(), data)
        np.testing.assert_allclose(likelihood, known.log_marginal_likelihood_value_, rtol=1e-10)


def test_the_evidences_gradient_is_that_of_its_differences():
    with jax.enable_x64(True):
        k = process.covariance(process.values(raw()), Data(jnp.array(X), jnp.array(Y), jnp.ones(30, bool)))
        check_grads(process.evidence, (k, jnp.array(Y)), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_float32_is_near_enough_and_its_slope_is_finite_where_points_coincide():
    data = Data(jnp.array(X).at[1].set(X[0]), jnp.array(Y), jnp.ones(30, bool))
    slope = jax.grad(process.likelihood)(raw(), data)
    assert all(np.isfinite(leaf).all() for leaf in slope)
    data = Data(jnp.array(X), jnp.array(Y), jnp.ones(30, bool))
    np.testing.assert_allclose(process.posterior(raw(), data, Q)[0], oracle().predict(Q), atol=2e-3)


def test_the_fit_finds_which_dimensions_matter():
    """Values that depend on the first of three coordinates alone."""
    data = Data(jnp.array(X), jnp.sin(8 * jnp.array(X[:, 0])), jnp.ones(30, bool))
    first = process.kernel(3)
    fitted, _ = jax.jit(process.fitted, static_argnums=3)(first, process.begun(first), data, 100)
    lengths = process.values(fitted).lengths
    assert lengths[0] < 0.7 and min(lengths[1:]) > 1.2
    assert process.likelihood(fitted, data) > process.likelihood(first, data) + 5
    low, high = process.LENGTHS
    assert low <= min(lengths) and max(lengths) <= high


def test_a_fit_that_fails_leaves_the_kernel():
    first = process.kernel(3)
    data = Data(jnp.array(X), jnp.array(Y).at[0].set(jnp.nan), jnp.ones(30, bool))
    after, _ = process.fitted(first, process.begun(first), data, 2)
    np.testing.assert_array_equal(after.lengths, first.lengths)


def test_a_design_is_a_latin_hypercube():
    x = region.region(KEY, 5, 16, 12).x[:12]
    np.testing.assert_array_equal(np.sort(np.floor(x * 12), axis=0), np.tile(np.arange(12)[:, None], 5))


def begun(values=(5.0, 3.0, 4.0, 9.0)):
    """A region of three dimensions, memory 8 and a design of 4, evaluated in rounds 0 and 1."""
    one = region.region(KEY, 3, 8, 4)
    y = jnp.array(values)
    for t in (0, 1):
        one = region.told(one, jnp.ones(2, bool), one.x[2 * t : 2 * t + 2], y[2 * t : 2 * t + 2], t, 4)
    return one


def after(one, values, mine=(True, True), t=2):
    return region.told(one, jnp.array(mine), jnp.full((2, 3), 0.5), jnp.array(values), t, 4)


def test_the_design_is_recorded_and_moves_no_counter():
    one = begun()
    np.testing.assert_array_equal(one.y[:4], [5, 3, 4, 9])
    np.testing.assert_array_equal(one.age, [0, 0, 1, 1, -1, -1, -1, -1])
    assert not region.waiting(one, 4) and (int(one.wins), int(one.losses), float(one.length)) == (
        0,
        0,
        np.float32(0.8),
    )


def test_three_gains_in_a_row_double_the_length_to_its_limit():
    one = begun()
    for t, best in enumerate([2.9, 2.8, 2.7]):
        assert float(one.length) == np.float32(0.8)
        one = after(one, [best, 9.0], t=2 + t)
    assert (float(one.length), int(one.wins)) == (np.float32(1.6), 0)
    for t, best in enumerate([2.6, 2.5, 2.4]):
        one = after(one, [best, 9.0], t=5 + t)
    assert float(one.length) == np.float32(1.6)


def test_evaluations_without_a_gain_halve_it_and_a_gain_forgives_them():
    one = after(begun(), [3.0, 9.0])
    assert (int(one.losses), float(one.length)) == (2, np.float32(0.8))  # 4 = max(4, d) are needed
    assert int(after(one, [1.0, 9.0], t=3).losses) == 0
    one = after(one, [2.999, 9.0], t=3)  # not by a thousandth
    assert (int(one.losses), float(one.length)) == (0, np.float32(0.4))


def test_evaluations_for_other_regions_change_nothing():
    one = begun()
    same = after(one, [0.0, 0.0], mine=(False, False))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True))
    half = after(one, [9.0, 9.0], mine=(False, True))
    assert int(half.losses) == 1 and int((half.age >= 0).sum()) == 5


def test_the_oldest_are_replaced_and_never_the_best():
    one = begun()
    for t in range(2, 8):
        one = after(one, [9.0 + t, 9.0 + t], t=t)
    assert 3.0 in one.y.tolist() and 5.0 not in one.y.tolist()
    assert sorted(one.age.tolist()) == [0, 4, 5, 5, 6, 6, 7, 7]


@pytest.mark.parametrize(("d", "few"), [(10, 10), (200, 35)])
def test_candidates_stay_in_the_region_and_change_few_coordinates(d, few):
    one = region.region(KEY, d, 8, 4)._replace(length=jnp.array(0.2))
    one = region.told(one, jnp.ones(4, bool), one.x[:4], jnp.array([4.0, 1.0, 2.0, 3.0]), 0, 4)
    x = region.candidates(KEY, one, 400)
    moved = jnp.abs(x - one.x[1])
    assert (moved <= 0.1 + 1e-6).all() and (x >= 0).all() and (x <= 1).all()
    changes = (moved > 0).sum(1)
    assert changes.min() >= 1 and changes.max() <= few
    np.testing.assert_allclose(changes.mean(), min(20, d), rtol=0.06)


def test_sides_are_in_proportion_to_the_lengthscales_at_equal_volume():
    one = region.region(KEY, 2, 8, 4)._replace(length=jnp.array(0.1), x=jnp.full((8, 2), 0.5))
    held = process.kernel(2)._replace(lengths=process._free(jnp.array([0.2, 0.8]), process.LENGTHS))
    x = region.candidates(KEY, one._replace(kernel=held), 4000)
    np.testing.assert_allclose(np.ptp(x, axis=0), [0.05, 0.2], rtol=0.02)


D = 6
TARGET = jnp.linspace(-1.2, 1.2, D)
PROBLEM = (
    lambda key, point, fixed, view: jnp.where(
        jnp.sin(1e3 * point[0]) > 1 - view, jnp.nan, jnp.sum((point - TARGET) ** 2)
    ),
    lambda key, view: (jax.random.normal(key, (D,)), ()),
    lambda point, fixed, view: (point, None),
)
SETTINGS = {"batch": 4, "memory": 96, "candidates": 96}


def test_three_regions_reach_what_random_search_does_not_also_when_evaluations_fail():
    """160 evaluations, of which none, a fifth or all fail; random search is given 20,000."""
    search = turboing(regions=3, **SETTINGS)(*PROBLEM, steps=40)

    def run(key, share):
        state = begin(search, key, share)
        return advance(search, key, state, share, jnp.asarray(0), 40)[0]

    shares = jnp.array([0.0, 0.2, 2.0])
    states = jax.jit(jax.vmap(jax.vmap(run, (0, None)), (None, 0)))(jax.random.split(KEY, 2), shares)
    whole, holes, lost = states.loss
    floor = jax.jit(drawing(population=1000)(*PROBLEM, steps=20))(KEY, 0.0).loss
    assert (whole < 0.01).all() and (holes < 0.3).all() and floor > 0.1
    np.testing.assert_array_equal(states.evaluations, 160)
    np.testing.assert_allclose(whole, [PROBLEM[0](KEY, x, (), 0.0) for x in states.best[0]], rtol=1e-4)
    assert (lost == jnp.inf).all() and np.isfinite(states.regions.x).all()
    assert all(np.isfinite(leaf).all() for leaf in states.regions.kernel)


def test_one_region_in_pieces_stays_within_its_bounds():
    """A minimum beyond the bounds is approached as far as they allow."""
    search = turbo(
        lambda key, p, fixed, view: jnp.sum((p - 3) ** 2), *PROBLEM[1:], steps=24, limit=1.0, **SETTINGS
    )
    state = begin(search, KEY, None)
    piece = jax.jit(lambda state, t: advance(search, KEY, state, None, t, 6))
    for t in range(0, 24, 6):
        state, _ = piece(state, jnp.asarray(t))
    rec = search.read(state, None)
    assert abs(rec.x).max() <= 1 and rec.x.min() > 0.8
    assert int(rec.evaluations) == 96


def test_a_region_that_has_become_too_small_begins_anew():
    """With a constant objective every four evaluations halve it: seven halvings after the design."""
    search = turbo(
        lambda key, p, fixed, view: 1 + 0 * p.sum(), *PROBLEM[1:], steps=60, fits=0, design=8, **SETTINGS
    )
    step = jax.jit(lambda state, t: advance(search, KEY, state, None, t, 1)[0])
    state, counts = begin(search, KEY, None), []
    for t in range(20):
        state = step(state, jnp.asarray(t))
        counts.append(int((state.regions.age >= 0).sum()))
    # 8 of the design in two rounds; six evaluations (two rounds) a halving; 0.8 / 2^7 < 2^-7
    assert counts[:16] == [4 * k for k in range(1, 16)] + [0]
    assert counts[16:] == [4, 8, 12, 16]
    assert int(state.evaluations) == 80


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be >= 1"),
        ({"batch": 0}, "batch must be >= 1"),
        ({"regions": 0}, "regions must be >= 1"),
        ({"limit": 0.0}, "limit must be > 0"),
        ({"batch": 9, "candidates": 8}, "candidates must be >= batch=9, got candidates=8"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        turbo(*PROBLEM, **{"steps": 4, **settings})


def test_a_memory_that_cannot_hold_the_design_is_refused():
    with pytest.raises(InputError, match="memory must hold the design of 20 and a round, got memory=20"):
        turbo(*PROBLEM, steps=4, design=20, memory=20, batch=4).init(KEY, 0.0)
