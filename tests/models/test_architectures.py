"""The architectures against NumPy in double precision, written from the papers and not from the library."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads
from numpy.lib.stride_tricks import sliding_window_view

from jleak import models
from jleak.models.pool import max_pool


def conv(w, x, stride=1):
    kernel = w["kernel"]
    k = len(kernel)
    side = k // 2
    windows = sliding_window_view(np.pad(x, ((0, 0), (side, side), (side, side), (0, 0))), (k, k), (1, 2))
    return np.einsum("nijckl,klcf->nijf", windows[:, ::stride, ::stride], kernel) + w.get("bias", 0)


def pool(x, k, stride, side=0):
    x = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)), constant_values=-np.inf)
    return sliding_window_view(x, (k, k), (1, 2))[:, ::stride, ::stride].max((4, 5))


def batch_norm(w, known, x):
    return (x - known["mean"]) / np.sqrt(known["var"] + 1e-5) * w["scale"] + w["bias"]


def layer_norm(w, x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * w["scale"] + w["bias"]


def dense(w, x):
    return x @ w["kernel"] + w["bias"]


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def resnet(blocks, *, large=False):
    def forward(w, known, x):
        def layer(path, name, x, stride=1):
            here, there = w, known
            for step in path:
                here, there = here[step], there[step]
            return batch_norm(here[f"norm{name}"], there[f"norm{name}"], conv(here[f"conv{name}"], x, stride))

        x = relu(layer((), "0", x, 2 if large else 1))
        x = pool(x, 3, 2, 1) if large else x
        for stage, count in enumerate(blocks):
            for i in range(count):
                path, stride = (f"stage{stage}_block{i}",), 2 if stage > 0 and i == 0 else 1
                h = layer(path, "1", relu(layer(path, "0", x, stride)))
                if "conv_shortcut" in w[path[0]]:
                    x = layer(path, "_shortcut", x, stride)
                elif stride == 2:
                    x = np.concatenate([x[:, ::2, ::2], 0 * x[:, ::2, ::2]], -1)
                x = relu(x + h)
        return dense(w["head"], x.mean((1, 2)))

    return forward


def convolutional(pooled, k, *, flat):
    """3x3 convolutions, with a pooling after those whose numbers are `pooled`."""

    def forward(w, known, x):
        for i in range(sum(name.startswith("conv") for name in w)):
            x = conv(w[f"conv{i}"], x)
            x = relu(batch_norm(w[f"norm{i}"], known[f"norm{i}"], x) if known else x)
            x = pool(x, k, k) if i in pooled else x
        return dense(w["head"], x.reshape(len(x), -1) if flat else x.mean((1, 2)))

    return forward


def alexnet(w, known, x):
    for i in range(5):
        x = relu(conv(w[f"conv{i}"], x))
        x = pool(x, 2, 2) if i in (0, 1, 4) else x
    x = relu(dense(w["dense0"], x.reshape(len(x), -1)))
    return dense(w["head"], relu(dense(w["dense1"], x)))


def vit(w, known, x):
    """Patches of 4, two heads, one token at a time."""
    heads, tokens = 2, []
    for i in range(0, x.shape[1], 4):
        for j in range(0, x.shape[2], 4):
            tokens.append(dense(w["embed"], x[:, i : i + 4, j : j + 4].reshape(len(x), -1)))
    t = np.stack([np.repeat(w["token"][:, 0], len(x), 0), *tokens], 1) + w["position"]
    for name in sorted(name for name in w if name.startswith("block")):
        b = w[name]
        q, k, v = np.split(dense(b["query_key_value"], layer_norm(b["norm0"], t)), 3, -1)
        mixed = []
        for one in zip(*(np.split(u, heads, -1) for u in (q, k, v)), strict=True):
            scores = one[0] @ one[1].swapaxes(1, 2) / math.sqrt(one[0].shape[-1])
            mixed.append(softmax(scores) @ one[2])
        t = t + dense(b["mix"], np.concatenate(mixed, -1))
        t = t + dense(b["dense1"], np.tanh(dense(b["dense0"], layer_norm(b["norm1"], t))))
    return dense(w["head"], layer_norm(w["norm"], t)[:, 0])


ORACLES = {
    "resnet20": (models.resnet20, {"width": 3}, (7, 6, 2), resnet((3, 3, 3))),
    "resnet32": (models.resnet32, {"width": 2}, (6, 6, 1), resnet((5, 5, 5))),
    "resnet18": (models.resnet18, {"width": 3}, (9, 8, 2), resnet((2, 2, 2, 2))),
    "resnet18 large": (
        models.resnet18,
        {"width": 2, "stem": "large"},
        (33, 30, 1),
        resnet((2, 2, 2, 2), large=True),
    ),
    "convnet64": (models.convnet64, {"width": 2}, (13, 19, 2), convolutional((5, 7), 3, flat=True)),
    "vgg11": (models.vgg11, {"width": 2}, (32, 65, 1), convolutional((0, 1, 3, 5, 7), 2, flat=False)),
    "vgg13": (
        models.vgg13,
        {"width": 2, "norm": "batch"},
        (32, 32, 2),
        convolutional((1, 3, 5, 7, 9), 2, flat=False),
    ),
    "alexnet": (models.alexnet, {"width": 2, "hidden": 7}, (9, 17, 2), alexnet),
    "vit": (
        models.vit,
        {"width": 6, "heads": 2, "depth": 2, "mlp": 5, "activation_fn": "tanh"},
        (8, 12, 2),
        vit,
    ),
}


def drawn(shape, path, noise):
    """Random values of a size that keeps the signal's; variances positive."""
    if path[-1].key == "kernel":
        return noise.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape)
    return noise.uniform(0.5, 1.5, shape) if path[-1].key in ("var", "scale") else noise.normal(0, 0.2, shape)


@functools.cache
def case(name):
    """(model, its variables, two images), nothing of them at its initial value."""
    factory, settings, shape, _ = ORACLES[name]
    model = factory(shape, 4, **settings)
    noise = np.random.default_rng(0)
    variables = jax.tree_util.tree_map_with_path(
        lambda path, u: drawn(u.shape, path, noise), jax.eval_shape(model.init, jax.random.key(0))
    )
    return model, variables, noise.uniform(0, 1, (2, *shape))


@pytest.mark.parametrize("name", ORACLES)
def test_logits_are_the_papers(name):
    model, variables, x = case(name)
    wanted = ORACLES[name][3](variables["params"], variables.get("batch_stats"), x)
    single = jax.tree.map(lambda u: jnp.asarray(u, jnp.float32), (variables, x))
    got = jax.jit(model.apply)(*single)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3 * np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("shape", "stem", "kernel"),
    [
        ((63, 64, 1), "auto", 3),
        ((64, 64, 1), "auto", 7),
        ((64, 64, 1), "small", 3),
        ((32, 32, 1), "large", 7),
    ],
)
def test_the_stem_of_resnet18_follows_the_image_or_the_user(shape, stem, kernel):
    model = models.resnet18(shape, 10, width=2, stem=stem)
    assert jax.eval_shape(model.init, jax.random.key(0))["params"]["conv0"]["kernel"].shape[0] == kernel


def test_the_statistics_of_a_resnet_are_its_first_layers_output():
    """By NumPy, of what the first convolution puts out."""
    model, variables, x = case("resnet20")
    single = jax.tree.map(lambda u: jnp.asarray(u, jnp.float32), (variables, x))
    found = jax.jit(model.statistics)(*single)
    first = conv(variables["params"]["conv0"], x)
    np.testing.assert_allclose(found["norm0"]["mean"], first.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["norm0"]["var"], first.var((0, 1, 2)), rtol=1e-4, atol=1e-5)
    assert jax.tree.structure(found) == jax.tree.structure(variables["batch_stats"])


@pytest.mark.parametrize("sizes", [(2, 2, 0), (3, 3, 0), (3, 2, 1), (2, 1, 0)], ids=str)
def test_max_pooling_is_flaxs_forward_and_in_its_first_derivative(sizes):
    window, stride, padding = sizes
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))  # no two values are equal

    def ours(x):
        return max_pool(x, window, stride, padding)

    def flaxs(x):
        return nn.max_pool(x, (window,) * 2, (stride,) * 2, ((padding,) * 2,) * 2)

    def value_and_slope(f, x):
        return f(x), jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))(x)

    (one, slope), (other, wanted) = jax.jit(lambda x: [value_and_slope(f, x) for f in (ours, flaxs)])(x)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-7)


def test_max_pooling_differentiates_twice_under_vmap():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (2, 1, 4, 5, 1))
        check_grads(jax.vmap(lambda x: jnp.sin(max_pool(x, 3, 2, 1))), (x,), order=2, modes=["rev"], eps=1e-5)


def test_among_equal_values_the_derivative_is_shared():
    """It sums to what comes back, also at black images with padding."""
    slope = jax.grad(lambda x: max_pool(x, 3, 2, 1).sum())(jnp.zeros((1, 6, 6, 1)))
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope.sum(), 9, rtol=1e-6)


def test_he_is_normal_by_the_fan_out_and_its_classifier_uniform_by_the_fan_in():
    model = models.convnet((4, 4, 1), 200, width=100, init="he")
    params = jax.jit(model.init)(jax.random.key(0, impl="unsafe_rbg"))["params"]
    kernel, head = params["conv1"]["kernel"], params["head"]["kernel"]
    np.testing.assert_allclose(kernel.std(), math.sqrt(2 / (9 * 200)), rtol=0.01)
    np.testing.assert_allclose((kernel**4).mean() / kernel.var() ** 2, 3, rtol=0.02)  # that of a normal
    np.testing.assert_allclose(np.abs(head).max(), 1 / math.sqrt(len(head)), rtol=0.01)
    assert not params["conv1"]["bias"].any()
