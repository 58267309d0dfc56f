"""Descent: it reaches minima where it should, remembers the best point, and counts what it spends."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jleak.check import InputError
from jleak.search import OPTIMIZERS, advance, begin, descend, optimizer, step_decay

KEY = jax.random.key(0)
SCALES = jnp.array([1.0, 4.0, 25.0])
MINIMUM = jnp.array([1.0, -2.0, 0.5])


def quadratic(point):
    return jnp.sum(SCALES * (point - MINIMUM) ** 2)


def rosenbrock(point):
    """Rosenbrock, The Computer Journal 1960: a curved valley; minimum 0 at (1, 1)."""
    x, y = point
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def search(value, start, tx, steps, **rest):
    return descend(
        lambda key, point, fixed, view: value(point),
        lambda key, view: (jnp.asarray(start), ()),
        lambda point, fixed, view: (point, None),
        optimizer=tx,
        steps=steps,
        **rest,
    )


REACHES = {
    # name: (lr, steps to the quadratic's minimum, (lr, steps) to Rosenbrock's from (-1.2, 1), or None)
    "adam": (0.05, 500, (0.02, 3000)),
    "adamw": (0.05, 500, (0.02, 3000)),
    "lion": (optax.linear_schedule(0.05, 0.0, 300), 300, (optax.linear_schedule(0.01, 0.0, 4000), 4000)),
    "sgd": (0.01, 300, (5e-4, 6000)),
    "lbfgs": (1.0, 10, (1.0, 60)),
}


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS, *REACHES}))
def test_every_optimizer_has_a_line(name):
    assert name in REACHES, (
        f"optimizer {name!r} keeps no promise yet: give it a line in REACHES of {__file__}"
    )
    assert name in OPTIMIZERS, f"REACHES of {__file__} has a line of {name!r}, which is not in the catalog"


@pytest.mark.parametrize("name", sorted(REACHES))
def test_reaches_the_minimum_of_a_quadratic(name):
    lr, steps, _ = REACHES[name]
    rec = jax.jit(search(quadratic, [0.0, 0.0, 0.0], optimizer(name, lr), steps))(KEY, None)
    np.testing.assert_allclose(rec.x, MINIMUM, atol=2e-3)
    np.testing.assert_allclose(rec.loss, quadratic(rec.x), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("name", sorted(REACHES))
def test_follows_the_valley_of_rosenbrock(name):
    lr, steps = REACHES[name][2]
    rec = jax.jit(search(rosenbrock, [-1.2, 1.0], optimizer(name, lr), steps))(KEY, None)
    np.testing.assert_allclose(rec.x, 1.0, atol=0.03)
    assert rec.loss < 1e-3


def test_lbfgs_gets_there_in_fewer_evaluations_than_adam_needs():
    rec = jax.jit(search(rosenbrock, [-1.2, 1.0], optimizer("lbfgs", 1.0), 60))(KEY, None)
    assert rec.loss < 1e-10
    assert rec.evaluations < 200


LINE_SEARCH = "optax's lbfgs"


@pytest.mark.parametrize("name", [*sorted(OPTIMIZERS), LINE_SEARCH])
@pytest.mark.parametrize("value", [quadratic, rosenbrock])
def test_evaluations_are_the_objective_calls_that_were_made(name, value):
    """Counted from inside the objective, line searches included."""
    calls = []

    def counted(point):
        jax.debug.callback(lambda: calls.append(1))
        return value(point)

    start = [0.0, 0.0, 0.0] if value is quadratic else [-1.2, 1.0]
    tx = optax.lbfgs() if name == LINE_SEARCH else optimizer(name, 1.0 if name == "lbfgs" else 0.01)
    rec = jax.jit(search(counted, start, tx, 12))(KEY, None)
    jax.block_until_ready(rec)
    jax.effects_barrier()
    assert len(calls) == int(rec.evaluations)
    assert int(rec.evaluations) > 12 if name == LINE_SEARCH else int(rec.evaluations) == 12


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_best_point_is_the_lowest_of_those_evaluated(name):
    """At a learning rate at which the loss goes up and down."""
    lr = {"lbfgs": 1.0, "sgd": 0.039}.get(name, 0.8)
    one = search(quadratic, [3.0, 3.0, 3.0], optimizer(name, lr), 30)
    states, losses, points = begin(one, KEY, None), [], []
    step = jax.jit(lambda state, t: advance(one, KEY, state, None, t, 1))
    for t in range(30):
        points.append(states.point)
        states, loss = step(states, jnp.asarray(t))
        losses.append(float(loss[0]))
    rec = one.read(states, None)
    assert name == "lbfgs" or np.any(np.diff(losses) > 0)
    assert float(rec.loss) == min(losses)
    np.testing.assert_array_equal(rec.x, points[int(np.argmin(losses))])


def test_a_lane_that_breaks_keeps_what_it_had_found():
    """The objective is NaN beyond x > 1; sgd walks there."""

    def cliff(point):
        return jnp.where(point[0] > 1, jnp.nan, -point[0])

    rec = search(cliff, [0.0], optimizer("sgd", 0.05), 50)(KEY, None)
    assert 0.5 < rec.x[0] <= 1
    assert rec.loss == -rec.x[0]


def test_a_start_of_nan_is_never_best_and_its_loss_says_so():
    rec = search(quadratic, [jnp.nan, 0.0, 0.0], optimizer("adam", 0.1), 5)(KEY, None)
    assert rec.loss == jnp.inf


def test_every_point_that_is_evaluated_is_projected():
    seen = []

    def noted(point):
        jax.debug.callback(lambda p: seen.append(np.asarray(p)), point)
        return quadratic(point)

    rec = search(noted, [0.0, 0.0, 0.0], optimizer("adam", 0.5), 20, project=lambda p: jnp.clip(p, -1, 0.4))(
        KEY, None
    )
    jax.effects_barrier()
    assert len(seen) == 20
    assert np.min(seen) >= -1 and np.max(seen) <= np.float32(0.4)
    np.testing.assert_allclose(rec.x, [0.4, -1.0, 0.4], rtol=1e-6)


def test_fixed_things_stay_and_reach_objective_and_decoder():
    one = descend(
        lambda key, point, fixed, view: (point - fixed * view) ** 2,
        lambda key, view: (jnp.array(0.0), jnp.array(7.0)),
        lambda point, fixed, view: (point, fixed),
        optimizer=optax.sgd(0.5),
        steps=3,
    )
    rec = one(KEY, 2.0)
    assert float(rec.x) == 14.0 and float(rec.y) == 7.0


@pytest.mark.parametrize("steps", [8, 10, 100, 1000, 4800])
@pytest.mark.parametrize("lr", [0.1, 1.0])
def test_step_decay_divides_by_ten_after_three_five_and_seven_eighths(steps, lr):
    schedule = step_decay(lr, steps)
    drops = [math.floor(steps * k / 8) for k in (3, 5, 7)]
    times = sorted({0, steps - 1, *drops, *(d - 1 for d in drops)})
    wanted = [lr * 0.1 ** sum(t >= d for d in drops) for t in times]
    np.testing.assert_allclose([schedule(t) for t in times], wanted, rtol=1e-5)


def test_step_decay_takes_a_traced_rate():
    rates = jax.vmap(lambda lr: step_decay(lr, 8)(jnp.arange(8)))(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(rates[0], [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001], rtol=1e-5)
    np.testing.assert_allclose(rates[1], 3 * rates[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd", "lion"])
def test_signed_sees_the_sign_alone(name):
    tx, point = optimizer(name, 0.1, sign="hard"), jnp.zeros(3)
    grads = jnp.array([1e-6, -3.0, 0.0])
    moves = [tx.update(scale * grads, tx.init(point), point)[0] for scale in (1.0, 1e4)]
    np.testing.assert_array_equal(moves[0], moves[1])
    assert moves[0][0] == -moves[0][1] < 0 == moves[0][2]


def test_sgd_has_momentum_nine_tenths():
    tx, point = optimizer("sgd", 1.0), jnp.zeros(())
    state, moves = tx.init(point), []
    for _ in range(3):
        move, state = tx.update(jnp.ones(()), state, point)
        moves.append(float(move))
    np.testing.assert_allclose(moves, [-1, -1.9, -2.71], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [("adan", "unknown optimizer 'adan'; did you mean 'adam'"), ("", "known: adam, adamw, lbfgs, lion, sgd")],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        optimizer(name, 0.1)
