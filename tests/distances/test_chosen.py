"""Distances over some tensors, weighted ones and masked entries, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from updates import ALL, ORDER, flat, update

from jleak import distances
from jleak.check import InputError


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


CHOSEN = {
    "all": [1, 1, 1],
    "first:1": [1, 0, 0],
    "first:2": [1, 1, 0],
    "last:2": [0, 1, 1],
    "last:3": [1, 1, 1],
}


KINDS = [
    *(({"weights": name}, distances.weighted, shares) for name, shares in WEIGHTS.items()),
    *(({"tensors": name}, distances.selected, shares) for name, shares in CHOSEN.items()),
]


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize(("settings", "kind", "shares"), KINDS, ids=[str(s) for s, *_ in KINDS])
def test_weighted_and_selected_agree_with_numpy(distance, settings, kind, shares):
    a, b = update(0), update(1)
    got = kind(distance, order=ORDER, **settings)(a, b)
    np.testing.assert_allclose(got, numpy_weighted(distance.__name__, a, b, shares), rtol=1e-5)


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
