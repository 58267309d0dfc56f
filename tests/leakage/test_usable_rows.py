"""Updates as rows for probes: standardised, narrowed, joined, and cut into filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.leakage.layers import by_layer, layer_names
from jleak.leakage.usable import conv, cumulative, joined, kernel_shapes, logistic, narrowed, usable
from jleak.leakage.usable.rows import FARTHEST, stacked, standardised
from jleak.losses import cross_entropy
from jleak.models import lenet
from jleak.types import Batch

KEY = jax.random.key(0)
SPLIT = np.array([0] * 12 + [1] * 4 + [2] * 4)


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return {name: jnp.asarray(random.normal(3, 2, (20, p)), jnp.float32) for name, p in (("a", 5), ("b", 90))}


def test_training_rows_alone_say_what_is_standard(rows):
    z = np.asarray(standardised(rows["b"], SPLIT))
    np.testing.assert_allclose(z[:12].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z[:12].std(0), 1, atol=1e-5)
    moved = standardised(rows["b"].at[12:].add(7.0), SPLIT)
    np.testing.assert_allclose(moved[:12], z[:12])
    far = standardised(rows["b"].at[15].set(1e6), SPLIT)
    np.testing.assert_allclose(far[15], FARTHEST)


@pytest.mark.parametrize("constant", [0.0, 1e-12, 0.1, 1e6])
def test_constant_columns_become_zero(constant, rows):
    x = jnp.stack([jnp.full(20, constant), 1e-9 * rows["a"][:, 0]], 1)
    z = standardised(x, SPLIT)
    assert not z[:, 0].any()
    np.testing.assert_allclose(z[:12, 1].std(), 1, rtol=1e-4)  # small, but not constant


def test_narrower_layers_are_filled_up_with_zeros(rows):
    found = stacked(rows, SPLIT)
    assert found.shape == (2, 20, 90)
    np.testing.assert_allclose(found[0, :, :5], standardised(rows["a"], SPLIT))
    assert not found[0, :, 5:].any()


def test_only_wide_layers_are_narrowed(rows):
    for how in ("sketch", "pca"):
        found = narrowed(KEY, rows, SPLIT, k=8, how=how)
        np.testing.assert_array_equal(found["a"], rows["a"])
        assert found["b"].shape == (20, 8)
    apart = np.asarray(found["b"])[:12]  # components: uncorrelated on training rows
    np.testing.assert_allclose(np.cov(apart.T, bias=True), np.eye(8), atol=1e-3)


def test_sets_of_layers_grow_from_either_end(rows):
    forward, backward = (cumulative(KEY, rows, SPLIT, k=500, end=end) for end in ("input", "output"))
    assert [x.shape[1] for x in forward.values()] == [5, 95]
    assert [x.shape[1] for x in backward.values()] == [95, 90]
    np.testing.assert_allclose(forward["..b"], backward["a.."])
    parts = np.split(np.asarray(joined(rows, SPLIT))[:12], [5], axis=1)
    for part in parts:  # no layer outweighs another
        np.testing.assert_allclose(np.square(part).sum(1).mean(), 1, rtol=1e-4)


@pytest.fixture(scope="module")
def lenet_rows(digits):
    model = lenet(digits.shape, digits.classes)
    params, client = model.init(KEY), fedsgd(model, cross_entropy)
    x, y = jnp.asarray(digits.x[:20]), jnp.asarray(digits.labels[:20])
    updates = jax.jit(jax.vmap(lambda x, y: client(KEY, params, Batch(x[None], y[None]))))(x, y)
    names = layer_names(model)
    layers = jax.vmap(lambda update: by_layer(names, update))(updates)
    return model, updates, dict(zip(names, layers, strict=True))


def test_a_filter_is_what_feeds_one_output(lenet_rows):
    model, updates, rows = lenet_rows
    shapes = kernel_shapes(model)
    assert shapes["conv0"] == updates["conv0"]["kernel"].shape[1:]
    found = conv(shapes=shapes).stack(rows, SPLIT)
    for layer, name in enumerate(rows):
        kernel, bias = updates[name]["kernel"], updates[name]["bias"]
        f = kernel.shape[-1]
        flat = kernel.reshape(20, -1, f)
        q = flat.shape[1]
        z = standardised(flat.reshape(20, -1), SPLIT).reshape(20, q, f)
        np.testing.assert_allclose(found[layer, :, :f, :q], z.swapaxes(1, 2), atol=1e-4)
        np.testing.assert_allclose(found[layer, :, :f, q], standardised(bias, SPLIT), atol=1e-4)
        assert not found[layer, :, :f, q + 1 : -1].any()
        assert not found[layer, :, f:].any()
        assert (found[layer, :, :f, -1] == 1).all()


@pytest.fixture(scope="module")
def patterned():
    """One filter of sixteen, any of them, shows the pattern or its negative: odd for the mean to find."""
    random = np.random.default_rng(1)
    y, m = random.integers(0, 2, 600), np.arange(600)
    x = 0.1 * random.normal(size=(600, 4, 16))
    x[m, :, random.integers(0, 16, 600)] += np.where(y, 1, -1)[:, None] * np.array([1, -1, 1, 1])
    rows = {"conv": jnp.asarray(x.reshape(600, 64), jnp.float32)}
    return rows, y, np.arange(600) % 5 % 3


@pytest.mark.parametrize(("pool", "least"), [("mean", 0.9), ("flat", 0.5)])
def test_the_shared_map_learns_a_pattern_wherever_it_is(patterned, pool, least):
    family = conv(shapes={"conv": (2, 2, 1, 16)}, hidden=4, pool=pool, lr=0.01, steps=150)
    found = usable(KEY, *patterned, family=family, seeds=1, permutations=0, bootstraps=10)
    assert found.ratio[0] > least


def test_filters_that_fill_up_change_nothing(patterned):
    rows, y, split = patterned
    family = conv(shapes={"conv": (2, 2, 1, 16), "few": (1, 1, 1, 4)}, hidden=4, lr=0.01, steps=150)
    both = {"few": rows["conv"][:, :4], "conv": jnp.zeros_like(rows["conv"])}
    found = usable(KEY, both, y, split, family=family, seeds=1, permutations=0, bootstraps=10)
    alone = {"few": both["few"]}
    other = usable(KEY, alone, y, split, family=logistic(lr=0.03), seeds=1, permutations=0, bootstraps=10)
    assert 0.05 < other.ratio[0] < 0.25  # the pattern is among the four in a quarter of the rows
    assert found.ratio[0] > 0.8 * other.ratio[0]
    assert abs(found.raw[1]) < 0.02


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("take the family 'mlp'", lambda x: conv(shapes={"a": (9, 4)}).stack({"a": x}, SPLIT)),
        ("none for 'a'", lambda x: conv(shapes={"b": (9, 4)}).stack({"a": x}, SPLIT)),
        ("unknown pool 'max'", lambda x: conv(shapes={}, pool="max")),
        ("k must be >= 1", lambda x: narrowed(KEY, {"a": x}, SPLIT, k=0)),
        ("unknown how 'pcs'; did you mean 'pca'", lambda x: narrowed(KEY, {"a": x}, SPLIT, how="pcs")),
        ("unknown end 'front'", lambda x: cumulative(KEY, {"a": x}, SPLIT, end="front")),
    ],
)
def test_bad_input_is_refused(message, build, rows):
    with pytest.raises(InputError, match=message):
        build(rows["a"])
