"""The formulas that estimators of mutual information are made of, against NumPy, SciPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import norm, rankdata
from sklearn import covariance

from jleak.check import InputError
from jleak.leakage.mutual_information import gaussian_information
from jleak.leakage.mutual_information.estimate import normal_scores
from jleak.leakage.mutual_information.gaussian import ledoit_wolf
from jleak.leakage.mutual_information.ksg import nearest_information
from jleak.leakage.mutual_information.neural import bounds
from jleak.leakage.mutual_information.renyi import renyi_entropy, renyi_information


@pytest.mark.parametrize(("m", "p"), [(20, 5), (10, 30), (200, 8)])
def test_shrinkage_is_that_of_scikit_learn(m, p):
    rng = np.random.default_rng(m)
    rows = (rng.standard_normal((m, p)) @ rng.standard_normal((p, p)) + 3).astype(np.float32)
    found, shrinkage = ledoit_wolf(jnp.asarray(rows))
    wanted, share = covariance.ledoit_wolf(rows.astype(float))
    np.testing.assert_allclose(shrinkage, share, rtol=1e-4)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_columns_that_do_not_vary_do_not_count():
    rows = jax.random.normal(jax.random.key(0), (50, 3)) * jnp.array([1.0, 2.0, 0.5])
    found, shrinkage = ledoit_wolf(rows)
    more, share = ledoit_wolf(jnp.concatenate([rows, jnp.full((50, 2), 7.0)], 1))
    np.testing.assert_allclose(share, shrinkage, rtol=1e-5)
    np.testing.assert_allclose(more[:3, :3], found, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(more[3:, 3:], jnp.eye(2) * jnp.trace(found) / 3, rtol=1e-5)


def test_normal_scores_are_quantiles_of_mean_ranks():
    rows = np.random.default_rng(0).integers(0, 20, (50, 3)).astype(np.float32) ** 5
    wanted = norm.ppf((rankdata(rows, axis=0) - 0.5) / 50)
    np.testing.assert_allclose(normal_scores(jnp.asarray(rows)), wanted, atol=1e-5)


@pytest.mark.parametrize("images", [1, 8])
def test_information_of_a_mean_seen_through_noise_has_its_closed_form(images):
    """T1 of the notes: G = A xbar + sigma n, of all images 1/2 logdet(I + A A^T / (B sigma^2))."""
    d, p, sigma = 3, 4, 0.5
    a = np.random.default_rng(0).standard_normal((p, d))
    whole = np.tile(a / images, images)
    cross = np.block([[np.eye(images * d), whole.T], [whole, whole @ whole.T + sigma**2 * np.eye(p)]])
    wanted = np.linalg.slogdet(np.eye(p) + a @ a.T / (images * sigma**2))[1] / 2
    np.testing.assert_allclose(gaussian_information(jnp.asarray(cross), images * d), wanted, rtol=1e-4)


@pytest.mark.parametrize("split", [0, 2, 3])
def test_a_side_without_entries_is_refused(split):
    with pytest.raises(InputError, match=f"split must be from 1 to 1, got split={split}"):
        gaussian_information(jnp.eye(2), split)


@pytest.mark.parametrize("neighbors", [1, 3, 10])
@pytest.mark.parametrize(("dx", "dg"), [(1, 1), (2, 3)])
def test_neighbours_are_counted_as_by_hand(neighbors, dx, dg):
    rng = np.random.default_rng(dx)
    x = rng.standard_normal((150, dx)).astype(np.float32)
    g = (x[:, :1] + rng.standard_normal((150, dg))).astype(np.float32)
    terms = []
    for i in range(150):
        others = np.delete(np.arange(150), i)
        to_x = np.abs(x[others] - x[i]).max(1)
        to_g = np.abs(g[others] - g[i]).max(1)
        reach = np.sort(np.maximum(to_x, to_g))[neighbors - 1]
        terms.append(digamma((to_x < reach).sum() + 1) + digamma((to_g < reach).sum() + 1))
    wanted = digamma(neighbors) + digamma(150) - np.mean(terms)
    np.testing.assert_allclose(nearest_information(x, g, neighbors), wanted, atol=1e-5)


def test_as_many_neighbours_as_rows_are_refused():
    with pytest.raises(
        InputError, match="neighbors must be < rows, got neighbors=5, rows=5; draw more pairs"
    ):
        nearest_information(jnp.ones((5, 1)), jnp.ones((5, 1)), 5)


@pytest.mark.parametrize("alpha", [1.01, 2.0, 0.5])
def test_spectra_are_those_of_numpy(alpha):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    g = x + rng.standard_normal((60, 2))

    def kernel(rows):
        square = ((rows[:, None] - rows[None]) ** 2).sum(-1)
        return np.exp(-square / (2 * np.median(square[np.triu_indices(60, 1)])))

    def entropy(a):
        values = np.clip(np.linalg.eigvalsh(a / np.trace(a)), 0, None)
        return np.log((values**alpha).sum()) / (1 - alpha)

    a, b = kernel(x), kernel(g)
    atol = 5e-3 if alpha == 0.5 else 5e-4  # roots of eigenvalues below float32's
    np.testing.assert_allclose(renyi_entropy(jnp.asarray(a, jnp.float32), alpha), entropy(a), atol=10 * atol)
    if alpha > 1:
        found = renyi_information(*(jnp.asarray(rows, jnp.float32) for rows in (x, g)), alpha)
        np.testing.assert_allclose(found, entropy(a) + entropy(b) - entropy(a * b), atol=atol)


@pytest.fixture(scope="module")
def best(correlated):
    """Scores of the best critic, the log of the density ratio, of 1500 pairs with 1 nat."""
    x, g = correlated(0, 1500, 2, 1.0)
    square = -jnp.expm1(-1.0)  # of the correlation
    sizes = jnp.square(x).sum(1)[:, None] + jnp.square(g).sum(1)
    return 1.0 + (jnp.sqrt(square) * x @ g.T - square * sizes / 2) / (1 - square)


VALUES = {
    "mine": bounds.mine(0.01).value,
    "infonce": bounds.contrastive,
    "nwj": bounds.unnormalised,
    "smile": bounds.smile(5.0).value,
}


@pytest.mark.parametrize("name", VALUES)
def test_the_best_critic_reaches_the_information(best, name):
    value = VALUES[name](best, bounds.uniform(best))
    np.testing.assert_allclose(value, 1, atol=0.06)
    worse = 0.5 * best
    assert VALUES[name](worse, bounds.uniform(best)) < value or name == "smile"
    np.testing.assert_allclose(VALUES[name](0 * best, bounds.uniform(best)), 0, atol=1e-5)


@pytest.mark.parametrize("name", VALUES)
def test_errors_are_those_of_leaving_one_out(best, name):
    """The jackknife, pair by pair, in place of its derivative."""
    scores = best[:60, :60]
    value = jax.jit(lambda scores: VALUES[name](scores, bounds.uniform(scores)))
    rest = [np.delete(np.arange(60), i) for i in range(60)]
    without = np.array([value(scores[np.ix_(one, one)]) for one in rest])
    wanted = np.sqrt(59 * without.var())
    np.testing.assert_allclose(bounds.error(VALUES[name], scores), wanted, rtol=0.15)


def test_bounds_are_ordered_and_capped(best):
    """log t <= t - 1: NWJ is below Donsker and Varadhan. InfoNCE stops at log n; SMILE unclipped is MINE."""
    w = bounds.uniform(best)
    for scores in (best, 0.5 * best, 0.9 * best + 0.3):
        assert bounds.unnormalised(scores, w) <= bounds.donsker_varadhan(scores, w) + 1e-5
    certain = 100 * jnp.eye(50)
    np.testing.assert_allclose(bounds.contrastive(certain, bounds.uniform(certain)), np.log(50), rtol=1e-5)
    unclipped = bounds.smile(jnp.inf).value(best, w)
    np.testing.assert_allclose(unclipped, bounds.donsker_varadhan(best, w), rtol=1e-5)


def test_the_running_mean_takes_the_place_of_the_batch_s(best):
    """With all weight on the batch the gradient is that of the bound; else e^T is over the mean so far."""
    scores = 0.5 * best[:50, :50]
    plain = jax.grad(lambda s: -bounds.donsker_varadhan(s, bounds.uniform(s)))(scores)
    np.testing.assert_allclose(
        jax.grad(lambda s: bounds.mine(1.0).loss(s, jnp.zeros(()))[0])(scores), plain, atol=1e-6
    )
    found = jax.grad(lambda s: bounds.mine(0.25).loss(s, jnp.log(2.0))[0])(scores)
    apart = ~np.eye(50, dtype=bool)
    now = np.exp(np.asarray(scores, float))
    wanted = np.where(apart, now / (50 * 49) / (0.75 * 2 + 0.25 * now[apart].mean()), -1 / 50)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    memory = bounds.mine(0.25).loss(scores, jnp.log(2.0))[1]
    np.testing.assert_allclose(np.exp(memory), 0.75 * 2 + 0.25 * now[apart].mean(), rtol=1e-4)
