"""What being in DEFENSES promises. A new defense gets a line in LINES, and a guarantee below."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from defending import defended, equal, flat, near, shared, some_update
from scipy import stats

from jleak.catalog import DEFENSES
from jleak.check import InputError
from jleak.clients import chain
from jleak.tree import dot
from jleak.types import View
from jleak.weights import named

INF, NAN = math.inf, math.nan


class Line(NamedTuple):
    """One defense: arguments from none to all of it, the strength that may be traced, what it refuses.

    `same` are the settings that are not strengths, given to every call; `refused` are arguments and what the
    message must say; `noise` is the distribution of the noise, given the strength, at the medium setting;
    `exact` is False where the mildest setting computes the plain update in another order. `tensors` are those
    that it changes, None for all; of an update that no model made it then asks nothing.
    """

    mildest: dict[str, Any]
    medium: dict[str, Any]
    strongest: dict[str, Any]
    strength: str
    refused: list[tuple[dict[str, Any], str]]
    same: dict[str, Any] = {}
    noise: Any = None
    exact: bool = True
    tensors: tuple[str, ...] | None = None


BOUNDS = [
    ({"bound": 0.0}, r"bound must be > 0, got bound=0\.0"),
    ({"bound": -1.0}, r"bound must be > 0, got bound=-1\.0"),
    ({"bound": NAN}, "bound must be a number, got bound=nan"),
    ({"bound": "big"}, "bound must be a number, got bound='big'"),
    ({"bound": 1.0, "scope": "tensors"}, "unknown scope 'tensors'; did you mean 'tensor'"),
]
DP_SGD = [
    *BOUNDS[:-1],
    ({"bound": INF}, r"bound must be <= 3\.40282e\+38, got bound=inf; use a large number for no clipping"),
    ({"noise": -1.0}, r"noise must be >= 0, got noise=-1\.0"),
    ({"noise": NAN}, "noise must be a number, got noise=nan"),
    ({"noise": None}, "noise must be a number, got noise=None"),
]
LINES: dict[str, list[Line]] = {
    "clip": [
        Line({"bound": INF}, {"bound": 0.1}, {"bound": 1e-6}, "bound", BOUNDS),
        Line({"bound": INF}, {"bound": 0.1}, {"bound": 1e-6}, "bound", BOUNDS, {"scope": "tensor"}),
    ],
    "dp_sgd": [
        Line(
            {"bound": 1e6, "noise": 0.0},
            {"bound": 0.1, "noise": 0.0},
            {"bound": 1e-6, "noise": 0.0},
            "bound",
            DP_SGD,
            exact=False,
        ),
        Line(
            {"bound": 1e6, "noise": 0.0},
            {"bound": 1e3, "noise": 1e-4},  # above every norm here
            {"bound": 1e3, "noise": 10.0},
            "noise",
            DP_SGD,
            noise=lambda noise: stats.norm(scale=1e3 * noise),
            exact=False,
        ),
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
    "soteria": [
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
            tensors=("head.kernel",),
        )
    ],
}
each = [
    pytest.param(DEFENSES[name], line, id="-".join([name, line.strength, *line.same.values()]))
    for name in DEFENSES
    for line in LINES.get(name, [])
]
every_defense = pytest.mark.parametrize(("kind", "line"), each)
every_of_updates = pytest.mark.parametrize(("kind", "line"), [p for p in each if not p.values[1].tensors])
every_noise = pytest.mark.parametrize(("kind", "line"), [p for p in each if p.values[1].noise])


@pytest.mark.parametrize("name", sorted({*DEFENSES, *LINES}))
def test_every_defense_has_a_line(name):
    assert name in LINES, f"defense {name!r} keeps no promise yet: give it a line in LINES of {__file__}"
    assert name in DEFENSES, f"LINES of {__file__} has a line of {name!r}, which is not in the catalog"


def build(kind, line, args):
    return kind.defense(**line.same, **args)


@every_defense
def test_mildest_is_the_identity(kind, line, three):
    check_same(line, shared(build(kind, line, line.mildest), three), three.view.update)


def check_same(line, got, wanted):
    """To the bit; where sums are taken in another order, up to rounding."""
    if line.exact:
        assert equal(got, wanted)
    else:
        near(got, wanted, rtol=1e-5, atol=1e-7)


@every_defense
def test_strongest_changes_every_tensor_that_it_says(kind, line, three):
    after = shared(build(kind, line, line.strongest), three)
    after = named(after)
    for name, before in named(three.view.update).items():
        assert np.array_equal(before, after[name]) == (name not in (line.tensors or after))
        assert np.isfinite(after[name]).all()


@every_of_updates
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


@every_of_updates
def test_a_lone_tensor_is_an_update_too(kind, line):
    update = {"w": jnp.array([3.0, -4.0, 0.5])}
    defense = build(kind, line, line.medium)
    seen = defended(defense, update)
    assert seen["w"].shape == (3,) and not equal(seen, update)
    if kind.adapt:
        assert defended(kind.adapt(View(None, seen), **line.same), update)["w"].shape == (3,)


@every_defense
def test_strength_may_be_traced(kind, line, three):
    strengths = line.medium[line.strength] * np.array([0.5, 1.0, 1.5], np.float32)
    together = jax.vmap(lambda s: shared(build(kind, line, line.medium | {line.strength: s}), three))(
        jnp.asarray(strengths)
    )
    for i, strength in enumerate(strengths.tolist()):
        alone = shared(build(kind, line, line.medium | {line.strength: strength}), three)
        near(jax.tree.map(lambda u, i=i: u[i], together), alone, atol=1e-7)
    assert not np.allclose(flat(alone), flat(jax.tree.map(lambda u: u[0], together)))


@every_defense
def test_same_key_same_bits(kind, line, three):
    first, second = (shared(build(kind, line, line.medium), three) for _ in range(2))
    assert equal(first, second)


@every_of_updates
def test_gradient_is_finite_at_a_zero_update(kind, line):
    zero = jax.tree.map(jnp.zeros_like, some_update())
    weights = some_update(seed=1)

    def matched(update, strength, args):
        after = defended(build(kind, line, args | {line.strength: strength}), update)
        return dot(weights, after) + dot(after, after)

    for args in (line.mildest, line.medium, line.strongest):  # not compiled: XLA may simplify a NaN away
        by_update, by_strength = jax.grad(matched, (0, 1))(zero, args[line.strength], args)
        assert np.isfinite(flat(by_update)).all()
        assert np.isfinite(by_strength)


@every_defense
def test_bad_arguments_are_refused_by_name_and_value(kind, line):
    assert line.refused
    for args, message in line.refused:
        with pytest.raises(InputError, match=message):
            kind.defense(**args)


@every_defense
def test_imitations_are_defenses_that_keep_structure(kind, line, three):
    seen = shared(build(kind, line, line.medium), three)
    view = three.view._replace(update=seen)
    strength = {**line.same, **line.medium}
    imitations = [kind.belief(view, **strength) if kind.belief else kind.defense(**strength)]
    if kind.adapt is not None:
        imitations.append(kind.adapt(view, **line.same))
    for imitation in imitations:
        guess = shared(imitation, three)
        assert jax.tree.map(jnp.shape, guess) == jax.tree.map(jnp.shape, seen)
        assert np.isfinite(flat(guess)).all()


@every_noise
@pytest.mark.parametrize("strength", [1e-3, 2.0])
def test_noise_has_its_distribution_at_its_scale_and_no_other(kind, line, strength):
    n = 100_000
    update, defense = jnp.linspace(-1, 1, n), build(kind, line, line.medium | {line.strength: strength})
    noise = np.asarray(defended(defense, jnp.zeros(n)), np.float64)
    p = {r: stats.kstest(noise, line.noise(r * strength).cdf).pvalue for r in (2 / 3, 1.0, 3 / 2)}
    assert p[1.0] > 1e-3
    assert max(p[2 / 3], p[3 / 2]) < 1e-6
    onto = defended(defense, update) - update
    np.testing.assert_allclose(onto, noise, atol=1e-5 * max(1.0, line.noise(strength).std()))


@every_noise
def test_noise_is_independent_between_keys_tensors_and_entries(kind, line):
    n = 20_000
    zeros = {"a": jnp.zeros(n), "b": jnp.zeros(n)}
    first, second = (defended(build(kind, line, line.medium), zeros, jax.random.key(i)) for i in (0, 1))
    draws = [first["a"], first["b"], second["a"], second["b"], jnp.roll(first["a"], 1)]
    correlation = np.corrcoef(np.stack(draws))[np.triu_indices(len(draws), 1)]
    assert np.abs(correlation).max() < 4.5 / math.sqrt(n)


@every_noise
def test_noise_of_two_clients_of_one_defense_differs(kind, line, three):
    defense = build(kind, line, line.medium)
    twice = chain(defense, defense)
    noise = flat(defended(twice, {"w": jnp.zeros(50_000)}))
    std = line.noise(line.medium[line.strength]).std()
    np.testing.assert_allclose(noise.std(), math.sqrt(2) * std, rtol=0.03)  # 2 std were the noise the same


@every_noise
def test_who_knows_all_of_noise_believes_in_its_expectation(kind, line, three):
    check_same(line, shared(kind.belief(three.view, **line.medium), three), three.view.update)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_who_knows_the_kind_of_noise_believes_in_its_expectation(name, three):
    view = three.view._replace(update=some_update())
    assert equal(shared(DEFENSES[name].adapt(view), three), three.view.update)
