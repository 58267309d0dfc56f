"""Distances against NumPy in float64 and vectors made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import distances, models
from jleak.check import InputError
from jleak.types import Model

ALL = [distances.l2, distances.l1, distances.cosine]


def update(seed):
    rng = np.random.default_rng(seed)
    shapes = {"conv": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "head": {"kernel": (8, 5)}}
    return jax.tree.map(
        lambda shape: jnp.array(rng.normal(size=shape), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple),
    )


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


def numpy_distance(name, a, b):
    a, b = flat(a), flat(b)
    if name == "l2":
        return np.sum((a - b) ** 2)
    if name == "l1":
        return np.sum(np.abs(a - b))
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_numpy(distance, seed):
    a, b = update(seed), update(seed + 100)
    np.testing.assert_allclose(distance(a, b), numpy_distance(distance.__name__, a, b), rtol=1e-5)


@pytest.mark.parametrize("distance", ALL)
def test_is_symmetric_and_zero_for_equal_updates(distance):
    a, b = update(0), update(1)
    assert distance(a, b) == distance(b, a)
    assert distance(a, a) == pytest.approx(0.0, abs=1e-6)
    assert distance(a, b) > 0.1


@pytest.mark.parametrize(
    ("distance", "expected"),
    [(distances.l2, 20.0), (distances.l1, 6.0), (distances.cosine, 1 - 12 / np.sqrt(30 * 14))],
)
def test_hand_made_vectors(distance, expected):
    a = {"w": jnp.array([5.0, 1.0]), "b": jnp.array(2.0)}
    b = {"w": jnp.array([1.0, 3.0]), "b": jnp.array(2.0)}
    np.testing.assert_allclose(distance(a, b), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 7.0, 1e5])
def test_cosine_ignores_length(scale):
    a, b = update(0), update(1)
    longer = jax.tree.map(lambda leaf: scale * leaf, a)
    np.testing.assert_allclose(distances.cosine(longer, b), distances.cosine(a, b), rtol=1e-5)
    assert distances.cosine(longer, a) == pytest.approx(0.0, abs=1e-6)


def test_cosine_of_opposite_and_orthogonal_updates():
    a = update(0)
    assert distances.cosine(a, jax.tree.map(jnp.negative, a)) == pytest.approx(2.0, abs=1e-6)
    x, y = {"w": jnp.array([1.0, 0.0]), "b": jnp.zeros(1)}, {"w": jnp.zeros(2), "b": jnp.ones(1)}
    assert distances.cosine(x, y) == 1.0


def test_cosine_is_over_the_whole_tree_and_not_a_mean_of_tensors():
    a = {"w": jnp.array([10.0]), "b": jnp.array([1.0])}
    b = {"w": jnp.array([10.0]), "b": jnp.array([-1.0])}
    assert distances.cosine(a, b) == pytest.approx(1 - 99 / 101, rel=1e-4)  # a mean of tensors gives 1


def test_l1_and_l2_grow_with_length_as_they_should():
    a, b = update(0), update(1)
    double = [jax.tree.map(lambda leaf: 2 * leaf, tree) for tree in (a, b)]
    np.testing.assert_allclose(distances.l1(*double), 2 * distances.l1(a, b), rtol=1e-6)
    np.testing.assert_allclose(distances.l2(*double), 4 * distances.l2(a, b), rtol=1e-6)


def test_gradients_have_their_closed_forms():
    a, b = update(0), update(1)
    u, v = flat(a), flat(b)
    norms = np.linalg.norm(u) * np.linalg.norm(v)
    closed = {
        distances.l2: 2 * (u - v),
        distances.l1: np.sign(u - v),
        distances.cosine: u * (u @ v) / (norms * (u @ u)) - v / norms,
    }
    for distance, expected in closed.items():
        np.testing.assert_allclose(flat(jax.jit(jax.grad(distance))(a, b)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("zero", ["first", "second", "both", "equal"])
def test_two_derivatives_are_finite_where_an_update_is_zero(distance, zero):
    a, b = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, -1.0])}
    a = jax.tree.map(jnp.zeros_like, a) if zero in ("first", "both") else a
    b = jax.tree.map(jnp.zeros_like, b) if zero in ("second", "both") else (a if zero == "equal" else b)
    both = (0, 1)
    functions = [distance, jax.grad(distance, argnums=both), jax.hessian(distance, argnums=both)]
    derivatives = jax.jit(lambda a, b: [fn(a, b) for fn in functions])(a, b)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(derivatives))


def test_cosine_with_a_zero_update_is_one():
    a = update(0)
    assert distances.cosine(jax.tree.map(jnp.zeros_like, a), a) == 1.0


@pytest.mark.parametrize("distance", ALL)
def test_jit_and_vmap_agree_with_the_plain_call(distance):
    ones, others = [update(s) for s in range(3)], [update(s + 10) for s in range(3)]
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (ones, others)]
    got = jax.jit(jax.vmap(distance))(*stacks)
    np.testing.assert_allclose(got, [distance(a, b) for a, b in zip(ones, others, strict=True)], rtol=1e-5)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)},
            r"w: \(3,\) and \(3, 1\); compare updates of one model",
        ),
        ({"w": jnp.zeros(3)}, r"b: \(1,\) and missing"),
        ({"w": jnp.zeros(3), "b": jnp.zeros(1), "c": jnp.zeros(1)}, r"c: missing and \(1,\)"),
    ],
)
def test_updates_of_two_models_are_refused(distance, other, message):
    with pytest.raises(InputError, match=message):
        distance({"w": jnp.zeros(3), "b": jnp.zeros(1)}, other)


ORDER = (("conv", "kernel"), ("conv", "bias"), ("head", "kernel"))
"""As the model would run them; the tree's own order has conv/bias first."""


def by_tensor(a):
    return [np.asarray(a[layer][name], np.float64).ravel() for layer, name in ORDER]


def numpy_weighted(name, a, b, weights):
    """`reconstruction_costs` of Inverting Gradients, of two lists of vectors."""
    pairs = list(zip(by_tensor(a), by_tensor(b), weights, strict=True))
    if name == "l2":
        return sum(w * np.sum((u - v) ** 2) for u, v, w in pairs)
    if name == "l1":
        return sum(w * np.sum(np.abs(u - v)) for u, v, w in pairs)
    inner = sum(w * (u @ v) for u, v, w in pairs)
    return 1 - inner / np.sqrt(sum(w * (u @ u) for u, v, w in pairs) * sum(w * (v @ v) for u, v, w in pairs))


WEIGHTS = {
    "equal": [1, 1, 1],
    "linear": [1, 2 / 3, 1 / 3],
    "exp": [1, np.exp(-1), np.exp(-2)],
    (0.5, 0.0, 2.0): [0.5, 0.0, 2.0],
}


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_weighted_agrees_with_numpy(distance, weights):
    a, b = update(0), update(1)
    got = distances.weighted(distance, weights=weights, order=ORDER)(a, b)
    np.testing.assert_allclose(got, numpy_weighted(distance.__name__, a, b, WEIGHTS[weights]), rtol=1e-5)


CHOSEN = {
    "all": [1, 1, 1],
    "first:1": [1, 0, 0],
    "first:2": [1, 1, 0],
    "last:2": [0, 1, 1],
    "last:3": [1, 1, 1],
}


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("tensors", CHOSEN)
def test_selected_agrees_with_numpy(distance, tensors):
    a, b = update(0), update(1)
    got = distances.selected(distance, tensors=tensors, order=ORDER)(a, b)
    np.testing.assert_allclose(got, numpy_weighted(distance.__name__, a, b, CHOSEN[tensors]), rtol=1e-5)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_are_the_largest_tensors_of_the_observed_update_lane_by_lane(distance, k):
    """Under vmap, where another tensor is the largest in every lane."""
    pairs = [(update(s), update(s + 10)) for s in range(3)]
    for s, (_, b) in enumerate(pairs):
        layer, name = ORDER[s]
        b[layer][name] = 100 * b[layer][name]
    wanted = []
    for a, b in pairs:
        norms = [np.linalg.norm(leaf) for leaf in by_tensor(b)]
        mask = [float(norm >= sorted(norms)[-k]) for norm in norms]
        wanted.append(numpy_weighted(distance.__name__, a, b, mask))
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in zip(*pairs, strict=True)]
    got = jax.vmap(distances.selected(distance, tensors=f"top:{k}"))(*stacks)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_weights_and_choice_combine_in_either_order():
    a, b = update(0), update(1)
    for distance in ALL:
        one = distances.weighted(
            distances.selected(distance, tensors="last:2", order=ORDER), weights="linear", order=ORDER
        )
        other = distances.selected(
            distances.weighted(distance, weights="linear", order=ORDER), tensors="last:2", order=ORDER
        )
        wanted = numpy_weighted(distance.__name__, a, b, [0, 2 / 3, 1 / 3])
        np.testing.assert_allclose([one(a, b), other(a, b)], wanted, rtol=1e-5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1.0])
def test_masked_cosine_agrees_with_numpy(fraction):
    a, b = update(0), update(1)
    u, v = flat(a), flat(b)
    kept = np.argsort(-np.abs(v))[: int(np.ceil(fraction * v.size))]
    wanted = 1 - u[kept] @ v[kept] / np.linalg.norm(u[kept]) / np.linalg.norm(v[kept])
    np.testing.assert_allclose(distances.masked_cosine(fraction)(a, b), wanted, rtol=1e-5)


def test_masked_cosine_does_not_see_what_a_pruned_update_lost():
    a = update(0)
    size = np.quantile(np.abs(flat(a)), 0.9)
    pruned = jax.tree.map(lambda leaf: jnp.where(jnp.abs(leaf) >= size, leaf, 0.0), a)
    assert distances.cosine(a, pruned) > 0.1
    assert distances.masked_cosine(0.1)(a, pruned) == pytest.approx(0.0, abs=1e-6)


BUILT = [
    distances.weighted(distances.l2, weights="exp", order=ORDER),
    distances.weighted(distances.cosine, weights="linear", order=ORDER),
    distances.selected(distances.cosine, tensors="top:2"),
    distances.selected(distances.l1, tensors="first:1", order=ORDER),
    distances.masked_cosine(0.3),
]


@pytest.mark.parametrize("distance", BUILT)
def test_built_distances_have_finite_derivatives_at_zero(distance):
    a = update(0)
    zero = jax.tree.map(jnp.zeros_like, a)
    slope = jax.grad(distance)
    twice = jax.grad(lambda a, b: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope(a, b))))
    both = jax.jit(lambda a, b: (slope(a, b), twice(a, b)))
    for pair in ((zero, a), (a, zero), (zero, zero), (a, a)):
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(both(*pair)))


@pytest.mark.parametrize("distance", BUILT)
def test_built_distances_agree_under_vmap(distance):
    ones, others = [update(s) for s in range(2)], [update(s + 10) for s in range(2)]
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (ones, others)]
    wanted = [distance(a, b) for a, b in zip(ones, others, strict=True)]
    np.testing.assert_allclose(jax.vmap(distance)(*stacks), wanted, rtol=1e-5)


def dense(names):
    """A model whose layers run in the order of `names`, the last its classifier."""

    def init(key):
        return {"params": {name: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for name in names}}

    return Model(init, None, (1, 2, 1), 2, (names[-1],))


def test_order_is_the_running_order_and_not_that_of_the_names():
    model = dense(["z", "b", "a"])
    assert distances.tensor_order(model) == tuple((n, t) for n in "zba" for t in ("kernel", "bias"))
    seen = []
    jax.jit(lambda x: seen.append(distances.tensor_order(model)) or x)(1.0)  # also while something is traced
    assert seen == [distances.tensor_order(model)]
    lost = model._replace(init=jax.jit(model.init))
    with pytest.raises(
        InputError, match="must be its classifier's 'a', got 'z/kernel'; make model.init neither"
    ):
        distances.tensor_order(lost)


def test_order_of_the_models_of_the_catalog_begins_at_the_image():
    for factory in (models.lenet, models.convnet, models.mlp):
        model = factory((16, 16, 3), 5)
        order = distances.tensor_order(model)
        params = jax.eval_shape(model.init, jax.random.key(0))["params"]
        first = params[order[0][0]][order[0][1]]
        assert first.shape[-2] in (3, 16 * 16 * 3)  # it takes pixels
        assert len(order) == len(jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda d: distances.weighted(d, weights="cubic", order=ORDER), "unknown weights 'cubic'"),
        (lambda d: distances.weighted(d, weights="linear"), r"give order=tensor_order\(model\)"),
        (lambda d: distances.weighted(d, weights=(1.0, 2.0), order=ORDER), "one a tensor, 3 of them"),
        (lambda d: distances.selected(d, tensors="first:2"), "'first:2' needs the order of the tensors"),
        (lambda d: distances.selected(d, tensors="topk:2"), "must be all, first:K, last:K or top:K"),
        (lambda d: distances.selected(d, tensors="top"), "must be all, first:K, last:K or top:K"),
        (lambda d: distances.selected(d, tensors="top:0"), "K of tensors must be >= 1"),
        (
            lambda d: distances.selected(d, tensors="top:4")(update(0), update(1)),
            "must be >= 4, got .*=3; lower K",
        ),
        (
            lambda d: distances.selected(d, tensors="last:1", order=ORDER[:2])(update(0), update(1)),
            "'head/kernel' is only in the update",
        ),
        (
            lambda d: distances.weighted(d, weights="exp", order=(*ORDER, ("a", "b")))(update(0), update(1)),
            "'a/b' is only in the order",
        ),
        (lambda d: distances.masked_cosine(0.0), "fraction must be > 0"),
        (lambda d: distances.masked_cosine(1.5), "fraction must be <= 1"),
    ],
)
def test_what_cannot_be_built_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build(distances.l2)
