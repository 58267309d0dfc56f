"""The batch size from the shares of the classes: exact where these are, and silent where they do not tell."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.labels import LABELS, Size, batch_size, unknown
from jleak.labels.size import SHARELESS
from jleak.losses import cross_entropy
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
SIZES = jax.jit(jax.vmap(batch_size))


def draws(batch, count, skew, n=10):
    """Counts of `count` batches, their classes uniform or skewed; those of one class alone left out."""
    rng = np.random.default_rng(batch)
    shares = rng.dirichlet(np.full(n, skew), count)
    counts = np.stack([rng.multinomial(batch, p) for p in shares])
    return counts[(counts > 0).sum(1) > 1]


@pytest.mark.parametrize("skew", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("batch", [*range(2, 17), 24, 32, 48, 63, 64])
def test_exact_shares_tell_the_batch_up_to_the_counts_common_divisor(batch, skew):
    """Batches of a few classes, and of all; (4, 4) and (2, 2) have the same shares, and B = 2 is least."""
    counts = draws(batch, 100, skew)
    found = SIZES(jnp.asarray(counts / batch, jnp.float32))
    np.testing.assert_array_equal(found.batch, batch // np.gcd.reduce(counts, axis=1))
    assert found.batch.dtype == jnp.int32
    assert (np.asarray(found.error) < 1e-4).all() and (np.asarray(found.chance) < 0.01).all()


@pytest.mark.parametrize("counts", [[33, 33, 34], [49, 51, 0], [17, 17, 16], [30, 31, 29, 10]])
def test_a_smaller_size_that_nearly_fits_is_passed_over(counts):
    shares = jnp.array(counts) / sum(counts)
    assert int(batch_size(shares).batch) == sum(counts)


@pytest.mark.parametrize(("off", "batch"), [(0.005, 8), (0.016, 0)])
def test_error_is_of_the_worst_class_in_labels_and_chance_decides(off, batch):
    """(3, 4, 1) of 8: k = 2, (2 off)^2 x 8 x (1 + 1/2 + ... + 1/16) is 0.003 or 0.028."""
    found = batch_size(jnp.array([3 + off, 4 - off, 1.0]) / 8, most=16)
    assert int(found.batch) == batch
    np.testing.assert_allclose(found.error, off, atol=1e-5)
    np.testing.assert_allclose(found.chance, (2 * off) ** 2 * 8 * sum(1 / np.arange(1, 17)), rtol=0.01)


@pytest.mark.parametrize("shares", [[1.0], [0.0, 1.0, 0.0], [0.96, 0.02, 0.02]])
def test_one_class_alone_tells_no_batch(shares):
    found = batch_size(jnp.array(shares), most=10)
    assert int(found.batch) == 0 and float(found.chance) == 1


def test_sizes_beyond_the_most_are_not_found():
    shares = jnp.array([5, 7]) / 12
    assert [int(batch_size(shares, most=most).batch) for most in (1, 11, 12, 300)] == [0, 0, 12, 12]


@pytest.mark.parametrize("skew", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_shares_of_no_batch_seldom_seem_to_have_one(n, skew):
    """At most 1%, as `chance` says; also of shares rounded to the resolution of `unknown`."""
    shares = np.random.default_rng(0).dirichlet(np.full(n, skew), 4000)
    resolution = unknown(threat()).batch
    rounded = np.floor(shares * resolution)
    rounded[:, 0] += resolution - rounded.sum(1)
    for w in (shares, rounded / resolution):
        assert (np.asarray(SIZES(jnp.asarray(w, jnp.float32)).batch) > 0).mean() < 0.01


def test_the_default_resolution_is_no_multiple_of_a_size():
    """Of 1,000 it would be: in the same noise sizes are found ten times as often as they may be."""
    resolution = unknown(threat()).batch
    assert all(resolution % i for i in range(2, 257))
    rounded = np.floor(np.random.default_rng(0).dirichlet([2, 2], 4000) * 1000)
    rounded[:, 0] += 1000 - rounded.sum(1)
    assert (np.asarray(SIZES(jnp.asarray(rounded / 1000, jnp.float32)).batch) > 0).mean() > 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_shares_that_are_not_finite_tell_nothing(bad):
    found = SIZES(jnp.array([[0.25, 0.75], [0.25, bad]]))
    assert found.batch.tolist() == [4, 0] and float(found.chance[1]) == 1


def test_many_classes_do_not_underflow():
    """A hundred classes: (2x)^99 is below what a float holds, at multiples of B as well as at B."""
    counts = np.random.default_rng(0).integers(1, 3, 100)
    found = batch_size(jnp.asarray(counts / counts.sum(), jnp.float32), most=1000)
    assert int(found.batch) == counts.sum()


@pytest.mark.parametrize("shares", [[1.0, 2.0, 1.0], [0.3, 0.3], [np.nan, 1.0]])
def test_what_does_not_sum_to_one_is_refused(shares):
    with pytest.raises(
        InputError, match=r"shares must sum to 1, got a sum of .*; divide counts by their sum"
    ):
        batch_size(jnp.array(shares))


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="most must be >= 1, got most=0"):
        batch_size(jnp.array([0.5, 0.5]), most=0)
    with pytest.raises(InputError, match="resolution must be >= 1, got resolution=0"):
        unknown(threat(), resolution=0)


def threat(model=None):
    return Threat(client=None, model=model, batch=3, local_steps=2, lr=0.1)


def test_the_threat_keeps_all_but_its_batch():
    assert unknown(threat(), resolution=97) == Threat(
        client=None, model=None, batch=97, local_steps=2, lr=0.1
    )


@pytest.mark.parametrize("name", sorted({*LABELS} - {*SHARELESS}))
def test_attacks_made_for_an_unknown_batch_tell_shares(name, small):
    """All but those that say so: their counts sum to the resolution."""
    case = small(3)
    view = case.view._replace(prior=Batch(jnp.tile(case.batch.x[:1], (10, 1, 1, 1)), jnp.arange(10)))
    counts = jax.jit(LABELS[name](unknown(case.threat)))(KEY, view)
    assert int(counts.sum()) == unknown(case.threat).batch


@pytest.mark.parametrize(
    ("name", "least"), [("demix", 0.85), ("llg_plus", 0.8), ("counts", 0.4)], ids=lambda v: str(v)
)
def test_label_attacks_that_are_not_told_the_batch_tell_it(name, least, digits):
    """Twenty LeNets of the wild initialisation, eight digits each: how often; a wrong one almost never."""
    model = models.lenet(digits.shape, 10)
    x, y = jnp.asarray(digits.x), jnp.asarray(digits.labels)
    args = {"pbar": "natural"} if name == "counts" else {}
    given = unknown(Threat(client=None, model=model))
    attack, public = LABELS[name](given, **args), Batch(x[-200:], digits.labels[-200:])

    def one(key):
        k_model, k_data = jax.random.split(key)
        chosen = jax.random.choice(k_data, len(x) - 200, (8,), replace=False)
        params = model.init(k_model)
        update = fedsgd(model, cross_entropy)(KEY, params, Batch(x[chosen], y[chosen]))
        found = attack(KEY, View(params, {"head": update["head"]}, None, public))
        return batch_size(found / given.batch), jnp.bincount(y[chosen], length=10)

    found, counts = jax.jit(partial(jax.lax.map, one))(jax.random.split(KEY, 20))
    assert isinstance(found, Size)
    true = 8 // np.gcd.reduce(np.asarray(counts), axis=1)
    right = np.asarray(found.batch) == true
    assert right.mean() >= least
    assert (right | (np.asarray(found.batch) == 0)).sum() >= 19
