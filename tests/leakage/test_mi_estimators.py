"""What every estimator of mutual information promises: known values, nulls, invariances, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError, keywords
from jleak.leakage.mutual_information import ESTIMATORS, Estimate, capped, gaussian, infonce, ksg

N, D, NATS = 2000, 2, 1.0
QUICK = {"hidden": (32,), "batch": 256, "steps": 200, "lr": 3e-3}
CRITICS = "mine", "infonce", "nwj", "smile"
SETTINGS = dict.fromkeys(CRITICS, QUICK) | {"renyi": {"rows": 200}}
OFF = {"gaussian": 0.06, "ksg": 0.08, "mine": 0.2, "infonce": 0.15, "nwj": 0.2, "smile": 0.2}
"""How far from 1 nat each may be, in nats; Rényi's is another quantity."""


@functools.cache
def program(name: str):
    """The estimator, compiled, with settings that are quick."""
    return jax.jit(functools.partial(ESTIMATORS[name], **SETTINGS.get(name, {})))


@pytest.fixture(scope="module")
def found(correlated):
    """`found(name)`: what an estimator says of the same pairs with 1 nat, once."""

    @functools.cache
    def one(name: str) -> Estimate:
        return program(name)(jax.random.key(1), *correlated(0, N, D, NATS))

    return one


CRITICS_APART = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("mine", "nwj", "smile") else name
    for name in ESTIMATORS
]
"""Critics differ in their bound alone: one of the four stands for what all do to a sample first."""


@pytest.mark.parametrize("name", OFF)
def test_gaussians_have_their_closed_form(found, name):
    one = found(name)
    np.testing.assert_allclose(one.nats, NATS, atol=OFF[name])
    assert one.low < one.nats < one.high < one.cap
    np.testing.assert_allclose(one.bits, one.nats * np.log2(np.e), rtol=1e-6)
    assert one.dims.tolist() == [D, D]
    np.testing.assert_allclose(one.explained, 1, rtol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_shuffled_pairs_tell_nothing(found, correlated, name):
    """Said by `null`, and of pairs that are shuffled before the estimator sees them."""
    bias = {"renyi": 0.1}.get(name, 0.03)  # Rényi's is known to have one: hence its null
    assert abs(found(name).null) <= found(name).null_error + bias
    x, g = correlated(0, N, D, NATS)
    apart = program(name)(jax.random.key(1), x, jnp.roll(g, 1, axis=0))
    assert abs(apart.nats) <= (apart.high - apart.low) / 2 + bias
    assert found(name).low > apart.high + 0.2


@pytest.mark.parametrize("name", CRITICS_APART)
def test_units_make_no_difference(found, correlated, name):
    x, g = correlated(0, N, D, NATS)
    np.testing.assert_allclose(
        program(name)(jax.random.key(1), x * 0.25, g * 4 + 1).nats, found(name).nats, atol=0.02
    )


@pytest.mark.parametrize(("name", "atol"), [("gaussian", 1e-3), ("ksg", 0.06), ("renyi", 0.01)])
def test_a_copy_of_a_coordinate_makes_no_difference(found, correlated, name, atol):
    x, g = correlated(0, N, D, NATS)
    twice = jnp.concatenate([g, 3 * g[:, :1]], 1)
    np.testing.assert_allclose(program(name)(jax.random.key(1), x, twice).nats, found(name).nats, atol=atol)


@pytest.mark.parametrize("name", ["gaussian", "ksg", "infonce", "renyi"])
def test_less_of_an_update_tells_less(found, correlated, name):
    """Data processing: one coordinate of two has half of the information."""
    x, g = correlated(0, N, D, NATS)
    half = program(name)(jax.random.key(1), x, g[:, :1])
    assert half.high < found(name).low
    if name in OFF:
        np.testing.assert_allclose(half.nats, NATS / 2, atol=OFF[name])


@pytest.mark.parametrize(("name", "least"), [("ksg", 1.0), ("infonce", 0.3)])
def test_what_is_not_linear_is_seen_by_those_who_can(name, least):
    """g = x^2 + noise: uncorrelated, so that the Gaussian estimator sees nothing."""
    x, noise = jax.random.normal(jax.random.key(0), (2, N, 1))
    g = x**2 + 0.1 * noise
    assert program("gaussian")(jax.random.key(1), x, g).nats < 0.01
    assert program(name)(jax.random.key(1), x, g).low > least


@pytest.mark.slow
def test_heavy_tails_make_no_difference_to_critics(correlated):
    """Of g^5 a few pairs are all that a mean sees."""
    x, g = correlated(0, N, 1, NATS)
    plain, heavy = (program("infonce")(jax.random.key(1), x, side) for side in (g, g**5))
    np.testing.assert_allclose(plain.nats, NATS, atol=0.15)
    np.testing.assert_allclose(heavy.nats, plain.nats, atol=0.02)


@pytest.mark.parametrize("name", ["ksg", "infonce"])
def test_the_order_of_the_rows_does_not_matter(found, correlated, name):
    """Rows sorted by x: parts, and pairs held out, that were taken in order would not be like the rest."""
    x, g = correlated(0, N, D, NATS)
    order = jnp.argsort(x[:, 0])
    sorted_ = program(name)(jax.random.key(1), x[order], g[order])
    np.testing.assert_allclose(sorted_.nats, NATS, atol=OFF[name])
    np.testing.assert_allclose(sorted_.high - sorted_.low, found(name).high - found(name).low, rtol=1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("gaussian", 4000), ("ksg", 400), ("renyi", 100)])
def test_intervals_are_as_wide_as_estimates_spread(correlated, name, n):
    samples = [correlated(seed, n, 1, NATS) for seed in range(40)]
    x, g = (jnp.stack(side) for side in zip(*samples, strict=True))
    many = jax.jit(jax.vmap(ESTIMATORS[name]))(jax.random.split(jax.random.key(0), 40), x, g)
    width = (many.high - many.low).mean() / 2
    np.testing.assert_allclose(width, 1.96 * many.nats.std(), rtol=0.4)
    if name != "renyi":
        assert ((many.low < NATS) & (many.high > NATS)).mean() > 0.8


@pytest.mark.parametrize("name", ["gaussian", "ksg"])
def test_the_same_key_gives_the_same_bits_and_lanes_agree(found, correlated, name):
    samples = [correlated(0, N, D, NATS), correlated(1, N, D, NATS)]
    x, g = (jnp.stack(side) for side in zip(*samples, strict=True))
    lanes = jax.vmap(program(name), in_axes=(None, 0, 0))(jax.random.key(1), x, g)
    np.testing.assert_allclose(lanes.nats[0], found(name).nats, atol=2e-3)
    again = program(name)(jax.random.key(1), *samples[0])
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, found(name)))


def test_what_is_cut_off_is_told(correlated):
    x, g = correlated(0, N, 3, NATS)
    one = gaussian(jax.random.key(0), x * jnp.array([3.0, 2.0, 1.0]), g, dims=(2, 3))
    assert one.dims.tolist() == [2, 3]
    np.testing.assert_allclose(one.explained, [13 / 14, 1], atol=0.01)
    np.testing.assert_allclose(one.nats, NATS * 2 / 3, atol=0.05)


@pytest.mark.parametrize("name", ["gaussian", "ksg"])
def test_an_update_that_is_a_function_of_the_batch_is_at_the_cap(correlated, name):
    x, g = correlated(0, N, 1, NATS)
    assert capped(ESTIMATORS[name](jax.random.key(0), x, 2 * x + 1))
    assert not capped(ESTIMATORS[name](jax.random.key(0), x, g))


def test_capped_takes_a_share():
    numbers = [jnp.asarray(value) for value in (3.0, 2.9, 3.1, 0.0, 0.1, 4.0)]
    one = Estimate(*numbers, jnp.ones(2, int), jnp.ones(2))
    assert not capped(one)
    assert capped(one, 0.7)
    assert not capped(one._replace(cap=jnp.asarray(jnp.inf)))


ONES = jnp.ones((100, 2))
REFUSED = [
    ({"g": jnp.ones((90, 2))}, "x and g must be pairs, got 100 rows of x and 90 of g; draw both together"),
    ({"x": jnp.ones((100, 4, 4))}, r"x must have a row a pair, got shape \(100, 4, 4\); flatten"),
    ({"g": jnp.ones(100)}, r"g must have a row a pair, got shape \(100,\)"),
    ({"dims": (2, 3)}, r"dims of g must be <= its columns and rows, got 3 of shape \(100, 2\); keep fewer"),
    ({"dims": (0, 2)}, "dims of x must be >= 1, got dims of x=0"),
    ({"x": jnp.ones((1, 2)), "g": jnp.ones((1, 2))}, "rows must be >= .*got 1 of x; draw more pairs"),
]


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_sample_is_refused(name, given, message):
    with pytest.raises(InputError, match=message):
        ESTIMATORS[name](jax.random.key(0), **({"x": ONES, "g": ONES} | given))


@pytest.mark.parametrize(
    ("name", "rows", "settings", "message"),
    [
        (
            "gaussian",
            5,
            {},
            "rows must be >= both dims [+] 2 = 6, got rows=5; draw more pairs or keep fewer dims",
        ),
        ("gaussian", 100, {"permutations": 1}, "permutations must be >= 2"),
        (
            "ksg",
            100,
            {"neighbors": 9},
            "rows must be >= .* = 110, got rows=100, neighbors=9; draw more pairs",
        ),
        ("ksg", 100, {"neighbors": 0}, "neighbors must be >= 1"),
        ("infonce", 255, {}, "held-out pairs must be >= 64, got 63 of 255 rows; draw at least 256"),
        ("mine", 300, {"held": 10}, "held-out pairs must be >= 64, got 10 of 300 rows"),
        ("mine", 300, {"ema": 0.0}, "ema must be > 0"),
        ("smile", 300, {"clip": -1.0}, "clip must be > 0"),
        ("nwj", 300, {"kind": "seperable"}, "unknown critic 'seperable'; did you mean 'separable'"),
        ("nwj", 300, {"batch": 1}, "batch must be >= 2"),
        ("nwj", 300, {"lr": 0.0}, "lr must be > 0"),
        ("renyi", 19, {}, "rows must be >= 20, got 19 of x"),
        ("renyi", 100, {"alpha": 1.0}, "alpha must not be 1"),
        ("renyi", 100, {"alpha": -1.0}, "alpha must be > 0"),
    ],
)
def test_too_few_rows_and_settings_out_of_range_are_refused(name, rows, settings, message):
    with pytest.raises(InputError, match=message):
        ESTIMATORS[name](jax.random.key(0), ONES[:1].repeat(rows, 0), ONES[:1].repeat(rows, 0), **settings)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_settings_show_in_the_signature(name):
    assert "dims" in keywords(ESTIMATORS[name])
    assert ("held" in keywords(ESTIMATORS[name])) == (name in CRITICS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine", "infonce"])
@pytest.mark.parametrize(("d", "nats"), [(10, 2.0), (10, 5.0), (20, 5.0)])
def test_critics_are_within_a_tenth_up_to_5_nats(correlated, name, d, nats):
    one = jax.jit(ESTIMATORS[name])(jax.random.key(1), *correlated(3, 40_000, d, nats))
    np.testing.assert_allclose(one.nats, nats, rtol=0.1)
    assert abs(one.null) <= one.null_error + 1e-5  # 0 but for rounding where nothing was learnt
    assert not capped(one)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "nats"), [(1, 5.0), (2, 5.0), (4, 3.0)])
def test_neighbours_are_within_a_tenth(correlated, d, nats):
    one = jax.jit(ksg)(jax.random.key(1), *correlated(3, 40_000, d, nats))
    np.testing.assert_allclose(one.nats, nats, rtol=0.1)


@pytest.mark.slow
def test_a_joint_critic_says_the_same(correlated):
    x, g = correlated(0, N, D, NATS)
    quick = {"hidden": (32,), "batch": 32, "steps": 400, "lr": 3e-3, "held": 256}
    one = jax.jit(functools.partial(infonce, kind="joint", **quick))(jax.random.key(1), x, g)
    np.testing.assert_allclose(one.nats, NATS, atol=0.25)
    assert abs(one.null) < 0.1
