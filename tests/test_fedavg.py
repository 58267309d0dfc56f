"""FedAvg: the update is the sum of the gradients of the local training that it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.clients import fedavg, fedsgd
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch

KEY = jax.random.key(5)
N = 6


@pytest.fixture
def case():
    model = mlp((3, 2, 1), 4, hidden=5)
    k_p, k_x, k_y = jax.random.split(KEY, 3)
    return (
        model,
        model.init(k_p),
        Batch(jax.random.uniform(k_x, (N, 3, 2, 1)), jax.random.randint(k_y, (N,), 0, 4)),
    )


def close(a, b, *, rtol=1e-5, atol=1e-6):
    return all(
        jax.tree.leaves(jax.tree.map(lambda u, v: bool(jnp.allclose(u, v, rtol=rtol, atol=atol)), a, b))
    )


def by_steps(model, params, batch, orders, lr):
    """Local SGD written out: the sum of the gradients, and where it ends."""
    total, weights = None, params["params"]
    for picks in orders:
        g = fedsgd(model, cross_entropy)(
            KEY, {**params, "params": weights}, Batch(batch.x[picks], batch.y[picks])
        )
        weights = jax.tree.map(lambda w, u: w - lr * u, weights, g)
        total = g if total is None else jax.tree.map(jnp.add, total, g)
    return total, weights


def test_fedavg_of_one_step_is_fedsgd(case):
    model, params, batch = case
    one = fedavg(model, cross_entropy, lr=0.3, steps=1)(KEY, params, batch)
    plain = fedsgd(model, cross_entropy)(KEY, params, batch)
    assert close(one, plain)


def test_fedavg_with_whole_batches_is_local_gradient_descent(case):
    model, params, batch = case
    update = fedavg(model, cross_entropy, lr=0.5, steps=1, epochs=4)(KEY, params, batch)
    total, end = by_steps(model, params, batch, [jnp.arange(N)] * 4, 0.5)
    assert close(update, total)
    gone = jax.tree.map(lambda w, e: (w - e) / 0.5, params["params"], end)
    assert close(update, gone, atol=1e-5)


def test_fedavg_goes_through_every_image_once_an_epoch_in_some_order(case):
    """Among all orders of two mini-batches of one image each, the update is that of one of them."""
    model, params, batch = case
    pair = Batch(batch.x[:2], jnp.array([0, 3]))
    client = fedavg(model, cross_entropy, lr=2.0, steps=2)
    ways = [by_steps(model, params, pair, [jnp.array([i]), jnp.array([1 - i])], 2.0)[0] for i in (0, 1)]
    seen = set()
    for seed in range(12):
        update = client(jax.random.key(seed), params, pair)
        near = [i for i, way in enumerate(ways) if close(update, way, atol=1e-5)]
        assert len(near) == 1
        seen.add(near[0])
    assert seen == {0, 1}


def test_fedavg_at_rate_zero_sums_the_gradient(case):
    model, params, batch = case
    update = fedavg(model, cross_entropy, lr=0.0, steps=3, epochs=2)(KEY, params, batch)
    plain = fedsgd(model, cross_entropy)(KEY, params, batch)
    assert close(update, jax.tree.map(lambda g: 6 * g, plain))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"lr": -1.0}, "lr must be >= 0"),
        ({"steps": 0}, "steps must be"),
        ({"epochs": 0}, "epochs must be"),
    ],
)
def test_fedavg_refuses(case, args, message):
    with pytest.raises(ValueError, match=message):
        fedavg(case[0], cross_entropy, **args)


def test_fedavg_refuses_a_batch_that_its_steps_do_not_divide(case):
    model, params, batch = case
    with pytest.raises(ValueError, match="batch=6 and steps=4; use batch=8"):
        fedavg(model, cross_entropy, steps=4)(KEY, params, batch)


def test_local_rates_may_be_traced(case):
    model, params, batch = case

    def of(lr):
        return fedavg(model, cross_entropy, lr=lr, steps=2)(KEY, params, batch)["head"]["bias"]

    found = jax.jit(jax.vmap(of))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(found[1], of(0.5), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[0], found[1])
