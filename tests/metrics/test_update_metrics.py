"""The signal-to-noise ratio of a defended update against NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.metrics import snr


def update(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "w": jnp.array(scale * rng.normal(size=(20, 30)), jnp.float32),
        "b": jnp.array(scale * rng.random(5)),
    }


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e3])
def test_agrees_with_numpy(scale):
    plain, noise = update(0), update(1, scale)
    defended = jax.tree.map(jnp.add, plain, noise)
    s, d = (
        np.concatenate([np.ravel(t["w"]), np.ravel(t["b"])]).astype(np.float64) for t in (plain, defended)
    )
    expected = 10 * np.log10(np.sum(s**2) / np.sum((d - s) ** 2))
    assert float(snr(plain, defended)) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_gaussian_noise_has_its_expected_ratio():
    """||g||^2 / (P sigma^2), for P entries."""
    plain, noise = {"w": jnp.ones(100_000)}, 0.1 * jax.random.normal(jax.random.key(0), (100_000,))
    assert float(snr(plain, {"w": plain["w"] + noise})) == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize(
    ("factor", "expected"), [(1.0, np.inf), (0.0, 0.0), (2.0, 0.0), (1.1, 20.0), (-1.0, -20 * np.log10(2))]
)
def test_scaling_has_its_closed_form(factor, expected):
    plain = update(0)
    assert float(snr(plain, jax.tree.map(lambda u: factor * u, plain))) == pytest.approx(expected, abs=1e-4)


def test_zero_and_broken_updates():
    plain = update(0)
    zero, broken = jax.tree.map(jnp.zeros_like, plain), jax.tree.map(lambda u: u * jnp.nan, plain)
    assert snr(zero, zero) == np.inf
    assert snr(zero, plain) == -np.inf
    assert np.isnan(snr(plain, broken))
    assert np.isnan(snr(broken, plain))


def test_ignores_a_common_scale():
    plain, defended = update(0), update(1)
    scaled = [jax.tree.map(lambda u: 1e3 * u, tree) for tree in (plain, defended)]
    assert float(snr(*scaled)) == pytest.approx(float(snr(plain, defended)), abs=1e-4)


def test_jit_and_vmap_agree_with_the_plain_call():
    plains, defended = [update(s) for s in range(3)], [update(s + 9) for s in range(3)]
    stacks = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (plains, defended)]
    expected = [snr(p, d) for p, d in zip(plains, defended, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(snr))(*stacks), expected, rtol=1e-5)


def test_updates_of_two_models_are_refused():
    with pytest.raises(InputError, match=r"w: \(3,\) and \(1,\); compare updates of one model"):
        snr({"w": jnp.zeros(3)}, {"w": jnp.zeros(1)})
