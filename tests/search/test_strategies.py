"""The strategies' own steps: what had to be put right in evosax's, against the papers' rules by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import rankdata

from jleak.search import advance, begin, evolving
from jleak.search.strategies import strategy
from jleak.search.strategy import made

KEY = jax.random.key(0)
P, D = 12, 5
FITNESS = jax.random.normal(jax.random.key(7), (P,))


def asked(name, rounds=0):
    """A strategy, its state after some rounds on the sphere, and points that it asks for."""
    es = strategy(name, P, D, 50)
    state = es.init(KEY)
    for t in range(rounds + 1):
        points, state = es.ask(jax.random.fold_in(KEY, t), jnp.asarray(t), state)
        if t < rounds:
            state = es.tell(KEY, points, jnp.sum((points - 1) ** 2, 1), state, 0.1)
    return es, state, points


@pytest.mark.parametrize("name", ["lm_ma_es", "ma_es"])
def test_matrix_adaptation_does_not_depend_on_the_order_of_its_candidates(name):
    es, state, points = asked(name, rounds=3)
    order = jax.random.permutation(KEY, P)
    told = es.tell(KEY, points, FITNESS, state, 0.1)
    other = es.tell(KEY, points[order], FITNESS[order], state.replace(z=state.z[order]), 0.1)
    np.testing.assert_allclose(told.M, other.M, atol=1e-5)
    plain, params = made({"lm_ma_es": "LM_MA_ES", "ma_es": "MA_ES"}[name], P, D)
    unsorted = plain.tell(KEY, points, FITNESS, state, params)[0]
    assert not np.allclose(unsorted.M, told.M, atol=1e-2)  # evosax's does, which is why it is sorted


def test_matrix_adaptation_is_the_papers():
    """M (I + c_1 / 2 (s s^T - I) + c_mu / 2 (sum_i w_i z_i z_i^T - I)), z in the order of fitness."""
    es, state, points = asked("ma_es", rounds=2)
    _, params = made("MA_ES", P, D)
    told = es.tell(KEY, points, FITNESS, state, 0.1)
    z = np.asarray(state.z, np.float64)[np.argsort(FITNESS)]
    w, s, eye = np.asarray(params.weights, np.float64), np.asarray(told.p_std, np.float64), np.eye(D)
    c_1, c_mu = float(params.c_1), float(params.c_mu)
    moment = sum(weight * np.outer(row, row) for weight, row in zip(w, z, strict=True))
    wanted = state.M @ (eye + c_1 / 2 * (np.outer(s, s) - eye) + c_mu / 2 * (moment - eye))
    np.testing.assert_allclose(told.M, wanted, atol=1e-5)


def test_limited_memory_survives_a_population_above_the_dimension():
    search = evolving("lm_ma_es", population=32)(
        lambda key, x, fixed, view: jnp.sum((x - 1) ** 2),
        lambda key, view: (jnp.zeros(4), ()), lambda x, fixed, view: (x, None), steps=120,
    )  # fmt: skip
    assert jax.jit(search)(KEY, None).loss < 1e-8


def test_xnes_is_the_papers():
    """Algorithm 1: mean + A G_delta, step exp(eta / 2 tr(G_M) / d), B expm(eta / 2 (G_M - tr(G_M) / d I))."""
    es, state, points = asked("xnes", rounds=3)
    _, params = made("xNES", P, D)
    z = np.asarray(state.z, np.float64)
    np.testing.assert_allclose(points, state.mean + state.std * z @ state.B.T, rtol=1e-4, atol=1e-5)
    told = es.tell(KEY, points, FITNESS, state, 0.1)
    ranks = np.argsort(np.argsort(FITNESS))
    raw = np.maximum(0, np.log(P / 2 + 1) - np.log(np.arange(1, P + 1)))
    w = (raw / raw.sum() - 1 / P)[ranks]
    gradient = sum(w[i] * (np.outer(z[i], z[i]) - np.eye(D)) for i in range(P))
    level, rate = np.trace(gradient) / D, float(params.lr_B)
    np.testing.assert_allclose(rate, (9 + 3 * np.log(D)) / (5 * D * np.sqrt(D)), rtol=1e-5)
    np.testing.assert_allclose(told.mean, state.mean + state.std * state.B @ (w @ z), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told.std, state.std * np.exp(rate / 2 * level), rtol=1e-4)
    wanted = state.B @ expm(rate / 2 * (gradient - level * np.eye(D)))
    np.testing.assert_allclose(told.B, wanted, atol=1e-4)


def test_the_step_of_rm_es_follows_the_ranks_of_two_generations():
    es, state, points = asked("rm_es", rounds=1)
    _, params = made("Rm_ES", P, D, m=2)
    half, weights = P // 2, np.asarray(params.weights[: P // 2])
    better = es.tell(KEY, points, state.fitness_elites_sorted.min() - jnp.arange(1.0, P + 1), state, 0.1)
    rate = (1 - 0.3) * float(state.cumulative_rank_rate) + 0.3 * (float(weights.sum()) - 0.3)
    np.testing.assert_allclose(better.cumulative_rank_rate, rate, rtol=1e-5)
    np.testing.assert_allclose(better.std, state.std * np.exp(rate), rtol=1e-5)
    mixed = es.tell(KEY, points, FITNESS, state, 0.1)
    ranks = rankdata(np.concatenate([state.fitness_elites_sorted, np.sort(FITNESS)[:half]]))
    gain = weights @ (ranks[:half] - ranks[half:]) / half
    rate = 0.7 * float(state.cumulative_rank_rate) + 0.3 * (gain - 0.3)
    np.testing.assert_allclose(mixed.cumulative_rank_rate, rate, rtol=1e-4)


def test_candidates_of_rm_es_differ_along_its_paths():
    """Coordinates along a long path vary as (1 - c)^2 + c (1 - c) |p|^2 c does, each candidate by itself."""
    es = strategy("rm_es", 4000, D, 50)
    _, params = made("Rm_ES", 4000, D, m=2)
    c = float(params.c_1)
    state = es.init(KEY).replace(P=jnp.zeros((2, D)).at[1, 0].set(10.0))
    points, _ = es.ask(KEY, jnp.asarray(0), state)
    wanted = np.sqrt((1 - c) ** 2 + c * 100)
    np.testing.assert_allclose(points[:, 0].std(), wanted, rtol=0.05)
    np.testing.assert_allclose(points[:, 1].std(), 1 - c, rtol=0.05)


@pytest.mark.parametrize("name", ["iamalgam_full", "iamalgam_univariate"])
def test_the_multiplier_of_iamalgam_scales_what_it_samples(name):
    es = strategy(name, 2000, D, 50)
    state = es.init(KEY)
    spread = [es.ask(KEY, 0, state.replace(c_mult=m))[0].std() for m in (1.0, 0.25, 4.0)]
    np.testing.assert_allclose(spread, [1.0, 0.5, 2.0], rtol=0.05)


def test_separable_rates_are_the_papers():
    """(d + 2) / 3 times those of the full covariance, together at most 1."""
    _, full = made("CMA_ES", P, D)
    es, state, points = asked("sep_cma_es")
    told = es.tell(KEY, points, FITNESS, state, 0.1)
    _, params = made("Sep_CMA_ES", P, D)
    c_1, c_mu = 7 / 3 * float(full.c_1), 7 / 3 * float(full.c_mu)
    order = np.argsort(FITNESS)
    w, y = np.asarray(params.weights), (points - state.mean) / state.std
    stall = 0.0 if np.any(told.p_c) else float(params.c_c * (2 - params.c_c))
    keep = 1 + c_1 * stall - c_1 - c_mu * w.sum()
    wanted = keep * state.C + c_1 * told.p_c**2 + c_mu * w @ y[order] ** 2
    np.testing.assert_allclose(told.C, wanted, rtol=1e-4)


def ellipsoid(name, d, steps, cond):
    scales = 10.0 ** jnp.linspace(0, cond, d)
    search = evolving(name, population=16)(
        lambda key, x, fixed, view: jnp.sum(scales * x**2),
        lambda key, view: (jax.random.normal(key, (d,)), ()), lambda x, fixed, view: (x, None), steps=steps,
    )  # fmt: skip
    return jax.jit(jax.vmap(search, (0, None)))(jax.random.split(KEY, 5), None).loss


def test_decomposing_seldom_converges_as_decomposing_always(monkeypatch):
    """Medians of five seeds, in log10 of the value; evosax decomposes in every generation."""
    lazy = np.log10(np.median(ellipsoid("cma_es", 20, 350, 3)))
    from jleak.search import strategies

    monkeypatch.setitem(strategies.STRATEGIES, "cma_es", strategies.plain(strategies.distribution, "CMA_ES"))
    strategies.strategy.cache_clear()
    always = np.log10(np.median(ellipsoid("cma_es", 20, 350, 3)))
    strategies.strategy.cache_clear()
    assert lazy < 0 and abs(lazy - always) < 1.0


def test_cma_es_decomposes_only_as_often_as_its_covariance_changes():
    """No eigendecomposition between, also side by side: the branch is on the number that all lanes share."""
    program = jax.make_jaxpr(jax.vmap(strategy("cma_es", 8, 64, 10).ask, (0, None, 0)))
    es = strategy("cma_es", 8, 64, 10)
    keys = jax.random.split(KEY, 3)
    text = str(program(keys, jnp.asarray(1), jax.vmap(es.init)(keys)))
    assert "cond[" in text and "eigh" in text
    state = es.init(KEY).replace(C=jnp.diag(jnp.arange(1.0, 65.0)))
    held = es.ask(KEY, jnp.asarray(3), state)[1]
    np.testing.assert_array_equal(held.D, 1.0)
    fresh = es.ask(KEY, jnp.asarray(20), state)[1]
    np.testing.assert_allclose(np.sort(fresh.D) ** 2, np.arange(1.0, 65.0), rtol=1e-4)


def test_strategies_are_made_once_and_hold_no_tracer():
    def inside(key):
        search = evolving("cr_fm_nes", population=10)(
            lambda key, x, fixed, view: jnp.sum(x**2),
            lambda key, view: (jnp.ones(7), ()), lambda x, fixed, view: (x, None), steps=3,
        )  # fmt: skip
        state, _ = advance(search, key, begin(search, key, None), None, jnp.asarray(0), 3)
        return state.loss

    first = jax.jit(inside)(KEY)
    assert strategy("cr_fm_nes", 10, 7, 3) is strategy("cr_fm_nes", 10, 7, 3)
    np.testing.assert_allclose(first, jax.jit(lambda key: inside(key))(KEY), rtol=1e-4)
