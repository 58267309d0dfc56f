"""V-information against closed forms and scikit-learn: what is there is found, what is not is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from jleak.check import InputError
from jleak.leakage.usable import (
    boosted_trees,
    exposure,
    logistic,
    measured,
    mlp,
    most_exposed,
    nested,
    usable,
)
from jleak.leakage.usable.information import permuted

pytestmark = pytest.mark.xdist_group("usable information")  # one worker: what is measured once serves all
KEY = jax.random.key(0)
LINE = {"lr": 0.04, "steps": 150}
"""Settings with which a logistic family comes to rest."""


def halves(m, share=0.5):
    """Labels, and splits of 60, 20 and 20 %."""
    random = np.random.default_rng(0)
    return (random.random(m) < share).astype(int), random.choice(3, m, p=[0.6, 0.2, 0.2])


@pytest.fixture(scope="module")
def gaussian():
    """N(+-mu, I): the posterior is a logistic function of the row. Beside it noise, and a constant."""
    y, split = halves(6_000)
    noise = np.random.default_rng(1).normal(size=(2, 6_000, 3))
    mu = np.array([0.6, -0.8, 0.0])
    shows = noise[0] + np.where(y, 1, -1)[:, None] * mu
    rows = {"shows": shows, "hides": noise[1], "dead": np.full((6_000, 2), 0.3)}
    return {name: jnp.asarray(x, jnp.float32) for name, x in rows.items()}, y, split, mu


@pytest.fixture(scope="module")
def found(gaussian):
    rows, y, split, _ = gaussian
    return usable(KEY, rows, y, split, family=logistic(**LINE), seeds=2, permutations=20)


def test_logistic_information_of_gaussians_is_their_mutual_information(gaussian, found):
    """I = log 2 - E log(1 + e^-2(1 + z)) for |mu| = 1, z normal."""
    _, y, split, mu = gaussian
    wanted = (
        np.log(2)
        - integrate.quad(
            lambda z: stats.norm.pdf(z) * np.logaddexp(0, -2 * (mu @ mu + np.sqrt(mu @ mu) * z)), -9, 9
        )[0]
    )
    assert wanted == pytest.approx(0.337, abs=1e-3)
    np.testing.assert_allclose(found.value[0], wanted, atol=0.03)  # 1,200 test rows
    assert found.low[0] < wanted < found.high[0]


def test_the_probe_comes_near_the_true_posterior_row_by_row(gaussian, found):
    rows, y, split, mu = gaussian
    test = split == 2
    logits = 2 * np.asarray(rows["shows"])[test] @ mu
    true = -np.logaddexp(0, np.where(y[test], -logits, logits))
    known = np.log(np.bincount(y[split == 0]) / (split == 0).sum())[y[test]]
    np.testing.assert_allclose(found.raw[0], (true - known).mean(), atol=2e-3)
    np.testing.assert_allclose(found.pvi[0], true - known, atol=0.3)
    np.testing.assert_allclose(found.probabilities[0, :, 1], 1 / (1 + np.exp(-logits)), atol=0.1)


def test_nothing_is_found_where_nothing_is(found):
    assert found.null[0] < 0.05 < found.raw[0]
    assert found.p[0] == pytest.approx(1 / 21)
    assert (found.raw[1:] <= found.null[1:]).all()
    assert (found.p[1:] > 0.05).all()
    assert (found.value[1:] < 1e-3).all()
    assert (found.low[1:] <= 1e-3).all()
    np.testing.assert_allclose(
        found.probabilities[2], np.broadcast_to(found.probabilities[2, :1], found.probabilities[2].shape)
    )


def test_the_measures_belong_together(gaussian, found):
    _, y, split, _ = gaussian
    share = y[split == 0].mean()
    null = -np.log(np.where(y[split == 2], share, 1 - share)).mean()
    np.testing.assert_allclose(found.entropy_null, null, rtol=1e-5)
    np.testing.assert_allclose(found.pvi.mean(1), found.raw, atol=1e-6)
    np.testing.assert_allclose(found.entropy, null - found.raw, atol=1e-6)
    np.testing.assert_allclose(found.bits, np.maximum(found.raw, 0) / np.log(2), rtol=1e-5)
    np.testing.assert_allclose(found.ratio, found.value / null, rtol=1e-5)
    np.testing.assert_allclose(found.null, np.quantile(found.permuted, 0.95, axis=1), atol=1e-6)


def test_scikit_learn_has_the_same_log_loss(gaussian, found):
    rows, y, split, _ = gaussian
    x, train, test = np.asarray(rows["shows"]), split == 0, split == 2
    other = LogisticRegression(C=np.inf).fit(x[train], y[train])
    wanted = log_loss(y[test], other.predict_proba(x[test]))
    np.testing.assert_allclose(found.entropy[0], wanted, atol=2e-3)


def test_the_interval_is_as_wide_as_the_error_of_the_mean(found):
    width = found.high[0] - found.low[0]
    wanted = 2 * 1.96 * np.asarray(found.pvi[0]).std() / np.sqrt(found.pvi.shape[1])
    np.testing.assert_allclose(width, wanted, rtol=0.1)


def test_a_skew_attribute_has_the_entropy_of_its_frequencies():
    y, split = np.array([0, 1, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 2, 2])
    logs = jnp.log(jnp.full((1, 1, 1, 7, 2), 0.5))
    found = measured(KEY, logs, y, split)
    np.testing.assert_allclose(found.entropy_null, -np.log(0.75), rtol=1e-6)
    np.testing.assert_allclose(found.raw, np.log(0.5) - np.log(0.75), rtol=1e-5)
    assert found.value == 0  # a probe that misleads
    assert np.isnan(found.null)  # no permutations


def test_a_layer_measured_alone_is_measured_alike(gaussian, found):
    """Columns of zeros, which fill it up beside wider layers, change nothing; nor do other layers."""
    rows, y, split, _ = gaussian
    wider = {"wide": jnp.pad(rows["hides"], ((0, 0), (0, 4))), "shows": rows["shows"]}
    again = usable(KEY, wider, y, split, family=logistic(**LINE), seeds=1, permutations=0)
    np.testing.assert_allclose(again.pvi[1], found.pvi[0], atol=1e-3)


def test_labels_of_test_rows_are_never_looked_at(gaussian):
    rows, y, split, _ = gaussian
    family = logistic(lr=0.02, steps=50)
    x, small = family.stack({"shows": rows["shows"][:200]}, split[:200]), split[:200]
    tasks = np.stack([y[:200], np.where(small == 2, 1 - y[:200], y[:200])])
    logs = family.predict(KEY, x, jnp.asarray(tasks), small, 2, 1)
    np.testing.assert_array_equal(logs[:, 0], logs[:, 1])


def test_permutations_stay_within_their_split_or_set():
    y, split = halves(100, share=0.3)
    for sets in (split, np.arange(100) // 4):
        tasks = np.asarray(permuted(KEY, y, sets, count=4))
        for part in np.unique(sets):
            assert (tasks[:, sets == part].sum(1) == y[sets == part].sum()).all()
        assert ((tasks != y).sum(1) > 10).all()


@pytest.fixture(scope="module")
def matched():
    """Pairs of rows: what they share is loud; what tells them apart is a tenth of it, elsewhere."""
    random = np.random.default_rng(5)
    y, sets = np.tile([0, 1], 300), np.repeat(np.arange(300), 2)
    loud = np.repeat(random.normal(size=(300, 12)), 2, 0) * (np.arange(12) > 0)
    quiet = 0.1 * (2 * y[:, None] - 1) * np.eye(12)[0] + 0.025 * random.normal(size=(600, 12))
    turn = np.linalg.qr(random.normal(size=(12, 12)))[0]
    return {"head": jnp.asarray((loud + quiet) @ turn, jnp.float32)}, y, np.repeat([0, 1, 2], 200), sets


def test_minibatches_keep_matched_rows_together(matched):
    """One by one they lose in the noise of what a pair shares what pairs would show."""
    rows, y, split, _ = matched
    family = mlp(batch=8, steps=300, lr=0.003, hidden=(16,))
    apart = np.random.default_rng(6).permutation(200)
    order = np.concatenate([apart, np.arange(200, 600)])
    found, other = (
        usable(KEY, {"head": rows["head"][o]}, y[o], split, family=family, seeds=2, permutations=0)
        for o in (np.arange(600), order)
    )
    assert found.raw[0] > 0.3
    assert other.raw[0] < 0.1


def test_it_can_be_compiled(matched):
    """Rows and key traced; labels, splits and sets are of the host."""
    y, split, sets = np.tile([0, 1], 100), np.repeat([0, 1, 2], [120, 40, 40]), np.arange(200) // 2

    def fn(key, x):
        return usable(key, {"head": x}, y, split, sets=sets, family=logistic(steps=20), permutations=3)

    x = matched[0]["head"][:200]
    found, other = jax.jit(fn)(KEY, x), fn(KEY, x)
    np.testing.assert_allclose(found.permuted, other.permuted, atol=1e-5)
    np.testing.assert_allclose(found.low, other.low, atol=1e-4)


def test_permutations_within_sets_keep_the_null_true(matched):
    rows, y, split, sets = matched
    y = np.asarray(permuted(KEY, y, sets, count=1)[0])  # nothing to find
    rows = {"head": jnp.asarray(np.random.default_rng(7).normal(size=(600, 12)), jnp.float32)}
    found = usable(KEY, rows, y, split, sets=sets, family=logistic(steps=100), permutations=20)
    assert found.raw[0] <= found.null[0] + 1e-6


def test_the_interval_resamples_whole_sets():
    """Four copies of each row know no more than one: half as wide an interval would be wrong."""
    random = np.random.default_rng(8)
    y, split = np.r_[0, 1, 0, random.integers(0, 2, 400)], np.r_[0, 0, 1, np.full(400, 2)]
    p = random.uniform(0.3, 0.7, 403)
    logs = np.log(np.stack([1 - p, p], 1))
    one = measured(KEY, jnp.asarray(logs)[None, None, None], y, split)
    again, sets = np.r_[:3, np.repeat(np.arange(3, 403), 4)], np.arange(403)
    four = jnp.asarray(logs[again])[None, None, None]
    as_rows, as_sets = (measured(KEY, four, y[again], split[again], sets=s) for s in (None, sets[again]))
    width, of_rows, of_sets = (float(f.high[0] - f.low[0]) for f in (one, as_rows, as_sets))
    np.testing.assert_allclose(of_sets, width, rtol=0.15)
    np.testing.assert_allclose(of_rows, width / 2, rtol=0.15)


@pytest.fixture(scope="module")
def exclusive_or():
    random = np.random.default_rng(3)
    x = random.normal(size=(600, 2)).astype(np.float32)
    return {"head": jnp.asarray(x)}, (x.prod(1) > 0).astype(int), np.arange(600) % 5 % 3


@pytest.fixture(scope="module")
def by_family(exclusive_or):
    families = [
        logistic(steps=100),
        mlp(hidden=(16, 16), lr=0.01, steps=200),
        boosted_trees(rounds=20, lr=0.2),
    ]
    return [usable(KEY, *exclusive_or, family=one, seeds=1, permutations=1) for one in families]


def test_what_is_usable_depends_on_the_family(by_family):
    line, net, trees = (one.ratio[0] for one in by_family)
    assert line < 0.05
    assert net > 0.7
    assert trees > 0.5


def test_a_union_of_families_is_never_below_one_of_them(by_family):
    raw = [nested(by_family[: i + 1]).raw[0] for i in range(3)]
    assert raw == sorted(raw)
    assert raw[-1] == max(one.raw[0] for one in by_family)
    best = nested(by_family)
    np.testing.assert_allclose(best.pvi.mean(1), best.raw, atol=1e-6)
    np.testing.assert_array_equal(best.permuted, np.max([one.permuted for one in by_family], axis=0))
    assert best.p[0] == pytest.approx(1 / 2)


def test_trees_are_calibrated_even_where_there_is_nothing_to_learn():
    """Uncalibrated, they are sure of noise: a log-loss of 1.3 where guessing has 0.69."""
    y, split = halves(400)
    rows = {"noise": jnp.asarray(np.random.default_rng(4).normal(size=(400, 10)))}
    found = usable(KEY, rows, y, split, family=boosted_trees(rounds=30, lr=0.5), seeds=1, permutations=0)
    assert abs(found.raw[0]) < 0.05


def test_exposure_finds_the_record_that_gives_batches_away():
    picks = np.array([[0, 1], [2, 3], [0, 4], [5, 1]])
    pvi = np.array([[2.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    found = exposure(pvi, picks)
    np.testing.assert_allclose(found.score[0], [2, 1, 0, 0, 2, 0])
    assert found.batches.tolist() == [2, 2, 1, 1, 1, 1]
    assert most_exposed(found, layer=0, top=2).record.tolist() == [0, 4]
    assert most_exposed(found, layer=1, top=1).record.tolist() == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(40, int)}, "y must take two values at least"),
        ({"y": np.arange(40) % 2 * 2}, "every value must occur in training, got none of value 1"),
        ({"y": np.arange(40) / 2}, "y must be one whole number >= 0 an update, 40 by split, got float64"),
        ({"y": np.arange(39) % 2}, r"40 by split, got int64 \(39,\)"),
        ({"split": np.arange(40) // 2 % 2}, "every split must have a row, but there is none for test"),
        ({"rows": {}}, "rows must hold a layer at least"),
        ({"rows": {"head": jnp.ones((39, 2))}}, r"one row an update, 40 by split, got \(39, 2\)"),
        ({"rows": {"head": jnp.full((40, 2), jnp.nan)}}, "rows of layer 'head' must be finite"),
        ({"sets": np.zeros(40, int)}, "each set within one split.*take Draws.sets"),
        ({"seeds": 0}, "seeds must be >= 1"),
        ({"bootstraps": 0}, "bootstraps must be >= 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"rows": {"head": jnp.ones((40, 2))}, "y": np.arange(40) % 2, "split": np.arange(40) // 2 % 3}
    with pytest.raises(InputError, match=message):
        usable(
            KEY, **{**good, **change}, family=logistic(steps=5), **({} if "seeds" in change else {"seeds": 1})
        )


def test_bad_settings_are_refused():
    for message, build in [
        ("lr must be > 0", lambda: logistic(lr=0.0)),
        ("hidden must be >= 1", lambda: mlp(hidden=(0,))),
        ("batch must be >= 1", lambda: mlp(batch=0)),
        ("decay must be >= 0", lambda: logistic(decay=-1.0)),
        ("leaves must be >= 2", lambda: boosted_trees(leaves=1)),
        ("same layers with as many permutations", lambda: nested([])),
        ("take picks", lambda: exposure(np.ones((1, 3)), np.ones((2, 2), int))),
    ]:
        with pytest.raises(InputError, match=message):
            build()
