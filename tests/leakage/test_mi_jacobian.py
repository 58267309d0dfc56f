"""The closed-form information of a linearised update, against notes A.4 and a Jacobian held in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage.jacobian import factor, linear, randomness
from jleak.leakage.layers import layer_names
from jleak.leakage.mutual_information.jacobian import jacobian_gaussian, jacobian_lanczos
from jleak.leakage.mutual_information.lanczos import quadrature, solved
from jleak.losses import cross_entropy
from jleak.models import lenet, mlp
from jleak.types import Batch, Model

D, P = 6, 9
"""Pixels and entries of the linear client."""


def shared(a):
    """A model and client whose update is A times the mean image, in two layers, the first of four rows."""

    def init(key):
        return {"params": {"second": {"kernel": jnp.zeros(4)}, "first": {"kernel": jnp.zeros(P - 4)}}}

    def client(key, params, batch):
        g = jnp.asarray(a) @ batch.x.reshape(len(batch.x), -1).mean(0)
        return {"second": {"kernel": g[:4]}, "first": {"kernel": g[4:]}}

    return Model(init, lambda params, x: x, (1, D, 1), 2, ("first",)), client


def told(estimator, model, client, params, batch, **settings):
    """What the estimator says, by one compiled program: op by op it would be compiled far longer."""
    return jax.jit(lambda *args: estimator(jax.random.key(0), model, client, *args, **settings))(
        params, batch
    )


def half_log_determinant(m):
    return np.linalg.slogdet(m)[1] / 2


@pytest.fixture(scope="module")
def a():
    return np.random.default_rng(0).normal(size=(P, D)).astype("float32")


@pytest.mark.parametrize("estimator", [jacobian_gaussian, jacobian_lanczos])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_information_of_a_mean_is_its_closed_form(a, estimator, n):
    """T1: 1/2 log det(I + A A^T / (B sigma^2)), and of one image the same less the others'."""
    model, client = shared(a)
    batch, sigma = Batch(jnp.zeros((n, 1, D, 1)), jnp.zeros(n, int)), 0.3
    more = {} if estimator is jacobian_gaussian else {"probes": 1000}
    found = told(estimator, model, client, model.init(None), batch, sigma=sigma, factor=jnp.eye(D), **more)
    products = a.astype(float) @ a.T.astype(float) / sigma**2
    eye = np.eye(P)
    total = half_log_determinant(eye + products / n)
    one = total - half_log_determinant(eye + (n - 1) * products / n**2)
    first = half_log_determinant(np.eye(4) + products[:4, :4] / n)
    rtol = 1e-4 if estimator is jacobian_gaussian else 0.03
    np.testing.assert_allclose(found.total, total, rtol=rtol)
    assert (abs(found.samples - one) < 1e-3 + 4 * found.sample_errors).all()
    assert (found.sample_errors < 0.3 * one).all()
    np.testing.assert_allclose(found.layers[0], first, rtol=rtol)  # `second`, which the model runs first
    np.testing.assert_allclose(found.increments, [first, total - first], rtol=rtol)
    np.testing.assert_allclose(found.bits, total / np.log(2), rtol=rtol)
    # Gauss and Markov: prior less what the observation takes away
    gain = a.T.astype(float) / n @ np.linalg.inv(sigma**2 * eye + a @ a.T / n) @ a.astype(float) / n
    left = np.trace(np.eye(D) - gain) / D
    np.testing.assert_allclose(found.mse, left, rtol=rtol)
    assert (abs(found.mse - left) < 1e-5 + 4 * found.mse_errors).all()
    if estimator is jacobian_lanczos:
        assert abs(found.total - total) < 4 * found.error


@pytest.mark.parametrize("n", [2, 8, 64])
def test_aggregation_alone_bounds_what_is_told_of_one_image(a, n):
    """T2: (d/2) log(B/(B - 1)) as sigma goes to 0."""
    model, client = shared(a)
    batch = Batch(jnp.zeros((n, 1, D, 1)), jnp.zeros(n, int))
    found = told(jacobian_gaussian, model, client, model.init(None), batch, sigma=1e-4, factor=jnp.eye(D))
    np.testing.assert_allclose(found.samples, D / 2 * np.log(n / (n - 1)), rtol=0.02)


@pytest.fixture(scope="module")
def held(digits):
    model = lenet(digits.shape, digits.classes)
    batch = Batch(jnp.asarray(digits.x[:2] / 16.0, jnp.float32), jnp.asarray(digits.labels[:2], jnp.int32))
    x = jnp.asarray(digits.x[:400] / 16.0, jnp.float32)
    return model, fedsgd(model, cross_entropy), model.init(jax.random.key(1)), batch, factor(x, 20)


SIGMA = 0.05


@pytest.fixture(scope="module")
def exact(held):
    *args, f = held
    return told(jacobian_gaussian, *args, sigma=SIGMA, factor=f)


def jacobians(held):
    """Of each layer d update / d images, and the factor of the whole batch, in float64."""
    model, client, params, batch, f = held

    @jax.jit
    def pushed(params, batch):
        at = linear(jax.random.key(0), model, client, params, batch)
        return jax.lax.map(at.push, jnp.eye(batch.x.size).reshape(-1, *batch.x.shape))

    rows = pushed(params, batch)
    blocks = np.kron(np.eye(len(batch.x)), np.asarray(f, float))
    return [np.asarray(row, float).T @ blocks.T for row in rows]


def test_information_of_a_network_is_that_of_its_jacobian(held, exact):
    of_layers, found = jacobians(held), exact
    products = [j.T @ j / SIGMA**2 for j in of_layers]  # of fewer rows than j @ j.T, and the same determinant
    stacked = np.concatenate(of_layers) / SIGMA
    own = [half_log_determinant(np.eye(len(m)) + m) for m in products]
    np.testing.assert_allclose(found.layers, own, rtol=1e-3)
    np.testing.assert_allclose(
        found.total, half_log_determinant(np.eye(stacked.shape[1]) + stacked.T @ stacked), rtol=1e-3
    )
    np.testing.assert_allclose(found.increments.sum(), found.total, rtol=1e-5)
    assert (found.increments >= -1e-3).all()
    assert found.layers.max() <= found.total  # data processing
    assert found.samples.max() < found.total


def test_lanczos_agrees_with_the_columns(held, exact):
    *args, f = held
    found = told(jacobian_lanczos, *args, sigma=SIGMA, factor=f, probes=16, steps=40)
    assert abs(found.total - exact.total) < 4 * found.error
    np.testing.assert_allclose(found.total, exact.total, rtol=0.1)
    np.testing.assert_allclose(found.layers, exact.layers, rtol=0.15)
    assert (abs(found.samples - exact.samples) < 4 * found.sample_errors).all()
    assert (abs(found.mse - exact.mse) < 4 * found.mse_errors + 1e-8).all()
    unseen = (f**2).sum() / f.shape[1]  # what remains of an image where nothing is told: nearly all, here
    np.testing.assert_allclose(unseen - found.mse, unseen - exact.mse, rtol=0.3)


def test_only_the_ratio_of_update_and_resolution_counts(a):
    """T3: the update and sigma times ten change nothing."""
    batch = Batch(jnp.zeros((2, 1, D, 1)), jnp.zeros(2, int))
    found = [
        told(
            jacobian_gaussian, model, client, model.init(None), batch, sigma=0.2 * c, factor=jnp.eye(D)
        ).total
        for c in (1.0, 10.0)
        for model, client in [shared(c * a)]
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_noise_of_the_client_counts_as_resolution(a):
    """Noise of deviation s and a resolution sigma tell as much as a resolution sqrt(s^2 + sigma^2)."""
    model, client = shared(a)
    s, sigma = 0.4, 0.3

    def noisy(key, params, batch):
        update = client(key, params, batch)
        keys = dict(zip(update, jax.random.split(key), strict=True))
        return {
            name: {"kernel": v["kernel"] + s * jax.random.normal(keys[name], v["kernel"].shape)}
            for name, v in update.items()
        }

    batch = Batch(jnp.zeros((1, 1, D, 1)), jnp.zeros(1, int))
    args = model.init(None), batch
    found = told(jacobian_gaussian, model, noisy, *args, sigma=sigma, factor=jnp.eye(D), draws=2000)
    plain = told(jacobian_gaussian, model, client, *args, sigma=float(np.hypot(s, sigma)), factor=jnp.eye(D))
    np.testing.assert_allclose(found.sigmas, np.hypot(s, sigma), rtol=0.02)
    np.testing.assert_allclose(found.total, plain.total, rtol=0.02)


def test_quadrature_is_exact_in_a_space_that_is_exhausted():
    """Two different eigenvalues among forty entries: two steps are all there is."""
    values = np.where(np.arange(40) % 2, 5.0, 0.5)
    v = np.random.default_rng(0).normal(size=40)
    true = (v**2 * np.log1p(values)).sum()
    for steps in (2, 10):
        found = quadrature(lambda z: jnp.asarray(values, jnp.float32) * z, jnp.asarray(v, jnp.float32), steps)
        np.testing.assert_allclose(found, true, rtol=1e-4)


def test_products_are_solved_as_by_numpy():
    """Also of rank below the number of steps, where the space is exhausted before."""
    rng = np.random.default_rng(0)
    for rank in (3, 12):
        a, v = rng.normal(size=(rank, 12)), rng.normal(size=(3, 4))
        b = jnp.asarray(a.T @ a, jnp.float32)
        found = solved(lambda z, b=b: (b @ z.ravel()).reshape(3, 4), jnp.asarray(v, jnp.float32), 12)
        true = np.linalg.solve(np.eye(12) + a.T @ a, v.ravel()).reshape(3, 4)
        np.testing.assert_allclose(found, true, atol=2e-4)


def test_the_factor_has_the_covariance_of_the_images():
    x = np.random.default_rng(0).normal(size=(200, 3, 3, 1)) @ np.ones((1, 1))
    f = np.asarray(factor(jnp.asarray(x, jnp.float32), 9))
    np.testing.assert_allclose(f.T @ f, np.cov(x.reshape(200, -1).T, bias=True), atol=1e-4)


def test_layers_are_in_the_order_in_which_the_model_runs_them(digits):
    assert layer_names(lenet(digits.shape, 10)) == ("conv0", "conv1", "conv2", "head")
    assert layer_names(mlp(digits.shape, 10, hidden=(32, 16))) == ("dense0", "dense1", "head")


def test_a_client_that_draws_nothing_has_no_randomness(held):
    model, client, params, batch, _ = held
    assert not randomness(jax.random.key(0), model, client, params, batch).any()


@pytest.mark.parametrize(
    ("sigma", "columns", "message"),
    [
        (0.0, 64, r"sigma must be > 0, got sigma=0.0; without a resolution the information has no bound"),
        (-1.0, 64, r"sigma must be > 0"),
        (0.1, 63, r"a column for each of the 64 pixels, got shape \(5, 63\)"),
    ],
)
@pytest.mark.parametrize("estimator", [jacobian_gaussian, jacobian_lanczos])
def test_bad_input_is_named(held, estimator, sigma, columns, message):
    model, client, params, batch, _ = held
    with pytest.raises(InputError, match=message):
        estimator(jax.random.key(0), model, client, params, batch, sigma=sigma, factor=jnp.ones((5, columns)))


def test_a_covariance_needs_two_images():
    with pytest.raises(InputError, match="images must be >= 2, got images=1; a covariance needs two images"):
        factor(jnp.ones((1, 2, 2, 1)), 2)
