"""GGL's generator against its description in NumPy, and the three ways of its normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.priors import dcgan
from jleak.priors.dcgan import times_halved

KEY = jax.random.key(0)
KINDS = ("params", "batch_stats")
Z = np.random.default_rng(0).normal(size=(5, 4))


def moved(made, seed=1):
    """Its variables, off what they start at."""
    params = made.init(KEY)
    keys = iter(jax.random.split(jax.random.key(seed), len(jax.tree.leaves(params))))
    return jax.tree.map(lambda u: u + 0.1 * jax.random.uniform(next(keys), u.shape), params)


def forward(params, z, classes=()):
    """Images of a 16x16 generator with two doublings by kernels of side 2, by running statistics."""
    layers, known = (jax.tree.map(lambda u: np.asarray(u, np.float64), params[k]) for k in KINDS)

    def norm(x, stage):
        scale, bias = (layers[stage]["norm"][part] for part in ("scale", "bias"))
        mean, var = (known[stage]["norm"][part] for part in ("mean", "var"))
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)

    def twice(x, stage):
        kernel, bias = (layers[stage]["conv"][part] for part in ("kernel", "bias"))
        n, h, w, _ = x.shape
        out = np.zeros((n, 2 * h, 2 * w, kernel.shape[3]))
        for a, b in np.ndindex(2, 2):
            out[:, a::2, b::2] = x @ kernel[:, a, b]
        return out + bias

    z = np.concatenate([z, *([np.eye(10)[classes]] if len(classes) else [])], 1)
    x = norm(z @ layers["stage0"]["dense"]["kernel"] + layers["stage0"]["dense"]["bias"], "stage0")
    x = norm(twice(x.reshape(len(z), 4, 4, -1), "stage1"), "stage1")
    return (np.tanh(twice(x, "stage2")) + 1) / 2


@pytest.mark.parametrize("classes", [0, 10])
def test_it_is_the_network_of_the_paper(classes):
    made = dcgan((16, 16, 3), classes, latent=4, width=6)
    params, y = moved(made), np.array([1, 4, 4, 0, 9]) if classes else None
    assert params["params"]["stage1"]["conv"]["kernel"].shape == (12, 2, 2, 6)
    wanted = forward(params, Z, y if classes else ())
    assert wanted.std(0).max() > 0.02
    np.testing.assert_allclose(made.apply(params, jnp.asarray(Z, jnp.float32), y), wanted, atol=1e-5)


def test_statistics_are_those_that_the_batch_is_normalised_by():
    """With them as running statistics, the generator that attacks use makes what training made."""
    settings = {"latent": 4, "width": 6, "kernel": 4}
    training, attacked = (dcgan((16, 16, 3), batchnorm=b, **settings) for b in ("batch", "eval"))
    params, z = moved(training), jnp.asarray(Z, jnp.float32)
    found = training.statistics(params, z, None)
    assert jax.tree.structure(found) == jax.tree.structure(params["batch_stats"])
    dense = params["params"]["stage0"]["dense"]
    first = np.asarray(Z @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"], np.float64))
    np.testing.assert_allclose(found["stage0"]["norm"]["mean"], first.mean(0), atol=1e-5)
    np.testing.assert_allclose(found["stage0"]["norm"]["var"], first.var(0), rtol=1e-4)
    trained = training.apply(params, z)
    np.testing.assert_allclose(attacked.apply({**params, "batch_stats": found}, z), trained, atol=1e-5)
    assert np.abs(attacked.apply(params, z) - trained).max() > 1e-3


@pytest.mark.parametrize("norm", ["group", "none"])
def test_other_norms_have_no_statistics(norm):
    made = dcgan((8, 8, 1), latent=4, width=6, norm=norm)
    params = made.init(KEY)
    assert made.statistics is None and set(params) == {"params"}
    alone = made.apply(params, jnp.asarray(Z[:1], jnp.float32))
    together = made.apply(params, jnp.asarray(Z, jnp.float32))
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("side", "times", "start"),
    [(8, 1, (4, 4, 8)), (28, 2, (7, 7, 16)), (32, 3, (4, 4, 32)), (64, 4, (4, 4, 64))],
)
def test_the_image_is_halved_down_to_four(side, times, start):
    assert times_halved((side, side, 1)) == times
    made = dcgan((side, side, 1), latent=4, width=8)
    shapes = jax.eval_shape(made.init, KEY)["params"]
    assert shapes["stage0"]["dense"]["kernel"].shape == (4, np.prod(start))
    assert shapes["stage1"]["conv"]["kernel"].shape[0] == start[2] and len(made.stages) == 1 + times


def test_sides_need_not_be_equal():
    made = dcgan((8, 24, 2), latent=4, width=6)
    assert made.apply(made.init(KEY), jnp.ones((2, 4))).shape == (2, 8, 24, 2)
    with pytest.raises(InputError, match="got 6x8; use even sides of 8 or more, or the generator mlp_gan"):
        dcgan((6, 8, 1))
