"""Restarts, random search, and engines by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak.check import InputError
from jleak.search import (
    ENGINES,
    OPTIMIZERS,
    STRATEGIES,
    advance,
    begin,
    descend,
    doubling,
    drawing,
    engine,
    evolving,
    generations,
    populous,
    random_search,
    restarting,
    stagnating,
)

KEY = jax.random.key(0)
TARGET = jnp.array([1.0, -2.0])
PROBLEM = (
    lambda key, point, fixed, view: jnp.sum((point - view) ** 2),
    lambda key, view: (jax.random.normal(key, view.shape), jax.random.uniform(key)),
    lambda point, fixed, view: (point, fixed),
)


def basins(key, point, fixed, view):
    """A wide basin with 1 at its ground, (0, 0), and a narrow one with 0 at (3, 3)."""
    return jnp.minimum(1 + 0.1 * jnp.sum(point**2), 0.8 * jnp.sum((point - 3) ** 2))


def spread(key, view):
    return 3 * jax.random.normal(key, (2,)), jax.random.uniform(key)


def test_a_search_begins_anew_where_it_stagnates_and_keeps_what_it_found():
    search = descend(basins, spread, PROBLEM[2], optimizer=optax.sgd(0.5), steps=1500)
    watched = restarting(search, patience=lambda d: 2 * d)
    keys = jax.random.split(KEY, 8)
    once, often = (jax.jit(jax.vmap(s, (0, None)))(keys, None) for s in (search, watched))
    assert (once.loss > 0.9).sum() >= 4  # most starts lie in the wide basin
    assert (often.loss < 1e-3).sum() >= 7
    np.testing.assert_array_equal(often.evaluations, 1500)
    np.testing.assert_array_equal(often.y, once.y)  # what is not optimised stays


def test_it_restarts_after_as_many_steps_as_it_is_told_and_not_before():
    flat = descend(lambda key, p, f, v: 0 * p.sum(), spread, PROBLEM[2], optimizer=optax.sgd(0.1), steps=12)
    search = restarting(flat, patience=lambda d: 2 * d)
    state, points = begin(search, KEY, None), []
    for t in range(12):
        points.append(np.asarray(state.state.point))
        state, _ = advance(search, KEY, state, None, jnp.asarray(t), 1)
    changes = [t for t in range(1, 12) if not np.array_equal(points[t], points[t - 1])]
    assert changes == [5, 10]  # the first step of a run is its first loss, then four without a fall


def test_stagnating_evolution_escapes_a_basin():
    settings = {"population": 6, "std": 0.3}
    keys = jax.random.split(KEY, 8)
    once, often = (
        jax.jit(jax.vmap(make("cma_es", **settings)(basins, spread, PROBLEM[2], steps=800), (0, None)))(
            keys, None
        )
        for make in (evolving, stagnating)
    )
    assert (once.loss > 0.9).sum() >= 3
    assert (often.loss < 1e-3).sum() >= 7


def test_doubling_spends_equal_shares_on_populations_that_double():
    search = doubling("snes", population=4, runs=3)(*PROBLEM, steps=36)
    assert search.steps == 12 + 6 + 3
    state, _ = advance(search, KEY, begin(search, KEY, TARGET), TARGET, jnp.asarray(0), search.steps)
    assert [int(one.evaluations) for one in state.states] == [48, 48, 48]
    starts = np.stack([one.origin for one in state.states])
    assert len(np.unique(starts[:, 0])) == 3  # each from a new start
    assert len({float(one.fixed) for one in state.states}) == 1
    rec = search.read(state, TARGET)
    assert int(rec.evaluations) == 144 and float(rec.loss) == min(float(one.loss) for one in state.states)


def test_random_search_is_the_best_of_its_draws():
    """Against NumPy: the expected least of n squared distances from the centre of a uniform square."""
    seen = []

    def noted(key, point, fixed, view):
        value = jnp.sum(point**2)
        jax.debug.callback(lambda v: seen.append(float(v)), value)
        return value

    start = lambda key, view: (jax.random.uniform(key, (2,), minval=-1), ())  # noqa: E731
    rec = jax.block_until_ready(
        jax.jit(random_search(noted, start, PROBLEM[2], population=50, steps=20, cost=2))(KEY, None)
    )
    jax.effects_barrier()
    assert len(set(seen)) == 1000 and float(rec.loss) == min(seen) and int(rec.evaluations) == 2000
    np.testing.assert_allclose(np.mean(seen), 2 / 3, atol=0.05)


def test_random_search_around_the_start_has_the_deviation_that_it_is_given():
    points = []

    def noted(key, point, fixed, view):
        jax.debug.callback(lambda p: points.append(np.asarray(p)), point)
        return jnp.nan * point.sum()

    search = drawing(population=40, std=0.5)(noted, PROBLEM[1], PROBLEM[2], steps=15)
    state = begin(search, KEY, TARGET)
    state, losses = advance(search, KEY, state, TARGET, jnp.asarray(0), 15)
    jax.effects_barrier()
    offset = np.stack(points) - np.asarray(state.origin)
    np.testing.assert_allclose(offset.std(0), 0.5, rtol=0.1)
    np.testing.assert_allclose(offset.mean(0), 0.0, atol=0.07)
    assert (losses == jnp.inf).all() and state.loss == jnp.inf
    np.testing.assert_array_equal(state.best, state.origin)


def test_every_engine_has_a_name_and_runs():
    assert set(ENGINES) == {*OPTIMIZERS, *STRATEGIES, "random_search", "turbo", "turbo_m"}
    for name in ("adam", "lbfgs", "cr_fm_nes", "de", "random_search", "snes+adam"):
        rec = jax.jit(engine(name, population=8, lr=0.2)(*PROBLEM, steps=40))(KEY, TARGET)
        assert rec.loss < 0.5, name
        assert populous(name) == (rec.evaluations > 40)


def test_settings_reach_the_engine():
    made = engine("pgpe", population=10, std=0.5, lr=0.3, chunk=5)
    assert made.keywords == {"strategy": "pgpe", "population": 10, "std": 0.5, "lr": 0.3, "chunk": 5}
    assert engine("turbo_m", population=7).keywords == {"batch": 7, "regions": 5, "chunk": None}
    assert engine("random_search", population=7, std=9.0).keywords == {"population": 7, "chunk": None}
    assert engine("cma_es", population=4, restarts="doubling")(*PROBLEM, steps=36).steps == 21
    assert engine("cma_es", population=4, restarts="stagnation")(*PROBLEM, steps=36).steps == 36
    scheduled = engine("snes", population=4, lr=optax.linear_schedule(0.7, 0.0, 5))
    assert scheduled.keywords["lr"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: engine("cma_se"), "unknown optimiser 'cma_se'; did you mean 'cma_es'"),
        (lambda: engine("cma_es+adan"), "unknown optimiser 'adan'; did you mean 'adam'"),
        (lambda: engine("cma_es+"), "unknown optimiser ''"),
        (lambda: engine("cma_es", restarts="ipop"), "unknown restarts 'ipop'.*doubling, none, stagnation"),
        (lambda: engine("cma_es", population=2), "population must be >= 4"),
        (lambda: doubling("cma_es", population=4, runs=1), "runs must be >= 2"),
        (lambda: doubling("cma_es", population=4)(*PROBLEM, steps=11), "need steps >= 12, got steps=11"),
        (lambda: generations(100, 101), "population must be <= the budget of 100 evaluations"),
        (lambda: drawing(population=0), "population must be >= 1"),
        (lambda: random_search(*PROBLEM, population=2, steps=2, std=0.0), "std must be > 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
