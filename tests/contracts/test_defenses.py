"""What being in DEFENSES promises. A new defense gets a line in LINES, and a guarantee below."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jleak.catalog import DEFENSES
from jleak.check import InputError
from jleak.clients import chain
from jleak.defenses import clip, gaussian, prune
from jleak.tree import dot
from jleak.types import View

KEY = jax.random.key(7)
INF, NAN = math.inf, math.nan


class Line(NamedTuple):
    """One defense: arguments from none to all of it, the strength that may be traced, what it refuses.

    `same` are the settings that are not strengths, given to every call; `refused` are arguments and what the
    message must say.
    """

    mildest: dict[str, Any]
    medium: dict[str, Any]
    strongest: dict[str, Any]
    strength: str
    refused: list[tuple[dict[str, Any], str]]
    same: dict[str, Any] = {}
    noise: Any = None


BOUNDS = [
    ({"bound": 0.0}, r"bound must be > 0, got bound=0\.0"),
    ({"bound": -1.0}, r"bound must be > 0, got bound=-1\.0"),
    ({"bound": NAN}, "bound must be a number, got bound=nan"),
    ({"bound": "big"}, "bound must be a number, got bound='big'"),
    ({"bound": 1.0, "scope": "tensors"}, "unknown scope 'tensors'; did you mean 'tensor'"),
]
LINES: dict[str, list[Line]] = {
    "clip": [
        Line({"bound": INF}, {"bound": 0.1}, {"bound": 1e-6}, "bound", BOUNDS),
        Line({"bound": INF}, {"bound": 0.1}, {"bound": 1e-6}, "bound", BOUNDS, {"scope": "tensor"}),
    ],
    "gaussian": [
        Line(
            {"sigma": 0.0},
            {"sigma": 0.1},
            {"sigma": 1e3},
            "sigma",
            [
                ({"sigma": -1.0}, r"sigma must be >= 0, got sigma=-1\.0"),
                ({"sigma": NAN}, "sigma must be a number, got sigma=nan"),
                ({"sigma": None}, "sigma must be a number, got sigma=None"),
            ],
            noise=lambda sigma: stats.norm(scale=sigma),
        )
    ],
    "laplace": [
        Line(
            {"scale": 0.0},
            {"scale": 0.1},
            {"scale": 1e3},
            "scale",
            [
                ({"scale": -1.0}, r"scale must be >= 0, got scale=-1\.0"),
                ({"scale": NAN}, "scale must be a number, got scale=nan"),
                ({"scale": None}, "scale must be a number, got scale=None"),
            ],
            noise=lambda scale: stats.laplace(scale=scale),
        )
    ],
    "prune": [
        Line(
            {"fraction": 0.0},
            {"fraction": 0.5},
            {"fraction": 1.0},
            "fraction",
            [
                ({"fraction": -0.1}, r"fraction must be >= 0, got fraction=-0\.1"),
                ({"fraction": 1.1}, r"fraction must be <= 1, got fraction=1\.1"),
                ({"fraction": NAN}, "fraction must be a number, got fraction=nan"),
            ],
        )
    ],
}
each = [
    pytest.param(DEFENSES[name], line, id="-".join([name, *line.same.values()]))
    for name in DEFENSES
    for line in LINES.get(name, [])
]
every_defense = pytest.mark.parametrize(("kind", "line"), each)
every_noise = pytest.mark.parametrize(("kind", "line"), [p for p in each if p.values[1].noise])


@pytest.mark.parametrize("name", sorted({*DEFENSES, *LINES}))
def test_every_defense_has_a_line(name):
    assert name in LINES, f"defense {name!r} keeps no promise yet: give it a line in LINES of {__file__}"
    assert name in DEFENSES, f"LINES of {__file__} has a line of {name!r}, which is not in the catalog"


@pytest.fixture(scope="module")
def victim(small):
    return small(3)


def build(kind, line, args):
    return kind.defense(**line.same, **args)


def shared(defense, victim, key=KEY):
    """The update that the victim shares under `defense`."""
    return defense(victim.client)(key, victim.params, victim.batch)


def of(update):
    """The client that has this update."""
    return lambda key, params, batch: update


def defended(defense, update, key=KEY):
    return defense(of(update))(key, None, None)


def equal(a, b):
    """Whether two trees agree to the bit."""
    return all(
        np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    ) and jax.tree.structure(a) == jax.tree.structure(b)


def near(a, b, rtol=2e-6, atol=0.0):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=rtol, atol=atol), a, b)


def flat(a):
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(a)])


def some_update(seed=0, scale=1.0):
    """An update of tensors of many sizes."""
    shapes = {"head": {"kernel": (50, 10), "bias": (10,)}, "conv": (5, 5, 3, 8), "scalar": (), "one": (1,)}
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda s: isinstance(s, tuple))
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        structure, [jnp.asarray(scale * rng.normal(size=s), jnp.float32) for s in leaves]
    )


@every_defense
def test_mildest_is_the_identity(kind, line, victim):
    assert equal(shared(build(kind, line, line.mildest), victim), victim.view.update)


@every_defense
def test_strongest_changes_every_tensor(kind, line, victim):
    after = shared(build(kind, line, line.strongest), victim)
    for before, changed in zip(jax.tree.leaves(victim.view.update), jax.tree.leaves(after), strict=True):
        assert not np.array_equal(before, changed)
        assert np.isfinite(changed).all()


@every_defense
@pytest.mark.parametrize("traced", [False, True], ids=["number", "array"])
def test_structure_shape_and_dtype_are_kept(kind, line, traced):
    update = {
        "w": jnp.ones((4, 3)),
        "deep": [jnp.full((2, 1), -2.0, jnp.bfloat16), jnp.arange(5, dtype=jnp.float16)],
        "scalar": jnp.array(3.0),
    }
    strength = {name: jnp.float32(v) if traced else v for name, v in line.medium.items()}
    after = defended(build(kind, line, strength), update)
    assert jax.tree.map(lambda u: (u.shape, u.dtype), after) == jax.tree.map(
        lambda u: (u.shape, u.dtype), update
    )


@every_defense
def test_a_lone_tensor_is_an_update_too(kind, line):
    update = {"w": jnp.array([3.0, -4.0, 0.5])}
    defense = build(kind, line, line.medium)
    seen = defended(defense, update)
    assert seen["w"].shape == (3,) and not equal(seen, update)
    if kind.adapt:
        assert defended(kind.adapt(View(None, seen), **line.same), update)["w"].shape == (3,)


@every_defense
def test_strength_may_be_traced(kind, line, victim):
    strengths = line.medium[line.strength] * np.array([0.5, 1.0, 1.5], np.float32)
    together = jax.vmap(lambda s: shared(build(kind, line, line.medium | {line.strength: s}), victim))(
        jnp.asarray(strengths)
    )
    for i, strength in enumerate(strengths.tolist()):
        alone = shared(build(kind, line, line.medium | {line.strength: strength}), victim)
        near(jax.tree.map(lambda u, i=i: u[i], together), alone, atol=1e-7)
    assert not np.allclose(flat(alone), flat(jax.tree.map(lambda u: u[0], together)))


@every_defense
def test_same_key_same_bits(kind, line, victim):
    first, second = (shared(build(kind, line, line.medium), victim) for _ in range(2))
    assert equal(first, second)


@every_defense
def test_gradient_is_finite_at_a_zero_update(kind, line):
    zero = jax.tree.map(jnp.zeros_like, some_update())
    weights = some_update(seed=1)

    def matched(update, strength):
        after = defended(build(kind, line, {line.strength: strength}), update)
        return dot(weights, after) + dot(after, after)

    for args in (line.mildest, line.medium, line.strongest):  # not compiled: XLA may simplify a NaN away
        by_update, by_strength = jax.grad(matched, (0, 1))(zero, args[line.strength])
        assert np.isfinite(flat(by_update)).all()
        assert np.isfinite(by_strength)


@every_defense
def test_bad_arguments_are_refused_by_name_and_value(kind, line):
    assert line.refused
    for args, message in line.refused:
        with pytest.raises(InputError, match=message):
            kind.defense(**args)


@every_defense
def test_imitations_are_defenses_that_keep_structure(kind, line, victim):
    seen = shared(build(kind, line, line.medium), victim)
    view = victim.view._replace(update=seen)
    imitations = [(kind.belief or kind.defense)(**line.same, **line.medium)]
    if kind.adapt is not None:
        imitations.append(kind.adapt(view, **line.same))
    for imitation in imitations:
        guess = shared(imitation, victim)
        assert jax.tree.map(jnp.shape, guess) == jax.tree.map(jnp.shape, seen)
        assert np.isfinite(flat(guess)).all()


# What each defense guarantees.


@pytest.mark.parametrize("scope", ["global", "tensor"])
@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 1e3])
def test_clip_bounds_the_norm_and_keeps_the_direction(scope, bound):
    for scale in (1e-6, 1.0, 1e6):
        update = some_update(scale=scale)
        after = defended(clip(bound=bound, scope=scope), update)
        groups = (
            [(update, after)]
            if scope == "global"
            else zip(*map(jax.tree.leaves, (update, after)), strict=True)
        )
        for before, clipped in groups:
            before, clipped = flat(before), flat(clipped)
            length = np.linalg.norm(before)
            assert np.linalg.norm(clipped) <= bound * (1 + 1e-6)
            np.testing.assert_allclose(clipped, before * min(1.0, bound / length), rtol=1e-6)


FRACTIONS = [0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0]


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_prune_removes_the_stated_share_and_keeps_the_largest(fraction):
    update = some_update()
    after = defended(prune(fraction=fraction), update)
    for before, left in zip(*map(jax.tree.leaves, (update, after)), strict=True):
        before, left = np.ravel(before), np.ravel(left)
        kept = left != 0
        removed = np.sum(~kept)
        assert math.floor(fraction * (before.size - 1)) <= removed <= math.ceil(fraction * (before.size - 1))
        np.testing.assert_array_equal(left[kept], before[kept])
        assert np.abs(before[kept]).min() > np.abs(before[~kept]).max(initial=0.0)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("n", [1, 2, 37, 1000])
def test_prune_agrees_with_the_quantile_in_double_precision(fraction, n):
    u = np.random.default_rng(n).normal(size=n).astype(np.float32)
    magnitude = np.abs(u).astype(np.float64)
    threshold = np.quantile(magnitude, fraction) * (1 - 1e-12)  # of a quantile that is an entry, the rounding
    np.testing.assert_array_equal(
        defended(prune(fraction=fraction), jnp.asarray(u)), np.where(magnitude >= threshold, u, 0)
    )


@pytest.mark.parametrize("value", [0.1, 0.3, 1.0, 1e-7, 123.456])
def test_prune_keeps_entries_of_one_magnitude_together(value):
    for n in (2, 3, 7, 33):
        u = value * jnp.where(jnp.arange(n) % 2, 1.0, -1.0)
        for fraction in FRACTIONS:
            np.testing.assert_array_equal(defended(prune(fraction=fraction), u), u)


@every_noise
@pytest.mark.parametrize("strength", [1e-3, 2.0])
def test_noise_has_its_distribution_at_its_scale_and_no_other(kind, line, strength):
    n = 100_000
    update = jnp.linspace(-1, 1, n)
    noise = np.asarray(defended(build(kind, line, {line.strength: strength}), jnp.zeros(n)), np.float64)
    p = {r: stats.kstest(noise, line.noise(r * strength).cdf).pvalue for r in (2 / 3, 1.0, 3 / 2)}
    assert p[1.0] > 1e-3
    assert max(p[2 / 3], p[3 / 2]) < 1e-6
    onto = defended(build(kind, line, {line.strength: strength}), update) - update
    np.testing.assert_allclose(onto, noise, atol=1e-6 * max(1.0, strength) * 10)


@every_noise
def test_noise_is_independent_between_keys_tensors_and_entries(kind, line):
    n = 20_000
    zeros = {"a": jnp.zeros(n), "b": jnp.zeros(n)}
    first, second = (defended(build(kind, line, line.medium), zeros, jax.random.key(i)) for i in (0, 1))
    draws = [first["a"], first["b"], second["a"], second["b"], jnp.roll(first["a"], 1)]
    correlation = np.corrcoef(np.stack(draws))[np.triu_indices(len(draws), 1)]
    assert np.abs(correlation).max() < 4.5 / math.sqrt(n)


@every_noise
def test_noise_of_two_clients_of_one_defense_differs(kind, line, victim):
    defense = build(kind, line, line.medium)
    twice = chain(defense, defense)
    noise = flat(defended(twice, {"w": jnp.zeros(50_000)}))
    std = line.noise(line.medium[line.strength]).std()
    np.testing.assert_allclose(noise.std(), math.sqrt(2) * std, rtol=0.03)  # 2 std were the noise the same


# What an attacker who knows of a defense believes.


@pytest.mark.parametrize("bound", [0.01, 0.3, 10.0, INF])
@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_who_knows_of_clipping_shares_the_true_update_on_the_true_batch(scope, bound, victim):
    seen = shared(clip(bound=bound, scope=scope), victim)
    imitated = shared(DEFENSES["clip"].adapt(victim.view._replace(update=seen), scope=scope), victim)
    near(imitated, seen)


def test_who_knows_of_clipping_clips_other_batches_to_the_bound(victim, small):
    view = victim.view._replace(update=shared(clip(bound=0.1), victim))
    other = small(3, seed=1)
    assert np.linalg.norm(flat(other.view.update)) > 0.2
    np.testing.assert_allclose(
        np.linalg.norm(flat(shared(DEFENSES["clip"].adapt(view), other))), 0.1, rtol=1e-5
    )


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_who_sees_no_update_believes_in_no_clipping(scope, victim):
    nothing = victim.view._replace(update=jax.tree.map(jnp.zeros_like, victim.view.update))
    assert equal(shared(DEFENSES["clip"].adapt(nothing, scope=scope), victim), victim.view.update)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 1.0])
def test_who_knows_of_pruning_has_the_true_mask(fraction, victim, small):
    seen = shared(prune(fraction=fraction), victim)
    adapted = DEFENSES["prune"].adapt(victim.view._replace(update=seen))
    assert equal(shared(adapted, victim), seen)
    other = small(3, seed=1)
    masked = shared(adapted, other)
    for u, mask, plain in zip(*map(jax.tree.leaves, (masked, seen, other.view.update)), strict=True):
        np.testing.assert_array_equal(u, np.where(mask != 0, plain, 0))


@every_noise
def test_who_knows_of_noise_believes_in_its_expectation(kind, line, victim):
    view = victim.view._replace(update=shared(build(kind, line, line.medium), victim))
    for imitation in (kind.adapt(view), kind.belief(**line.medium)):
        assert equal(shared(imitation, victim), victim.view.update)


def test_defenses_compose_to_dp_sgd_release(victim):
    """Clipping, then noise: what leaves is within the noise of the clipped update."""
    clipped = shared(clip(bound=0.05), victim)
    released = shared(chain(clip(bound=0.05), gaussian(sigma=0.01)), victim)
    noise = flat(released) - flat(clipped)
    assert stats.kstest(noise, stats.norm(scale=0.01).cdf).pvalue > 1e-3


@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_attacks_can_differentiate_through_clipping(scope, victim):
    """The gradient with respect to the image, of a clipped update, is the finite difference's."""
    defense = clip(bound=0.1, scope=scope)
    weights = jax.tree.map(lambda u: jnp.cos(jnp.arange(u.size)).reshape(u.shape), victim.view.update)

    @jax.jit
    def score(x):
        return dot(weights, shared(defense, victim._replace(batch=victim.batch._replace(x=x))))

    x = victim.batch.x
    direction = jax.random.normal(KEY, x.shape)
    slope, step = jnp.vdot(jax.grad(score)(x), direction), 1e-2
    difference = (score(x + step * direction) - score(x - step * direction)) / (2 * step)
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, difference, rtol=0.01)
