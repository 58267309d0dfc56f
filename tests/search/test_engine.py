"""The loop: a run may be cut anywhere, and of many runs the best one by its own loss is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak.check import InputError
from jleak.search import Search, advance, begin, best, best_of, conditioned, descend, optimizer
from jleak.types import Reconstruction

KEY = jax.random.key(3)
STEPS = 12


def noisy(optim="adam"):
    """Descent on a quadratic, with an objective that draws noise at each step."""

    def objective(key, point, fixed, view):
        return jnp.sum((point - view) ** 2) + jnp.vdot(jax.random.normal(key, point.shape), point)

    return descend(
        objective,
        lambda key, view: (jax.random.normal(key, view.shape), ()),
        lambda point, fixed, view: (point, None),
        optimizer=optimizer(optim, 0.1),
        steps=STEPS,
    )


VIEW = jnp.array([1.0, -2.0, 0.5])


def equal(a, b):
    return all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(
    ("optim", "piece"), [*(("adam", n) for n in (1, 2, 3, 5, 7, 11, 12, 20)), ("lbfgs", 5), ("sgd", 5)]
)
def test_a_run_cut_into_pieces_is_the_run_to_the_bit(optim, piece):
    """Also where the last piece goes beyond the end."""
    search = noisy(optim)

    @jax.jit
    def further(state, start):
        return advance(search, KEY, state, VIEW, start, piece, stop=STEPS)

    state, losses = begin(search, KEY, VIEW), []
    for start in range(0, STEPS, piece):
        state, loss = further(state, jnp.asarray(start))
        losses.append(loss)
    whole, wanted = jax.jit(
        lambda: advance(search, KEY, begin(search, KEY, VIEW), VIEW, jnp.asarray(0), STEPS)
    )()
    assert equal(state, whole)
    np.testing.assert_array_equal(np.concatenate(losses)[:STEPS], wanted)


def test_calling_a_search_is_beginning_advancing_and_reading():
    search = noisy()
    state, _ = advance(search, KEY, begin(search, KEY, VIEW), VIEW, jnp.asarray(0), STEPS)
    assert equal(search(KEY, VIEW), search.read(state, VIEW))


def test_steps_from_stop_on_change_nothing():
    search = noisy()
    start = begin(search, KEY, VIEW)
    half, _ = advance(search, KEY, start, VIEW, jnp.asarray(0), 6)
    cut, _ = advance(search, KEY, start, VIEW, jnp.asarray(0), STEPS, stop=6)
    after, _ = advance(search, KEY, cut, VIEW, jnp.asarray(6), 4, stop=6)
    assert equal(cut, half) and equal(after, half)
    assert int(after.evaluations) == 6


def test_each_step_draws_anew_and_each_run_its_own():
    """The key of a step is fixed by the run's key and the step's number."""
    draws = Search(
        lambda k, v: jnp.array(0.0), lambda k, t, s, v: (s, jax.random.uniform(k)), lambda s, v: s, STEPS
    )

    def losses(key, start, steps):
        return advance(draws, key, begin(draws, key, None), None, jnp.asarray(start), steps)[1]

    first = losses(KEY, 0, STEPS)
    assert len(np.unique(first)) == STEPS
    np.testing.assert_array_equal(losses(KEY, 5, 3), first[5:8])
    assert not np.isin(losses(jax.random.key(4), 0, STEPS), first).any()


def test_calling_a_search_runs_its_budget():
    count = Search(
        lambda k, v: jnp.array(0),
        lambda k, t, s, v: (s + v, 1.0 * s),
        lambda s, v: Reconstruction(s, None, s, s),
        7,
    )
    assert int(count(KEY, 3).x) == 21


def guess(key, view):
    """An attack of one random number, which is its loss; it costs `view` evaluations."""
    x = jax.random.uniform(key)
    return Reconstruction(x, None, x, jnp.asarray(view))


def test_best_of_keeps_the_lowest_loss_and_counts_every_evaluation():
    tries = []

    def noted(key, view):
        rec = guess(key, view)
        jax.debug.callback(lambda x: tries.append(float(x)), rec.loss)
        return rec

    rec = best_of(noted, 9)(KEY, 5)
    jax.effects_barrier()
    assert len(set(tries)) == 9
    assert float(rec.loss) == float(rec.x) == min(tries)
    assert int(rec.evaluations) == 45


def test_best_of_one_or_many_shares_no_draw_with_another_key():
    a, b = (best_of(guess, 5)(jax.random.key(i), 1) for i in (0, 1))
    assert float(a.x) != float(b.x)


@pytest.mark.parametrize(
    ("losses", "winner"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([np.nan, 1.0, 2.0], 1),
        ([np.nan, np.inf, 2.0], 2),
        ([-np.inf, 5.0, np.nan], 1),
        ([2.0, 2.0, 2.0], 0),
    ],
)
def test_best_takes_the_lowest_finite_loss(losses, winner):
    losses, n = jnp.array(losses), len(losses)
    rec = best(Reconstruction(jnp.arange(n), 10 * jnp.arange(n), losses, jnp.arange(n)))
    assert int(rec.x) == winner and int(rec.y) == 10 * winner
    assert rec.loss == losses[winner]
    assert int(rec.evaluations) == sum(range(n))


def test_when_all_are_lost_best_says_so():
    lost = jnp.array([jnp.nan, jnp.nan])
    assert not jnp.isfinite(best(Reconstruction(lost, lost, lost, jnp.ones(2))).loss)


def test_best_of_under_vmap_chooses_for_each_view():
    def near(key, view):
        x = jax.random.uniform(key)
        return Reconstruction(x, None, jnp.abs(x - view), jnp.array(1))

    targets = jnp.array([0.1, 0.5, 0.9])
    recs = jax.vmap(best_of(near, 300), (None, 0))(KEY, targets)
    np.testing.assert_allclose(recs.x, targets, atol=0.02)


@pytest.mark.parametrize(
    ("n", "message"), [(0, "restarts must be >= 1, got restarts=0"), (1.5, "a whole number")]
)
def test_bad_restarts_are_refused(n, message):
    with pytest.raises(InputError, match=message):
        best_of(guess, n)


def test_a_recipe_may_depend_on_the_view():
    """The same numbers as the recipe made by hand, with a traced learning rate."""

    def make(view):
        target, lr = view
        return descend(
            lambda key, point, fixed, _: jnp.sum((point - target) ** 2),
            lambda key, _: (jnp.zeros(3), ()),
            lambda point, fixed, view: (point, None),
            optimizer=optax.sgd(lr),
            steps=4,
        )

    got = jax.jit(conditioned(make, 4))(KEY, (VIEW, jnp.array(0.1)))
    np.testing.assert_allclose(got.x, VIEW * (1 - 0.8**3), rtol=1e-5)  # the best of the four evaluated points
    assert int(got.evaluations) == 4
