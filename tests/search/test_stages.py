"""Stages: each begins where the one before it ended, also in a space of another shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak.check import InputError
from jleak.search import Stage, advance, begin, descend, descending, evolving, staged, then

KEY = jax.random.key(0)
TARGET = jnp.array([1.0, -2.0])
PROBLEM = (
    lambda key, point, fixed, view: jnp.sum((point - view) ** 2),
    lambda key, view: (jax.random.normal(key, view.shape), jax.random.uniform(key)),
    lambda point, fixed, view: (point, fixed),
)


def two_layers(first=20, second=30, third=10):
    """A latent z, then the weights of what makes w z out of it, then the result itself: three shapes.

    The first stage sees w = 1 and z of one entry, so it can only come to the mean of the target.
    """

    def of_latent(key, z, fixed, view):
        return jnp.sum((z * jnp.ones(2) - view) ** 2)

    def of_weights(found, _):
        return descend(
            lambda key, w, z, view: jnp.sum((w["w"] * z - view) ** 2),
            lambda key, view: ({"w": jnp.ones(2)}, found.best),
            lambda w, z, view: (w["w"] * z, None),
            optimizer=optax.sgd(0.3),
            steps=second,
        )

    def of_result(found, _):
        return descend(
            lambda key, x, fixed, view: jnp.sum((x - view) ** 2),
            lambda key, view: (found.best["w"] * found.fixed, ()),
            lambda x, fixed, view: (x, None),
            optimizer=optax.sgd(0.3),
            steps=third,
        )

    latent = descend(
        of_latent,
        lambda key, view: (jax.random.normal(key), ()),
        lambda z, fixed, view: (z * jnp.ones(2), None),
        optimizer=optax.sgd(0.1),
        steps=first,
    )
    return staged(latent, Stage(of_weights, second), Stage(of_result, third))


def test_later_stages_go_on_in_spaces_of_their_own():
    search = two_layers()
    assert search.steps == 60
    rec = jax.jit(search)(KEY, TARGET)
    np.testing.assert_allclose(rec.x, TARGET, atol=1e-3)
    assert int(rec.evaluations) == 60
    _, losses = advance(search, KEY, begin(search, KEY, TARGET), TARGET, jnp.asarray(0), 60)
    np.testing.assert_allclose(losses[19], 4.5, atol=1e-3)  # the least of the first stage
    np.testing.assert_allclose(losses[20], losses[:20].min(), rtol=1e-5)  # the same image, in other terms
    np.testing.assert_allclose(losses[50], losses[20:50].min(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(rec.loss, losses.min(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("piece", [1, 7, 20, 64])
def test_stages_cut_into_pieces_are_the_stages(piece):
    search = two_layers()
    further = jax.jit(lambda state, t: advance(search, KEY, state, TARGET, t, piece, stop=60))
    state, losses = begin(search, KEY, TARGET), []
    for t in range(0, 60, piece):
        state, loss = further(state, jnp.asarray(t))
        losses.append(loss)
    _, wanted = advance(search, KEY, begin(search, KEY, TARGET), TARGET, jnp.asarray(0), 60)
    np.testing.assert_allclose(np.concatenate(losses)[:60], wanted, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(search.read(state, TARGET).x, TARGET, atol=1e-3)


def test_seeds_side_by_side_are_the_seeds_alone():
    search, keys = two_layers(), jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(search, (0, None)))(keys, TARGET)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(together.x[i], search(key, TARGET).x, rtol=1e-4)


def test_only_the_running_stage_is_computed_also_under_vmap():
    calls = {"first": 0, "second": 0}

    def noted(name):
        def objective(key, point, fixed, view):
            def note(p):
                calls[name] += 1

            jax.debug.callback(note, point)
            return jnp.sum((point - view) ** 2)

        return objective

    first = evolving("snes", population=4)(noted("first"), *PROBLEM[1:], steps=3)
    later = Stage(
        lambda found, _: descending(optax.sgd(0.1))(
            noted("second"), lambda key, view: (found.best, found.fixed), PROBLEM[2], steps=5
        ),
        5,
    )
    rec = jax.jit(jax.vmap(staged(first, later), (0, None)))(jax.random.split(KEY, 2), TARGET)
    jax.block_until_ready(rec)
    jax.effects_barrier()
    assert calls == {"first": 2 * 12, "second": 2 * 5}
    np.testing.assert_array_equal(rec.evaluations, 17)


def test_what_is_read_is_the_lowest_of_all_stages():
    """The second stage walks away from the minimum that the first one had found."""
    first = descend(*PROBLEM, optimizer=optax.sgd(0.3), steps=30)
    away = Stage(
        lambda found, _: descend(
            *PROBLEM[:1], lambda key, view: (found.best + 5.0, found.fixed), PROBLEM[2],
            optimizer=optax.sgd(-0.01), steps=4,
        ),
        4,
    )  # fmt: skip
    rec = staged(first, away)(KEY, TARGET)
    np.testing.assert_allclose(rec.x, TARGET, atol=1e-4)
    assert int(rec.evaluations) == 34


def test_a_hybrid_refines_what_evolution_found_and_keeps_its_labels():
    engine = then(evolving("cma_es", population=6), descending(optax.sgd(0.3)), share=0.5)
    search = engine(*PROBLEM, steps=40, cost=2)
    rec = search(KEY, TARGET)
    evolution = evolving("cma_es", population=6)(*PROBLEM, steps=20, cost=2)
    state, losses = advance(search, KEY, begin(search, KEY, TARGET), TARGET, jnp.asarray(0), 40)
    np.testing.assert_allclose(losses[20], losses[:20].min(), rtol=1e-5)
    assert rec.loss < 1e-10 < evolution(KEY, TARGET).loss
    assert int(rec.evaluations) == 2 * (20 * 6 + 20)
    np.testing.assert_array_equal(rec.y, state.states[0].fixed)
    np.testing.assert_array_equal(state.best, rec.x)
    assert float(state.loss) == float(rec.loss)


def test_hybrids_nest():
    engine = then(
        evolving("cma_es", population=6), then(descending(optax.sgd(0.1)), descending(optax.sgd(0.3)))
    )
    rec = engine(*PROBLEM, steps=24)(KEY, TARGET)
    assert int(rec.evaluations) == 12 * 6 + 12
    assert rec.loss < 0.1


def test_a_stage_that_follows_nothing_but_failures_begins_where_they_did():
    def lost(key, point, fixed, view):
        return jnp.nan * point.sum()

    first = evolving("snes", population=4)(lost, *PROBLEM[1:], steps=2)
    second = Stage(lambda found, _: descending(optax.sgd(0.3))(
        PROBLEM[0], lambda key, view: (found.best, found.fixed), PROBLEM[2], steps=20), 20)  # fmt: skip
    np.testing.assert_allclose(staged(first, second)(KEY, TARGET).x, TARGET, atol=1e-3)


def test_what_cannot_be_is_refused():
    one = descend(*PROBLEM, optimizer=optax.sgd(0.1), steps=3)
    with pytest.raises(InputError, match="staged needs a later stage"):
        staged(one)
    with pytest.raises(InputError, match="steps must be >= 1, got steps=0"):
        staged(one, Stage(lambda found, _: one, 0))
    with pytest.raises(InputError, match="share must be < 1"):
        then(descending(optax.sgd(0.1)), descending(optax.sgd(0.1)), share=1.0)
    with pytest.raises(InputError, match="steps must be >= 2.*two stages"):
        then(descending(optax.sgd(0.1)), descending(optax.sgd(0.1)))(*PROBLEM, steps=1)
