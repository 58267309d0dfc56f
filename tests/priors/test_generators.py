"""What being in GENERATORS promises. A new generator gets a line in SMALL and in COUNTS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import InputError
from jleak.priors import GENERATORS
from jleak.tree import size

GREY, COLOUR = (8, 8, 1), (8, 8, 3)
SMALL = {
    "biggan_deep": (
        (8, 8, 3),
        4,
        {"latent": 5, "width": 8, "multiples": (2, 1), "attention": 4, "rows": 3, "conv": "im2col"},
    ),
    "dcgan": (COLOUR, 4, {"latent": 5, "width": 6}),
    "mlp_gan": (GREY, 4, {"latent": 5, "hidden": (6, 7)}),
    "stylegan2": (COLOUR, 0, {"latent": 5, "depth": 2, "width": 6, "conv": "im2col"}),
    "upsampling_gan": (GREY, 4, {"latent": 5, "width": 6, "conv": "im2col"}),
    "vae_decoder": (GREY, 4, {"latent": 5, "hidden": 6}),
}
"""Of each its arguments in these tests: the image, the classes if it can have any, and small sizes."""


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def block(i, o):
    """Of a block of BigGAN-deep: four norms steered by 256 numbers, four convolutions."""
    m = i // 4
    return 2 * 256 * (i + 3 * m) + dense(i, m) + 2 * dense(9 * m, m) + dense(m, o)


def styled(i, o, side=3):
    """Of a modulated convolution with 512 styles."""
    return side * side * i * o + dense(512, i)


BIGGAN = [(16, 16), (16, 8), (8, 4), (4, 2), (2, 1)]
STYLEGAN = [(512, 512)] * 4 + [(512, 256), (256, 128), (128, 64), (64, 32)]
COUNTS = {
    "biggan_deep": (
        (128, 128, 3),
        1000 * 128
        + dense(256, 16 * 2048)
        + sum(block(128 * i, 128 * i) + block(128 * i, 128 * o) for i, o in BIGGAN)
        + (2 * 256 * 32 + 2 * 256 * 128 + 1)
        + 2 * 128
        + dense(9 * 128, 3),
    ),
    "dcgan": (
        (32, 32, 3),
        dense(128, 8192) + 2 * 8192 + 4 * 512 * 256 + 3 * 256 + 4 * 256 * 128 + 3 * 128 + 4 * 128 * 3 + 3,
    ),
    "mlp_gan": ((28, 28, 1), dense(64, 256) + dense(256, 256) + dense(256, 784)),
    "stylegan2": (
        (1024, 1024, 3),
        8 * dense(512, 512)
        + 16 * 512
        + (styled(512, 512) + 513 + styled(512, 3, 1) + 3)
        + sum(styled(i, o) + styled(o, o) + 2 * (o + 1) + styled(o, 3, 1) + 3 for i, o in STYLEGAN),
    ),
    "upsampling_gan": (
        (28, 28, 1),
        dense(100, 6272) + dense(9 * 128, 128) + dense(9 * 128, 64) + dense(9 * 64, 1) + 2 * (128 + 128 + 64),
    ),
    "vae_decoder": ((28, 28, 1), dense(20, 400) + dense(400, 784)),
}
"""Of each an image, and the parameters at its defaults, counted by hand."""

every = pytest.mark.parametrize("name", sorted(GENERATORS))
steered = pytest.mark.parametrize("name", [name for name in sorted(SMALL) if SMALL[name][1]])


def small(name, classes=None):
    shape, most, args = SMALL[name]
    return GENERATORS[name](shape, most if classes is None else classes, **args)


@functools.cache
def made(name):
    """(generator, params, latents, labels); parameters that start at a constant are moved off it."""
    generator = small(name)
    params = jax.jit(generator.init)(jax.random.key(0))
    some = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
    moved = jax.tree.map(lambda u: u + 0.05 * jax.random.normal(next(some), u.shape), params)
    z = jax.random.normal(jax.random.key(2), (3, generator.latent))
    return generator, moved, z, jnp.array([0, 2, 3]) if generator.classes else None


@functools.cache
def forward(name):
    """The compiled generator, of one image, many at once; `test_stages_follow_each_other` has the batch."""

    def one(params, z, y):
        return made(name)[0].apply(params, z[None], None if y is None else y[None])[0]

    return jax.jit(jax.vmap(one, (None, 0, 0)))


def near(got, wanted, tolerance):
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("name", sorted({*GENERATORS, *SMALL, *COUNTS}))
def test_every_generator_has_its_lines(name):
    assert name in GENERATORS and name in SMALL and name in COUNTS


@every
def test_the_parameters_are_those_of_the_paper(name):
    shape, count = COUNTS[name]
    variables = jax.eval_shape(GENERATORS[name](shape).init, jax.random.key(0))
    assert size(variables["params"]) == count


def test_the_papers_generator_has_1_73_million_parameters():
    assert round(COUNTS["dcgan"][1] / 1e6, 2) == 1.73
    assert round(COUNTS["biggan_deep"][1] / 1e6, 1) == 50.2  # the published one draws 125 channels unused


@every
def test_images_are_in_the_unit_interval(name):
    generator, params, z, y = made(name)
    x = forward(name)(params, z, y)
    assert x.shape == (3, *generator.shape) and x.dtype == jnp.float32
    assert x.min() >= 0 and x.max() <= 1 and np.std(x, 0).max() > 1e-3
    extreme = forward(name)(jax.tree.map(lambda u: 3 * u, params), 100 * z, y)
    assert extreme.min() >= 0 and extreme.max() <= 1


@every
def test_stages_follow_each_other(name):
    generator, params, z, y = made(name)

    @jax.jit
    def halfway(params, h, y):
        found = []
        for k, stage in enumerate(generator.stages):
            found.append(generator.after(k, params, h, y))
            h = stage(params, h, y)
        return [*found, h]

    images = halfway(params, z, y)
    assert len(images) == len(generator.stages) + 1
    for image in images:
        near(image, forward(name)(params, z, y), 1e-5)


@every
def test_the_derivative_is_that_of_finite_differences(name):
    """In float64, along a random direction of latents and parameters at once."""
    with jax.enable_x64(True):
        generator, params, z, y = made(name)
        params, z = jax.tree.map(lambda u: jnp.asarray(u, jnp.float64), (params, z))
        keys = iter(jax.random.split(jax.random.key(3), 1 + len(jax.tree.leaves(params))))
        way = jax.tree.map(lambda u: jax.random.normal(next(keys), u.shape), (params, z))
        mask = jax.random.normal(jax.random.key(4), (3, *generator.shape))

        @jax.jit
        @jax.value_and_grad
        def along(t):
            moved, latents = jax.tree.map(lambda u, d: u + t * d, (params, z), way)
            return jnp.sum(mask * generator.apply(moved, latents, y))

        step, slope = 1e-6, np.asarray(along(0.0)[1])
        differences = (along(step)[0] - along(-step)[0]) / (2 * step)
    assert slope.dtype == np.float64 and abs(slope) > 1e-3
    np.testing.assert_allclose(slope, differences, rtol=1e-5)


@every
def test_initialisation_follows_the_key(name):
    generator = small(name)
    one, same, other = (jax.jit(generator.init)(jax.random.key(i)) for i in (0, 0, 1))
    for a, b, c in zip(*map(jax.tree.leaves, (one, same, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.ptp(a) == 0 or not np.array_equal(a, c)


@steered
def test_classes_steer_and_may_be_soft(name):
    generator, params, z, y = made(name)
    hard = forward(name)(params, z, y)
    near(forward(name)(params, z, jax.nn.one_hot(y, 4)), hard, 1e-6)
    assert np.abs(forward(name)(params, z, (y + 1) % 4) - hard).max() > 1e-3
    with pytest.raises(
        InputError, match="draws images of 4 classes on demand and was given no labels; give y"
    ):
        generator.apply(params, z)


@pytest.mark.parametrize("name", sorted({*SMALL} - {"biggan_deep"}))
def test_without_classes_labels_are_left_alone(name):
    generator = small(name, classes=0)
    params, z = jax.jit(generator.init)(jax.random.key(0)), jnp.ones((2, generator.latent))
    given = generator.apply(params, z, jnp.array([0, 1]))
    np.testing.assert_array_equal(given, generator.apply(params, z))


@pytest.mark.parametrize(
    ("name", "shape", "classes", "args", "message"),
    [
        ("dcgan", (8, 8), 0, {}, r"shape must be \(height, width, channels\), got shape=\(8, 8\)"),
        ("dcgan", (8, 8, 0), 0, {}, "channels must be >= 1"),
        ("dcgan", (9, 8, 1), 0, {}, "dcgan doubles images up from 4x4 or more, got 9x8; use even sides"),
        ("dcgan", (8, 8, 1), -1, {}, "classes must be >= 0, got classes=-1; use 0"),
        ("dcgan", (8, 8, 1), 0, {"kernel": 3}, "kernel must be 2 or 4, got kernel=3"),
        ("dcgan", (8, 8, 1), 0, {"latent": 0}, "latent must be >= 1"),
        ("dcgan", (8, 8, 1), 0, {"norm": "bach"}, "did you mean 'batch'"),
        ("mlp_gan", (8, 8, 1), 0, {"hidden": ()}, "hidden must name one width or more"),
        ("upsampling_gan", (6, 8, 1), 0, {}, "enlarges fourfold, got 6x8; use sides that 4 divides"),
        ("upsampling_gan", (8, 8, 1), 0, {"width": 5}, "width must be even, got width=5"),
        ("biggan_deep", (8, 8, 3), 10, {}, "square images of side 128, 256, 512, or 4 times a power of two"),
        ("biggan_deep", (128, 128, 3), 0, {}, "classes must be >= 1.*biggan_deep draws images of a class"),
        ("biggan_deep", (8, 8, 3), 2, {"multiples": (1, 2)}, "multiples must not grow"),
        ("biggan_deep", (8, 8, 3), 2, {"multiples": (2, 1), "width": 6}, "8 must divide width times each"),
        ("biggan_deep", (8, 8, 3), 2, {"multiples": (2, 1)}, r"attention must be 0 or one of \[4\]"),
        ("biggan_deep", (128, 128, 3), 2, {"truncation": 1.5}, "truncation must be <= 1"),
        ("stylegan2", (8, 8, 3), 2, {}, "stylegan2 knows of no classes, got classes=2"),
        ("stylegan2", (12, 12, 3), 0, {}, "square images of 4 times a power of two, got 12x12"),
    ],
)
def test_what_cannot_be_built_is_refused(name, shape, classes, args, message):
    with pytest.raises(InputError, match=message):
        GENERATORS[name](shape, classes, **args)
