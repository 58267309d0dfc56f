"""LLG as published, against its rule written down again; and its exact forms, where they must be exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.clients import fedsgd
from jleak.labels import llg, llg_plus, llg_star
from jleak.labels.dummies import dummies
from jleak.labels.head import head, row_sums
from jleak.labels.llg import Impact, calibrated, published
from jleak.losses import cross_entropy
from jleak.types import Batch, Model, Threat, View

KEY = jax.random.key(0)


def by_the_paper(g, m, s, total, *, cut):
    """The labels in the order they are found: Predictor.py of the reference code, in words of one syllable.

    Stage one: every class of negative g, once. Stage two: the class of least g until there are enough.
    """
    first = [c for c in range(len(g)) if g[c] < 0]
    if cut:  # LLG+
        first = sorted(first, key=lambda c: g[c])[:total]
    g = [np.float32(a - b) for a, b in zip(g, s, strict=True)]
    found = []
    for c in first:
        found.append(c)
        g[c] = np.float32(g[c] - m)
    while len(found) < total:
        c = g.index(min(g))
        found.append(c)
        g[c] = np.float32(g[c] - m)
    return found


def counted(labels, n):
    return np.bincount(labels, minlength=n).tolist()


@pytest.mark.parametrize("cut", [False, True], ids=["llg_star", "llg_plus"])
@pytest.mark.parametrize("total", [1, 3, 8, 32])
def test_the_published_rule_on_two_hundred_vectors(total, cut):
    """Ten classes, about half of them negative: with few labels stage one finds more than asked."""
    rng = np.random.default_rng(total)
    g, s = rng.normal(size=(2, 200, 10)).astype(np.float32)
    s *= 0.3
    m = -rng.uniform(0.05, 1.0, 200).astype(np.float32)
    rule = jax.jit(jax.vmap(lambda g, m, s: published(g, Impact(m, s), total, most=total if cut else None)))
    found = np.asarray(rule(g, m, s))
    assert found.tolist() == [
        counted(by_the_paper(*a, total, cut=cut), 10) for a in zip(g, m, s, strict=True)
    ]
    assert (found.sum(1) > total).any() == (total < 10 and not cut)


@pytest.mark.parametrize("total", [1, 3, 8, 32])
def test_plain_llg_as_published_on_two_hundred_vectors(total):
    """m = (1 + 1/n) sum of the negative g / N, no offset; from the update to the counts."""
    kernel = np.random.default_rng(total).normal(size=(200, 4, 10)).astype(np.float32)
    attack = llg(Threat(client=None, model=declared(10), batch=total), exact=False)
    found = jax.jit(jax.vmap(lambda k: attack(KEY, View(None, {"head": {"kernel": k}}))))(kernel)
    for k, counts in zip(kernel, np.asarray(found), strict=True):
        g = np.asarray(row_sums(head(declared(10), {"head": {"kernel": jnp.asarray(k)}})))
        m = np.float32(1.1 * g[g < 0].sum() / total)
        assert counts.tolist() == counted(by_the_paper(g, m, np.zeros(10), total, cut=False), 10)


def declared(classes):
    return Model(init=None, apply=None, shape=(2, 2, 1), classes=classes, head=("head",))


BY_HAND = [
    # Stage one: 0 and 1, leaving -2 and 0.5, 1; stage two: 0 (-1), 0 (0).
    ([-3.0, -0.5, 1.0], -1.0, [0.0, 0.0, 0.0], 4, [3, 1, 0], [3, 1, 0]),
    # All four are negative and two are wanted: LLG* names all, LLG+ the two least.
    ([-1.0, -4.0, -2.0, -3.0], -1.0, [0.0] * 4, 2, [1, 1, 1, 1], [0, 1, 0, 1]),
    # The sign is tested before the offset is taken off: 0 alone, leaving [0, -2.5, -0.5]. Then 1 (-1.5),
    # 1 (-0.5), and of the two at -0.5 the first.
    ([-0.5, 0.5, 0.5], -1.0, [0.5, 3.0, 1.0], 4, [1, 3, 0], [1, 3, 0]),
]


@pytest.mark.parametrize(("g", "m", "s", "total", "star", "plus"), BY_HAND)
def test_the_published_rule_by_hand(g, m, s, total, star, plus):
    found = Impact(jnp.array(m), jnp.array(s))
    assert published(jnp.array(g), found, total).tolist() == star
    assert published(jnp.array(g), found, total, most=total).tolist() == plus
    assert counted(by_the_paper(g, m, s, total, cut=False), len(g)) == star
    assert counted(by_the_paper(g, m, s, total, cut=True), len(g)) == plus


@pytest.fixture(scope="module")
def world(digits):
    """A small model, and public digits: as many of each class."""
    model = models.mlp(digits.shape, 10, hidden=16)
    chosen = np.concatenate([np.flatnonzero(digits.labels == c)[:6] for c in range(10)])
    public = Batch(jnp.asarray(digits.x[chosen]), jnp.asarray(digits.labels[chosen]))
    return model, View(model.init(KEY), None, prior=public)


def by_gradients(model, params, images_of, per_step, steps):
    """m and s of LLG*/LLG+ as published: gradients of one-label batches, `images_of(c)` all labelled c."""
    client, n = fedsgd(model, cross_entropy), model.classes
    g = []
    for c in range(n):
        x = images_of(c)
        g.append(row_sums(head(model, client(KEY, params, Batch(x, jnp.full(len(x), c))))))
    g = np.asarray(g, np.float64)
    m = (1 + 1 / n) / steps * np.diagonal(g).mean() / per_step
    s = np.array([np.delete(g[:, j], j).mean() for j in range(n)])
    return m, s, np.diagonal(g), g


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("dummy", ["uniform", "zeros", "ones", "natural"])
def test_impact_and_offset_of_llg_star_are_those_of_real_gradients(world, dummy, steps):
    model, view = world
    threat = Threat(client=None, model=model, batch=8, local_steps=steps)
    m, s, *_ = by_gradients(model, view.params, lambda c: dummies(threat, dummy, 80), 8 / steps, steps)
    found = llg_star(threat, dummy=dummy, exact=False).calibrate(view)
    np.testing.assert_allclose(found.impact, m, rtol=1e-4)
    np.testing.assert_allclose(found.offset, s, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_impact_and_offset_of_llg_plus_are_those_of_real_gradients(world, steps):
    model, view = world
    x, y = view.prior
    threat = Threat(client=None, model=model, batch=8, local_steps=steps)
    m, s, *_ = by_gradients(model, view.params, lambda c: x[y == c], 8 / steps, steps)
    found = llg_plus(threat, exact=False).calibrate(view)
    np.testing.assert_allclose(found.impact, m, rtol=1e-4)
    np.testing.assert_allclose(found.offset, s, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_exact_calibration_is_scaled_with_the_steps(world, steps):
    """Of a sum over the steps: a label moves it by -S / (N / I), and a class without labels has I S p_c."""
    model, view = world
    one, more = (
        llg_plus(Threat(client=None, model=model, batch=8, local_steps=i)).calibrate(view) for i in (1, steps)
    )
    sums = model.features(view.params, view.prior.x).sum(1).mean()
    np.testing.assert_allclose(one.impact, -sums / 8, rtol=1e-5)
    np.testing.assert_allclose(more.impact, steps * one.impact, rtol=1e-5)
    np.testing.assert_allclose(more.offset, steps * one.offset, rtol=1e-5)


@pytest.mark.parametrize("total", [1, 8, 100])
def test_the_exact_rule_is_exact_where_the_update_is_linear_in_the_counts(total):
    rng = np.random.default_rng(total)
    counts = np.stack([np.bincount(rng.integers(0, 10, total), minlength=10) for _ in range(100)])
    offset = rng.normal(size=(100, 10))
    impact = -rng.uniform(0.1, 2, 100)
    g = offset + counts * impact[:, None]
    found = jax.vmap(lambda g, m, s: calibrated(g, Impact(m, s), total))(
        *map(jnp.float32, (g, impact, offset))
    )
    np.testing.assert_array_equal(found, counts)


def test_plain_exact_llg_is_exact_where_every_label_shows_by_its_sign():
    """g_c = S (1/n - lambda_c / N), each class absent or above N / n."""
    counts = np.array([[3, 2, 3, 0, 0, 0, 0, 0], [8, 0, 0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 0, 0, 0, 0]])
    kernel = jnp.float32(5.0 * (1 / 8 - counts[:, None] / 8))
    threat = Threat(client=None, model=declared(8), batch=8)
    found = jax.vmap(lambda k: llg(threat)(KEY, View(None, {"head": {"kernel": k}})))(kernel)
    np.testing.assert_array_equal(found, counts)


def test_noise_adds_false_labels_to_the_published_rule_alone():
    """Absent classes at g ~ 0: the sign stage takes those that the noise makes negative, at any sigma."""
    g = jnp.where(jnp.arange(100) < 2, -4.0, 0.0)
    noisy = g + 1e-3 * jax.random.normal(KEY, (1000, 100))
    found = Impact(jnp.array(-1.0), jnp.zeros(100))
    wrong = [
        jax.vmap(lambda g, rule=rule: rule(g, found, 8))(noisy)[:, 2:].sum(1)
        for rule in (published, calibrated)
    ]
    assert 44 < wrong[0].mean() < 54 and not wrong[1].any()
