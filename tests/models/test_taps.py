"""Inner products of gradients without the gradients, against the gradients themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jleak import tree
from jleak.attacks.matching import OF_PRODUCTS, mismatch
from jleak.clients import fedsgd
from jleak.distances import cosine, l1, l2, mean_l2
from jleak.losses import bce, cross_entropy
from jleak.models import convnet, mlp, taps
from jleak.models.build import model
from jleak.types import Batch, Threat


class Shared(nn.Module):
    """One dense layer called twice, and a grouped convolution: neither can be tapped."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), feature_group_count=2, name="grouped")(x)
        layer = nn.Dense(4, name="shared")
        return nn.Dense(3, name="head")(layer(nn.tanh(layer(x))).mean((1, 2)))


class Strided(nn.Module):
    """Convolutions of every padding and stride, with and without a bias."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(5, (3, 3), strides=2, padding=1)(x))
        x = nn.tanh(nn.Conv(24, (3, 3), padding=((2, 0), (1, 1)), use_bias=False)(x))
        x = nn.tanh(nn.Conv(40, (2, 4), strides=(2, 1), padding="VALID")(x))
        return nn.Dense(3, name="head")(x.reshape(len(x), -1))


MODELS = {
    "mlp": mlp((6, 6, 2), 3, hidden=(40, 30)),
    "mlp without bias": mlp((6, 6, 2), 3, hidden=40, bias=False),
    "convnet": convnet((8, 8, 2), 3, width=8, activation_fn="tanh"),
    "strided": model(Strided(), (8, 8, 2), 3),
    "shared": model(Shared(), (6, 6, 2), 3),
}


def setting(net, n):
    params = net.init(jax.random.key(0))
    draw = jax.random.uniform(jax.random.key(1), (2, n, *net.shape))
    y = jnp.arange(n) % 3
    return params, Batch(draw[0], y), Batch(draw[1], y)


CASES = [*((name, 2, cross_entropy) for name in MODELS), ("mlp", 1, bce), ("strided", 1, bce)]


@pytest.mark.parametrize("name, n, loss", CASES)
def test_products_are_those_of_the_gradients(name, n, loss):
    net = MODELS[name]
    params, one, other = setting(net, n)
    client = fedsgd(net, loss)

    def full(x, observed):
        update = client(None, params, Batch(x, one.y))
        return jnp.stack([tree.dot(update, observed), tree.dot(update, update), tree.dot(observed, observed)])

    def short(x, observed):
        return jnp.stack(taps.products(net, loss, params, Batch(x, one.y), observed))

    @jax.jit
    def both(x):
        observed = client(None, params, other)
        return [(fn(x, observed), jax.jacrev(fn)(x, observed)) for fn in (full, short)]

    wanted, found = both(one.x)
    assert wanted[0].min() > 1e-6
    for right, got in zip(wanted, found, strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-4, atol=2e-6 * float(abs(right).max()))


def test_what_is_tapped():
    """Only layers that gain; never one called twice, nor a grouped convolution."""

    def tapped(name, n=1):
        params, batch, _ = setting(MODELS[name], n)
        return set(taps.layers_that_pay(MODELS[name], params, batch.x))

    assert tapped("mlp") == {("dense0",), ("dense1",), ("head",)}
    assert tapped("mlp", 20) == {
        ("dense0",)
    }  # positions x sides: 20 (72 + 40) < 72 * 40, but not 20 (30 + 3)
    assert tapped("shared") == {("head",)}
    assert ("Conv_2",) in tapped("strided") and ("Conv_0",) not in tapped("strided")


@pytest.mark.parametrize("distance", [cosine, l2, mean_l2])
def test_a_large_model_is_matched_by_products(distance, monkeypatch):
    net = MODELS["mlp"]
    params, one, other = setting(net, 2)
    client = fedsgd(net, cross_entropy)
    observed, threat = client(None, params, other), Threat(client=client, model=net, batch=2)
    wanted = mismatch(threat, distance)(None, params, one, observed)
    monkeypatch.setattr(taps, "WORTH", 1)
    monkeypatch.setattr(fedsgd(net, cross_entropy).__class__, "__call__", None)  # the gradient is not formed
    assert np.isclose(mismatch(threat, distance)(None, params, one, observed), wanted, rtol=1e-4)


def test_other_distances_and_clients_form_the_gradient(monkeypatch):
    monkeypatch.setattr(taps, "products", None)
    monkeypatch.setattr(taps, "WORTH", 1)
    net = MODELS["mlp"]
    params, one, other = setting(net, 1)
    client = fedsgd(net, cross_entropy)
    observed = client(None, params, other)
    for believed, distance in ((client, l1), (lambda key, p, batch: client(key, p, batch), cosine)):
        found = mismatch(Threat(client=believed, model=net), distance)(None, params, one, observed)
        assert np.isclose(found, distance(client(None, params, one), observed))
    assert l1 not in OF_PRODUCTS


def test_products_of_a_zero_update_are_finite():
    net = MODELS["mlp"]
    params, one, other = setting(net, 1)
    zero = jax.tree.map(jnp.zeros_like, params["params"])

    def loss(x):
        found = taps.products(net, cross_entropy, params, Batch(x, one.y), zero)
        return OF_PRODUCTS[cosine](found, zero)

    value, gradient = jax.value_and_grad(loss)(other.x)
    assert value == 1.0 and not gradient.any()
