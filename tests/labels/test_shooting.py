"""Multiple shooting: its local training is the client's, its misfit is least at the truth, it finds it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dct

from jleak.clients import fedavg
from jleak.labels.head import head
from jleak.labels.shooting import (
    STRICT,
    Fit,
    Way,
    at_whole_labels,
    cosines,
    distance,
    fitted,
    image,
    judged,
    passing,
    shoot,
)
from jleak.losses import cross_entropy
from jleak.models import mlp
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
STEPS, LR = 4, 0.3


MODEL = mlp((8, 8, 1), 3, hidden=24)


@pytest.fixture(scope="module")
def case():
    """A client of one image a step with soft labels: threat, view, images, the way that it went, labels."""
    k_waves, k_labels = jax.random.split(KEY)
    waves = 0.5 * jax.random.normal(k_waves, (STEPS, 4, 4, 2))
    shares = jax.nn.softmax(2 * jax.random.normal(k_labels, (STEPS, 3)))
    x = jax.vmap(lambda u: image(0.25 * u, MODEL.shape))(waves)
    one_step = fedavg(MODEL, cross_entropy, lr=LR, steps=1)
    params = weights = MODEL.init(KEY)
    total, errors = None, []
    for seen, y in zip(x, shares, strict=True):
        errors.append(jax.nn.softmax(MODEL.apply(weights, seen[None])[0]) - y)
        g = one_step(KEY, weights, Batch(seen[None], y[None]))
        weights = {"params": jax.tree.map(lambda w, u: w - LR * u, weights["params"], g)}
        total = g if total is None else jax.tree.map(jnp.add, total, g)
    threat = Threat(client=None, model=MODEL, batch=STEPS, local_steps=STEPS, lr=LR)
    return threat, View(params, total), x, Way(jnp.cumsum(jnp.stack(errors), 0), waves), shares


def test_its_local_training_is_the_clients(case):
    threat, view, x, way, shares = case
    errors = jnp.diff(way.passed, axis=0, prepend=0.0)
    update, p = passing(threat, view, errors, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), update, view.update)
    np.testing.assert_allclose(p - errors, shares, atol=1e-5)


def test_nothing_is_left_at_the_truth_and_more_beside_it(case):
    threat, view, _, way, shares = case
    layer = head(MODEL, view.update)
    misfit, y = judged(threat, view, layer, way, 1.0)
    assert float(misfit) < 1e-8
    np.testing.assert_allclose(y, shares, atol=1e-4)
    beside = way._replace(passed=way.passed.at[1].add(jnp.array([0.1, -0.1, 0.0])))
    assert float(judged(threat, view, layer, beside, 1.0)[0]) > 1e-4
    last = way._replace(passed=way.passed.at[-1].add(jnp.array([0.1, -0.1, 0.0])))
    np.testing.assert_allclose(judged(threat, view, layer, last, 1.0)[0], misfit, atol=1e-8)


def test_without_a_bias_the_last_step_is_sought_as_well(case):
    threat, view, _, way, _ = case
    layer = head(MODEL, view.update)._replace(bias=None)
    last = way._replace(passed=way.passed.at[-1].add(jnp.array([0.1, -0.1, 0.0])))
    assert float(judged(threat, view, layer, last, 1.0)[0]) > 1e-4


def test_negative_shares_cost_their_squared_distance_from_the_simplex(case):
    threat, view, _, way, _ = case
    layer = head(MODEL, view.update)
    # y_0 grows by what y_1 loses, up to the moved p_1: far outside of the simplex.
    far = way._replace(passed=way.passed.at[0].add(jnp.array([0.9, -0.9, 0.0])))
    (free, y), (strict, _) = (judged(threat, view, layer, far, weight) for weight in (0.0, 2.0))
    sides = np.sort(np.asarray(y, np.float64), 1)[:, ::-1]
    wanted = 0.0
    for row in sides:  # Duchi et al. 2008, written separately
        tops = [(row[: k + 1].sum() - 1) / (k + 1) for k in range(3)]
        excess = max(t for k, t in enumerate(tops) if row[k] > t)
        wanted += ((np.maximum(row - excess, 0) - row) ** 2).sum()
    assert wanted > 0.1
    np.testing.assert_allclose(float(strict - free), 2 * wanted, rtol=1e-3)


def start(way, shares, p):
    """The way of these shares, with grey images."""
    return Way(jnp.cumsum(p - shares, -2), jnp.zeros((*p.shape[:-1], 6, 6, way.waves.shape[-1])))


def test_it_finds_the_shares_from_wrong_ones(case):
    threat, view, _, way, shares = case
    p = shares + jnp.diff(way.passed, axis=0, prepend=0.0)
    wrong = shares[jnp.array([0, 2, 1, 3])]  # the sum is right, the order is not
    before, _ = judged(threat, view, head(MODEL, view.update), start(way, wrong, p), 1.0)
    y, misfit = jax.jit(lambda: shoot(threat, view, wrong[None], p[None], 200))()
    assert float(misfit[0]) < 1e-3 * float(before)
    np.testing.assert_allclose(y[0], shares, atol=0.03)


def test_the_ways_that_fit_best_are_followed_and_no_round_loses(case):
    threat, view, _, way, shares = case
    p = jnp.tile(shares + jnp.diff(way.passed, axis=0, prepend=0.0), (8, 1, 1))
    rolled = [jnp.roll(shares, i, 0) for i in range(4)]
    starts = jnp.stack([jnp.full_like(shares, jnp.nan), *rolled, *[shares[::-1]] * 3])

    def both():
        first = jax.vmap(lambda one: fitted(threat, view, one, 3, STRICT[0]).misfit)(start(way, starts, p))
        return first, shoot(threat, view, starts, p, 3)

    first, (y, misfit) = jax.jit(both)()
    assert not jnp.isfinite(first[0]) and jnp.isfinite(first[1:]).all()
    assert misfit.shape == (2,) and jnp.isfinite(y).all()  # of 8 starts 3 go on, then 2
    assert (jnp.sort(misfit) <= 1.001 * jnp.sort(first)[:2]).all()


def test_a_round_begins_at_whole_labels(case):
    """Labels 3/4 and 1/4 of a mini-batch of four stay, others go to the nearest; the probabilities stay."""
    *_, way, _ = case
    shares = jnp.tile(jnp.array([[0.75, 0.25, 0.0], [0.3, 0.55, 0.15]]), (2, 1))
    moved = at_whole_labels(Fit(way, shares, jnp.array(0.1)), 4.0)
    by = jnp.diff(moved.passed - way.passed, axis=0, prepend=0.0)
    np.testing.assert_allclose(by, jnp.tile(jnp.array([[0, 0, 0], [0.05, 0.05, -0.1]]), (2, 1)), atol=1e-6)
    odd = at_whole_labels(Fit(way, shares, jnp.array(0.1)), 4.25)
    np.testing.assert_array_equal(odd.passed, way.passed)


def test_waves_are_those_of_the_cosine_transform():
    wanted = dct(np.eye(8), axis=0, norm="ortho").T * 8**0.5
    np.testing.assert_allclose(cosines(8, 8), wanted, atol=1e-6)


def test_images_are_grey_between_black_and_white():
    x = image(jnp.zeros((3, 3, 4)), (6, 8, 3))
    assert x.shape == (6, 8, 3)
    assert float(jnp.ptp(x)) == 0
    bright = image(jnp.zeros((3, 3, 4)).at[0, 0].set(9.0), (6, 8, 3))
    assert float(bright.max()) == 1
    waves = 0.05 * jax.random.normal(KEY, (3, 3, 4))
    np.testing.assert_allclose(  # the mean tells the lowest wave alone
        image(waves, (6, 8, 3)).mean((0, 1)), 0.47 + waves[0, 0, 3] + 0.4 * waves[0, 0, :3], atol=1e-5
    )


@pytest.mark.parametrize(("found", "wanted"), [(2.0, 1.0), (0.0, 1.0)])
def test_the_misfit_is_relative_and_of_every_tensor_alike(found, wanted):
    trees = [{"a": jnp.full(2, v), "b": 100 * jnp.full(5, v)} for v in (found, wanted)]
    assert float(distance(*trees)) == pytest.approx((found - wanted) ** 2 / wanted**2)
    assert float(distance({"a": jnp.ones(2)}, {"a": jnp.zeros(2)})) == 2.0
