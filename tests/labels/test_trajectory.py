"""Label counts behind local training: what the simulation, the linear system and the search each promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.clients import fedavg
from jleak.labels import counts_of, demix, random, trajectory
from jleak.labels.dummies import dummies
from jleak.labels.head import head
from jleak.labels.trajectory import Seen, Training, at_the_end, follow, simulate, solved, together
from jleak.losses import cross_entropy, mse
from jleak.models import mlp
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
STEPS, MINI, N = 5, 4, 20
MODEL = mlp((8, 8, 1), 10, hidden=48)
THREAT = Threat(client=None, model=MODEL, batch=N, local_steps=STEPS, lr=1.0)


@pytest.fixture(scope="module")
def victims(digits):
    """Twelve models, each with a client of FedAvg whose labels are half of one class."""
    client = fedavg(MODEL, cross_entropy, lr=THREAT.lr, steps=STEPS)
    x, y = jnp.asarray(digits.x), np.asarray(digits.labels)
    program = jax.jit(client)

    def one(i):
        rng = np.random.default_rng(i)
        wanted = np.where(np.arange(N) < N // 2, rng.integers(10), rng.integers(0, 10, N))
        picks = np.array([rng.choice(np.flatnonzero(y == c)) for c in wanted])
        params = MODEL.init(jax.random.key(i))
        update = program(jax.random.key(i), params, Batch(x[picks], jnp.asarray(y[picks])))
        return params, update, jnp.asarray(y[picks])

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(one, range(12)))


ATTACKS = {"trajectory": lambda threat: trajectory(threat, starts=3), "demix": demix, "random": random}


def rate(attack, victims):
    """Share of the labels found, over the victims."""
    params, updates, y = victims
    keys = jax.random.split(KEY, len(y))
    run = jax.jit(jax.vmap(lambda key, p, u: attack(key, View(p, u))))
    found, true = run(keys, params, updates), jax.vmap(lambda labels: counts_of(labels, 10))(y)
    np.testing.assert_array_equal(found.sum(1), N)
    return float(jnp.minimum(found, true).sum() / true.sum())


def test_it_sees_through_local_steps_where_others_do_not(victims):
    found = {name: rate(attack(THREAT), victims) for name, attack in ATTACKS.items()}
    assert found["trajectory"] >= 0.85
    assert found["trajectory"] >= found["demix"] + 0.07
    assert found["trajectory"] >= found["random"] + 0.4


def test_the_simulation_is_local_training_on_soft_labels():
    """Against the client itself, with the dummies as every mini-batch."""
    params, x = MODEL.init(KEY), dummies(THREAT, "natural", 3)
    shares = jax.nn.softmax(jax.random.normal(KEY, (2, 10)))
    threat = dataclasses.replace(THREAT, local_steps=2)
    path = simulate(threat, View(params, None), x, shares)
    weights, total = params, None
    for y in shares:
        soft = Batch(x, jnp.tile(y, (3, 1)))
        g = fedavg(MODEL, cross_entropy, lr=1.0, steps=1)(KEY, weights, soft)
        weights = {"params": jax.tree.map(lambda w, u: w - THREAT.lr * u, weights["params"], g)}
        total = g if total is None else jax.tree.map(jnp.add, total, g)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), path.update, total)
    np.testing.assert_allclose(path.h[0], MODEL.features(params, x).mean(0), rtol=1e-5)
    np.testing.assert_allclose(path.spread.mean(1), 0, atol=1e-6)


def test_the_linear_system_gives_back_the_shares_it_was_made_of():
    """Features that differ from step to step, no spread: y_t is what the update was composed of."""
    k_h, k_p, k_y = jax.random.split(KEY, 3)
    h = jax.random.uniform(k_h, (3, 30))
    p, y = (jax.nn.softmax(2 * jax.random.normal(k, (3, 4))) for k in (k_p, k_y))
    e = p - y
    layer = head(mlp((2, 2, 1), 4), {"head": {"kernel": h.T @ e, "bias": e.sum(0)}})
    path = Training(h, p, jnp.zeros((3, 2, 30)), None)
    seen = Seen(None, layer, jnp.array(0.0), h[-1], p[-1], jnp.zeros((2, 30)))
    guess = solved(jnp.ones((3, 1), bool), path, seen, jnp.full((3, 4), 0.25), 8.0)
    np.testing.assert_allclose(guess, y, atol=0.05)
    np.testing.assert_allclose(guess.sum(0), y.sum(0), atol=1e-3)  # the bias is exact


def test_where_the_shares_are_true_the_distance_is_small(victims):
    """The own loss tells: following ends nearer to the client's update than never moving from the start."""
    params, updates, _ = (jax.tree.map(lambda leaf: leaf[0], part) for part in victims)
    view, x = View(params, updates), dummies(THREAT, "natural", 4)
    seen = at_the_end(THREAT, view, x)
    shares, loss = follow(KEY, THREAT, view, x, seen, 3)
    path = simulate(THREAT, view, x, shares)
    gap = sum(
        jnp.sum((a - b) ** 2) for a, b in zip(*map(jax.tree.leaves, (path.update, updates)), strict=True)
    )
    size = sum(jnp.sum(a * a) for a in jax.tree.leaves(updates))
    assert float(loss) == pytest.approx(float(gap / size), rel=1e-3)
    still = simulate(THREAT, view, x, jnp.full((STEPS, 10), 0.1))
    far = sum(
        jnp.sum((a - b) ** 2) for a, b in zip(*map(jax.tree.leaves, (still.update, updates)), strict=True)
    )
    assert float(loss) < 0.8 * float(far / size)


def test_starts_are_weighted_by_their_own_loss_alone():
    shares = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(together(shares, jnp.array([0.1, 0.1])), [0.5, 0.5])
    assert together(shares, jnp.array([0.1, 0.2]))[0] > 0.9
    np.testing.assert_allclose(together(shares, jnp.full(2, jnp.inf)), [0.5, 0.5])


def test_one_step_is_left_to_demix(victims):
    params, updates, _ = (jax.tree.map(lambda leaf: leaf[0], part) for part in victims)
    one = dataclasses.replace(THREAT, local_steps=1, lr=0.0)
    view = View(params, updates)
    for dummy in ("leaves", "uniform"):
        left, wanted = trajectory(one, dummy=dummy), demix(one, dummy=dummy)
        np.testing.assert_array_equal(left(KEY, view), wanted(KEY, view))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"starts": 0}, "starts must be"),
        ({"rounds": 0}, "rounds must be"),
        ({"images": 1}, "images must be"),
        ({"iterations": -1}, "iterations must be"),
        ({"dummy": "grey"}, "dummy 'grey'"),
        (
            {"dummy": "ones"},
            "must differ from each other here, got dummy='ones'; use leaves, natural or uniform",
        ),
    ],
)
def test_it_refuses(args, message):
    with pytest.raises(InputError, match=message):
        trajectory(THREAT, **args)


def test_it_refuses_an_update_that_is_not_whole_and_a_model_that_hides_its_features(victims):
    params, updates, _ = (jax.tree.map(lambda leaf: leaf[0], part) for part in victims)
    with pytest.raises(InputError, match="whole update, but that of dense0 is missing; use demix"):
        trajectory(THREAT)(KEY, View(params, {"head": updates["head"]}))
    hiding = dataclasses.replace(THREAT, model=MODEL._replace(features=None))
    with pytest.raises(InputError, match="give its Model a `features` function"):
        trajectory(hiding)(KEY, View(params, updates))


def test_it_refuses_another_loss():
    with pytest.raises(InputError, match="trajectory needs softmax cross entropy"):
        trajectory(dataclasses.replace(THREAT, loss=mse))
