"""Clients share the gradient they say they share; lifters put a defense where they say they put it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jleak.clients import chain, fedsgd, fedsgd_dropout, from_optax, on_batch, on_example, on_update
from jleak.defenses import clip, gaussian
from jleak.losses import cross_entropy, mse
from jleak.tree import norm
from jleak.types import Batch, Model

KEY = jax.random.key(5)
N, SHAPE, CLASSES = 6, (3, 2, 1), 4


def softmax_model():
    """One dense layer: its gradient has a closed form."""

    def init(key):
        kernel = jax.random.normal(key, (6, CLASSES))
        return {
            "params": {"head": {"kernel": kernel, "bias": jnp.arange(4.0) / 10}},
            "stats": {"mean": jnp.ones(6)},
        }

    def apply(params, x):
        layer = params["params"]["head"]
        return (x.reshape(len(x), 6) - params["stats"]["mean"]) @ layer["kernel"] + layer["bias"]

    return Model(init, apply, SHAPE, CLASSES, ("head",))


@pytest.fixture
def case():
    model = softmax_model()
    k_p, k_x, k_y = jax.random.split(KEY, 3)
    x = jax.random.uniform(k_x, (N, *SHAPE))
    return model, model.init(k_p), Batch(x, jax.random.randint(k_y, (N,), 0, CLASSES))


def by_hand(params, batch):
    """X^T (P - Y) / n of softmax regression, in double precision; one row an example."""
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params["params"]["head"])
    x = np.asarray(batch.x, np.float64).reshape(len(batch.x), 6) - 1
    y = np.eye(CLASSES)[np.asarray(batch.y)] if batch.y.ndim == 1 else np.asarray(batch.y, np.float64)
    p = np.exp(x @ w["kernel"] + w["bias"])
    residual = p / p.sum(1, keepdims=True) - y
    return {"kernel": x[:, :, None] * residual[:, None, :], "bias": residual}


def near(got, rows, **tolerance):
    tolerance = {"rtol": 1e-5, "atol": 1e-7} | tolerance
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(got["head"][name], rows[name].mean(0), **tolerance)


def test_fedsgd_is_the_closed_form_of_softmax_regression(case):
    model, params, batch = case
    update = fedsgd(model, cross_entropy)(KEY, params, batch)
    assert jax.tree.structure(update) == jax.tree.structure(params["params"])
    near(update, by_hand(params, batch))


def test_fedsgd_takes_soft_labels(case):
    model, params, batch = case
    soft = batch._replace(y=jax.nn.softmax(jax.random.normal(KEY, (N, CLASSES))))
    near(fedsgd(model, cross_entropy)(KEY, params, soft), by_hand(params, soft))


def test_fedsgd_takes_the_loss_it_is_given(case):
    model, params, batch = case
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params["params"]["head"])
    x = np.asarray(batch.x, np.float64).reshape(N, 6) - 1
    residual = 2 / CLASSES * (x @ w["kernel"] + w["bias"] - np.eye(CLASSES)[np.asarray(batch.y)])
    rows = {"kernel": x[:, :, None] * residual[:, None, :], "bias": residual}
    near(fedsgd(model, mse)(KEY, params, batch), rows)


def test_a_plain_client_draws_nothing(case):
    model, params, batch = case
    one, two = (fedsgd(model, cross_entropy)(jax.random.key(i), params, batch) for i in (0, 1))
    assert all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(two)))


def constant(value):
    return lambda key, params, batch: value


def test_on_update_sees_the_update_of_the_client(case):
    model, params, batch = case
    tripled = on_update(lambda key, update: jax.tree.map(lambda u: 3 * u, update))
    rows = jax.tree.map(lambda r: 3 * r, by_hand(params, batch))
    near(tripled(fedsgd(model, cross_entropy))(KEY, params, batch), rows)


def test_on_batch_changes_the_batch_before_the_gradient(case):
    model, params, batch = case
    flip = on_batch(lambda key, b: Batch(b.x[:, ::-1], (b.y + 1) % CLASSES))
    near(
        flip(fedsgd(model, cross_entropy))(KEY, params, batch),
        by_hand(params, Batch(batch.x[:, ::-1], (batch.y + 1) % 4)),
    )


def test_on_example_acts_before_the_mean(case):
    """The square of each example's gradient: its mean is not the square of the mean."""
    model, params, batch = case
    square = on_example(lambda key, update: jax.tree.map(jnp.square, update))
    got = square(fedsgd(model, cross_entropy))(KEY, params, batch)
    near(got, jax.tree.map(np.square, by_hand(params, batch)))


def test_on_example_that_changes_nothing_is_the_plain_client(case):
    model, params, batch = case
    soft = batch._replace(y=jax.nn.one_hot(batch.y, CLASSES))
    for b in (batch, soft):
        near(
            on_example(lambda key, update: update)(fedsgd(model, cross_entropy))(KEY, params, b),
            by_hand(params, b),
        )


def test_chain_puts_the_first_nearest_the_client():
    add, double = on_update(lambda key, u: u + 1), on_update(lambda key, u: 2 * u)
    client = constant(jnp.array(1.0))
    assert float(chain(add, double)(client)(KEY, None, None)) == 4
    assert float(chain(double, add)(client)(KEY, None, None)) == 3
    assert float(chain(add, add, double, add)(client)(KEY, None, None)) == 7
    assert chain()(client) is client


def test_a_chain_of_batch_and_update_defenses_acts_at_both_ends(case):
    model, params, batch = case
    dark = on_batch(lambda key, b: b._replace(x=b.x / 2))
    negative = on_update(lambda key, u: jax.tree.map(jnp.negative, u))
    rows = jax.tree.map(np.negative, by_hand(params, batch._replace(x=batch.x / 2)))
    for defense in (chain(dark, negative), chain(negative, dark)):
        near(defense(fedsgd(model, cross_entropy))(KEY, params, batch), rows)


LIFTED = {
    "on_batch": on_batch(lambda key, b: b._replace(x=b.x + jax.random.normal(key, b.x.shape))),
    "on_example": on_example(lambda key, u: u + jax.random.normal(key, u.shape)),
    "on_update": on_update(lambda key, u: u + jax.random.normal(key, u.shape)),
}


@pytest.mark.parametrize("outer", LIFTED)
@pytest.mark.parametrize("inner", LIFTED)
def test_random_defenses_in_a_chain_draw_independently(inner, outer):
    """Variances add; equal draws would give four times one variance, not twice."""
    batch = Batch(jnp.zeros((1, 20_000)), jnp.zeros(1, int))
    draw = chain(LIFTED[inner], LIFTED[outer])(lambda key, params, b: b.x[0])(KEY, None, batch)
    np.testing.assert_allclose(np.var(draw), 2, rtol=0.05)


def test_examples_draw_independently():
    batch = Batch(jnp.zeros((4, 20_000)), jnp.zeros(4, int))
    draw = LIFTED["on_example"](lambda key, params, b: b.x[0])(KEY, None, batch)
    np.testing.assert_allclose(np.var(draw), 1 / 4, rtol=0.05)


def clip_example(bound):
    return on_example(lambda key, update: clip(bound=bound)(constant(update))(key, None, None))


def test_dp_sgd_is_clipping_of_examples_then_noise(case):
    """Abadi et al., CCS 2016, algorithm 1, in NumPy: the mean of clipped gradients, and noise of s C / n."""
    model, params, batch = case
    bound, multiplier = 0.5, 1.1
    rows = by_hand(params, batch)
    lengths = np.sqrt((rows["kernel"] ** 2).sum((1, 2)) + (rows["bias"] ** 2).sum(1))
    assert lengths.min() < bound < lengths.max()  # both kinds of example
    factors = np.minimum(1, bound / lengths)
    clipped = {"kernel": rows["kernel"] * factors[:, None, None], "bias": rows["bias"] * factors[:, None]}
    near(clip_example(bound)(fedsgd(model, cross_entropy))(KEY, params, batch), clipped)

    sigma = multiplier * bound / N
    client = chain(clip_example(bound), gaussian(sigma=sigma))(fedsgd(model, cross_entropy))
    keys = jax.random.split(KEY, 2000)
    released = jax.jit(jax.vmap(lambda key: client(key, params, batch)))(keys)
    noise = np.ravel(released["head"]["kernel"] - clipped["kernel"].mean(0))
    assert stats.kstest(noise, stats.norm(scale=sigma).cdf).pvalue > 1e-3


def test_one_example_moves_dp_sgd_by_at_most_two_bounds_over_n(case):
    model, params, batch = case
    plain = fedsgd(model, cross_entropy)
    other = Batch(batch.x.at[0].set(100.0), batch.y.at[0].set((batch.y[0] + 2) % 4))

    def shift(client):
        return float(norm(jax.tree.map(jnp.subtract, client(KEY, params, other), client(KEY, params, batch))))

    assert shift(plain) > 10
    assert 0.01 < shift(clip_example(0.3)(plain)) <= 2 * 0.3 / N * (1 + 1e-5)


@pytest.mark.parametrize(
    ("transformation", "wanted"),
    [
        (optax.identity(), lambda u: u),
        (optax.scale(-0.5), lambda u: -0.5 * u),
        (optax.clip(0.1), lambda u: np.clip(u, -0.1, 0.1)),
        (optax.sgd(0.1, momentum=0.9), lambda u: -0.1 * u),
        (optax.chain(optax.scale(2.0), optax.scale_by_sign()), np.sign),
    ],
    ids=["identity", "scale", "clip", "momentum", "chain"],
)
def test_from_optax_is_its_first_step(case, transformation, wanted):
    model, params, batch = case
    plain = fedsgd(model, cross_entropy)(KEY, params, batch)
    after = from_optax(transformation)(fedsgd(model, cross_entropy))(KEY, params, batch)
    for before, u in zip(jax.tree.leaves(plain), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(u, wanted(np.asarray(before)), rtol=1e-6)


def test_optaxs_global_clipping_is_ours(case):
    model, params, batch = case
    client = fedsgd(model, cross_entropy)
    theirs = from_optax(optax.clip_by_global_norm(0.05))(client)(KEY, params, batch)
    ours = clip(bound=0.05)(client)(KEY, params, batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), theirs, ours)


def featured():
    """The model above, with its features told."""
    model = softmax_model()
    return model._replace(features=lambda params, x: x.reshape(len(x), 6) - params["stats"]["mean"])


def test_dropout_at_rate_zero_is_fedsgd(case):
    _, params, batch = case
    near(fedsgd_dropout(featured(), cross_entropy, rate=0.0)(KEY, params, batch), by_hand(params, batch))


def test_dropout_zeroes_and_scales_the_features_of_each_image(case):
    """One image: a feature that is dropped leaves no gradient, one that stays is scaled by 1 / (1 - rate)."""
    _, params, batch = case
    one = Batch(batch.x[:1], batch.y[:1])
    client = jax.jit(jax.vmap(lambda k: fedsgd_dropout(featured(), cross_entropy, rate=0.5)(k, params, one)))
    update = client(jax.random.split(KEY, 4000))["head"]
    ratio = update["kernel"] / update["bias"][:, None, :]  # the feature, as the classifier saw it
    h = np.asarray(batch.x[0]).reshape(6) - 1
    dropped = np.isclose(ratio[..., 0], 0.0)
    np.testing.assert_allclose(
        ratio[..., 0][~dropped], np.broadcast_to(2 * h, (4000, 6))[~dropped], rtol=1e-4
    )
    assert stats.binomtest(int(dropped.sum()), dropped.size, 0.5).pvalue > 1e-4
    assert len(np.unique(dropped, axis=0)) == 2**6  # features are dropped independently


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_refuses_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="rate must be"):
        fedsgd_dropout(featured(), cross_entropy, rate=rate)


def test_dropout_refuses_a_model_without_features():
    with pytest.raises(ValueError, match="needs a model that tells its features"):
        fedsgd_dropout(softmax_model(), cross_entropy)
