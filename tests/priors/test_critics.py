"""Critics and encoders: one image at a time, and the class where there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import tree
from jleak.check import InputError
from jleak.priors.critics import TRUNKS, conv, critic, encoder, mlp

KEY = jax.random.key(0)
SHAPE, CLASSES = (8, 8, 3), 4
Y = jnp.array([2, 0, 3])


@pytest.fixture(scope="module")
def x():
    return jax.random.uniform(KEY, (3, *SHAPE), minval=-1.0)


@pytest.mark.parametrize("name", TRUNKS)
def test_scores_are_of_one_image_each(name, x):
    net = critic(TRUNKS[name](), SHAPE, CLASSES)
    params = net.init(KEY)
    scores = np.asarray(net.apply(params, x, Y))
    alone = [net.apply(params, x[i : i + 1], Y[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    assert scores.dtype == np.float32 and scores.std() > 0


def test_the_class_is_a_projection_of_the_features(x):
    """f(h) + <v_y, h>, with h the output of the last layer, in NumPy."""
    net = critic(mlp(hidden=(6,)), SHAPE, CLASSES)
    p = jax.tree.map(lambda u: np.asarray(u, float), net.init(KEY)["params"])
    flat = np.asarray(x, float).reshape(3, -1) @ p["trunk"]["dense0"]["kernel"] + p["trunk"]["dense0"]["bias"]
    h = np.where(flat > 0, flat, 0.01 * flat)
    wanted = (h @ p["score"]["kernel"] + p["score"]["bias"])[:, 0]
    wanted += (p["classes"]["kernel"][np.asarray(Y)] * h).sum(1)
    np.testing.assert_allclose(net.apply({"params": p}, x, Y), wanted, rtol=1e-4)


def test_the_critic_of_the_paper_has_its_layers():
    """3x3 convolutions 3-128-256-512, a score from 4x4x512; CVPR 2022, appendix B."""
    found = critic(conv(), (32, 32, 3)).init(KEY)
    layers = [9 * a * b + b for a, b in ((3, 128), (128, 256), (256, 512))]
    assert tree.size(found) == sum(layers) + 4 * 4 * 512 + 1


def test_an_encoder_knows_the_class_and_one_of_no_classes_does_not(x):
    other = (Y + 1) % CLASSES
    for classes, same in ((CLASSES, False), (0, True)):
        net = encoder(mlp(hidden=(6,)), SHAPE, classes, latent=5)
        params = net.init(KEY)
        mean, log_variance = net.apply(params, x, Y)
        assert mean.shape == log_variance.shape == (3, 5)
        assert np.array_equal(mean, net.apply(params, x, other)[0]) == same


def test_bad_settings_are_refused():
    for make, message in (
        (lambda: conv(width=0), "width must be >= 1"),
        (lambda: mlp(hidden=(4, 0)), "hidden must be >= 1"),
        (lambda: critic(mlp(), SHAPE, -1), "classes must be >= 0"),
        (lambda: encoder(mlp(), SHAPE, latent=0), "latent must be >= 1"),
    ):
        with pytest.raises(InputError, match=message):
            make()
