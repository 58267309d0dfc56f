"""BatchNorm in its three modes, GroupNorm, and what a model with them tells of itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.test_util import check_grads

from jleak import tree
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.models.build import HEAD, model
from jleak.models.norm import BATCHNORMS, BatchNorm, moments, normalisation
from jleak.types import Batch

SHAPE, CLASSES = (5, 4, 2), 3


class _Tiny(nn.Module):
    """Two normalised layers in front of the classifier."""

    norm: str
    batchnorm: str

    @nn.compact
    def __call__(self, x):
        layer = normalisation(self.norm, self.batchnorm)
        x = nn.sigmoid(layer("norm0")(nn.Dense(4, name="dense0")(x)))
        x = nn.sigmoid(layer("norm1")(nn.Dense(6, name="dense1")(x)))
        return nn.Dense(CLASSES, name=HEAD)(x.reshape(x.shape[0], -1))


@functools.cache
def tiny(batchnorm="eval", norm="batch"):
    return model(_Tiny(norm, batchnorm), SHAPE, CLASSES)


@functools.cache
def variables():
    """Parameters with running statistics that are not those of any batch."""
    params = tiny().init(jax.random.key(0))
    noise = np.random.default_rng(0)
    params["batch_stats"] = jax.tree.map(
        lambda u: jnp.asarray(noise.uniform(0.5, 2, u.shape), jnp.float32), params["batch_stats"]
    )
    scaled = jax.tree.map(lambda u: u + jnp.asarray(noise.normal(0, 0.3, u.shape), u.dtype), params["params"])
    return {**params, "params": scaled}


def images(n=3, seed=1):
    return jax.random.uniform(jax.random.key(seed), (n, *SHAPE))


@functools.cache
def compiled(batchnorm):
    """(logits, statistics, features, gradient of the cross entropy) at (variables, images)."""
    net = tiny(batchnorm)
    client = fedsgd(net, cross_entropy)

    def everything(params, x):
        y = jnp.arange(len(x)) % CLASSES
        gradient = client(jax.random.key(0), params, Batch(x, y))
        return net.apply(params, x), net.statistics(params, x), net.features(params, x), gradient

    return jax.jit(everything)


def oracle(params, x, batch):
    """Logits and statistics in double precision."""
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params)
    h, told = np.asarray(x, np.float64), {}
    for dense, norm in (("dense0", "norm0"), ("dense1", "norm1")):
        h = h @ w["params"][dense]["kernel"] + w["params"][dense]["bias"]
        told[norm] = {"mean": h.mean((0, 1, 2)), "var": h.var((0, 1, 2))}
        known = told[norm] if batch else w["batch_stats"][norm]
        h = (h - known["mean"]) / np.sqrt(known["var"] + 1e-5)
        h = 1 / (1 + np.exp(-h * w["params"][norm]["scale"] - w["params"][norm]["bias"]))
    h = h.reshape(len(h), -1)
    return h @ w["params"][HEAD]["kernel"] + w["params"][HEAD]["bias"], told


@pytest.mark.parametrize("batchnorm", BATCHNORMS)
def test_logits_and_statistics_are_the_formulas(batchnorm):
    """Also by running statistics, the batch's are told."""
    params, x = variables(), images()
    logits, statistics, features, _ = compiled(batchnorm)(params, x)
    wanted, told = oracle(params, x, batchnorm != "eval")
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), statistics, told)
    head = params["params"][HEAD]
    np.testing.assert_allclose(features @ head["kernel"] + head["bias"], wanted, rtol=1e-4, atol=1e-5)


def test_new_running_statistics_are_0_and_1():
    for layer in tiny().init(jax.random.key(0))["batch_stats"].values():
        assert not layer["mean"].any() and (layer["var"] == 1).all()


def test_running_statistics_set_to_the_batchs_make_eval_batch():
    params, x = variables(), images()
    logits, statistics, _, gradient = compiled("batch")(params, x)
    same, told, _, other = compiled("eval")({**params, "batch_stats": statistics}, x)
    np.testing.assert_allclose(same, logits, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), told, statistics)
    # equal values, but only one of the gradients runs through the statistics
    assert tree.cosine(gradient["dense0"], other["dense0"]) < 0.99
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), gradient[HEAD], other[HEAD]
    )


def test_by_the_batch_a_shift_in_front_of_the_norm_has_no_gradient():
    """The mean takes the bias away again: its gradient is what betrays the mode to an attacker."""
    bias = {mode: compiled(mode)(variables(), images())[3]["dense0"]["bias"] for mode in ("eval", "batch")}
    assert np.abs(bias["batch"]).max() < 1e-6 < 1e-3 < np.abs(bias["eval"]).max()


def test_by_the_batch_images_depend_on_each_other_and_by_running_statistics_not():
    x = images()
    for mode, dependent in (("eval", False), ("batch", True)):
        one, other = (compiled(mode)(variables(), u)[0][0] for u in (x, x.at[1].set(0.0)))
        assert np.allclose(one, other, atol=1e-5) != dependent


def test_a_model_tells_what_it_is_told_of_sending_and_has_statistics_only_with_batchnorm():
    sent = model(_Tiny("batch", "batch+sent"), SHAPE, CLASSES, sends_statistics=True)
    assert sent.sends_statistics and not tiny("batch").sends_statistics
    assert tiny(norm="group").statistics is None and tiny(norm="none").statistics is None


def test_apply_leaves_the_variables_as_they_are():
    params = variables()
    before = jax.tree.map(np.array, params)
    tiny("batch").apply(params, images())
    tiny("batch").statistics(params, images())
    jax.tree.map(np.testing.assert_array_equal, params, before)


@pytest.mark.parametrize("batch", [False, True])
def test_derivatives_of_first_and_second_order_are_differences(batch):
    with jax.enable_x64(True):
        noise = np.random.default_rng(1)
        x = jnp.asarray(noise.normal(1, 2, (2, 2, 1, 2)))
        params = {
            "params": {"scale": jnp.array([1.5, -0.5]), "bias": jnp.array([0.1, 0.2])},
            "batch_stats": {"mean": jnp.array([0.5, 1.0]), "var": jnp.array([2.0, 0.7])},
        }
        check_grads(lambda x: jnp.sin(BatchNorm(batch).apply(params, x)), (x,), order=2, modes=["rev"])


def test_second_derivatives_are_finite_where_the_variance_is_0():
    """Black images, at which attacks may start."""
    net, params = tiny("batch"), variables()
    client = fedsgd(net, cross_entropy)

    def length(x):
        return tree.norm(client(jax.random.key(0), params, Batch(x, jnp.array([0, 1, 2]))))

    slopes = jax.jit(jax.vmap(jax.grad(length)))(jnp.stack([jnp.zeros((3, *SHAPE)), images()]))
    assert np.isfinite(slopes).all() and slopes[1].any()


def test_under_vmap_every_batch_has_its_own_statistics():
    both = jnp.stack([images(seed=1), images(seed=2)])
    logits, statistics, _, _ = jax.jit(jax.vmap(compiled("batch"), (None, 0)))(variables(), both)
    for i in range(2):
        mine = jax.tree.map(lambda u: u[i], (logits, statistics))  # noqa: B023
        alone = compiled("batch")(variables(), both[i])[:2]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, alone)


def test_one_value_a_channel_is_refused_only_where_it_is_normalised_by():
    x, layer = jnp.ones((1, 1, 1, 4)), {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
    params = {"params": layer, "batch_stats": {"mean": jnp.zeros(4), "var": jnp.ones(4)}}
    with pytest.raises(InputError, match="one value a channel.*larger batch, batchnorm=eval or norm=group"):
        BatchNorm(True).apply(params, x)
    assert BatchNorm(True).apply(params, jnp.ones((2, 1, 1, 4))).shape == (2, 1, 1, 4)
    assert BatchNorm(False).apply(params, x).shape == x.shape


def test_moments_do_not_lose_a_small_variance_beside_a_large_mean():
    x = np.random.default_rng(2).normal(1000, 0.1, (500, 3)).astype(np.float32)
    np.testing.assert_allclose(moments(jnp.asarray(x))[1], x.astype(np.float64).var(0), rtol=1e-3)


@pytest.mark.parametrize(("channels", "groups"), [(4, 4), (48, 24), (64, 32)])
def test_group_norm_is_the_formula_within_each_image(channels, groups):
    noise = np.random.default_rng(3)
    x = noise.normal(1, 2, (2, 3, 2, channels)).astype(np.float32)
    scale, bias = noise.normal(1, 1, (2, channels)).astype(np.float32)
    layer = normalisation("group")("norm0")
    got = layer.apply({"params": {"group": {"scale": scale, "bias": bias}}}, x)
    split = x.astype(np.float64).reshape(2, 6, groups, channels // groups)
    mean, var = (f((1, 3), keepdims=True) for f in (split.mean, split.var))
    wanted = ((split - mean) / np.sqrt(var + 1e-5)).reshape(x.shape) * scale + bias
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_groups_of_one_value_are_refused():
    with pytest.raises(InputError, match="4 groups of one value.*use larger images or another model"):
        normalisation("group")("norm0").init(jax.random.key(0), jnp.ones((2, 1, 1, 4)))


@pytest.mark.parametrize(
    ("norm", "batchnorm", "message"),
    [
        ("layer", "eval", "unknown norm 'layer'; known: batch, group, none"),
        ("batch", "evil", "unknown batchnorm 'evil'; did you mean 'eval'"),
        ("group", "batch", "got norm='group'; use norm=batch"),
        ("none", "batch\\+sent", "got norm='none'; use norm=batch"),
    ],
)
def test_settings_that_cannot_be_are_refused(norm, batchnorm, message):
    with pytest.raises(InputError, match=message):
        normalisation(norm, batchnorm.replace("\\", ""))
