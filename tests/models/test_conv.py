"""The library's own convolution agrees with XLA's, forward and in the derivatives that attacks take."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jleak.check import InputError
from jleak.models.conv import FORMS, LAYOUT, convolution, im2col

SIZE = (2, 7, 9, 3)  # n h w c, not square
PADDINGS = ["SAME", "VALID", ((2, 0), (1, 3))]
KERNELS = [(1, 1), (2, 2), (3, 3), (5, 5), (3, 2)]
STRIDES = [(1, 1), (2, 2), (3, 3), (1, 2)]


def case(kernel):
    k_x, k_w = jax.random.split(jax.random.key(0))
    return jax.random.normal(k_x, SIZE), jax.random.normal(k_w, (*kernel, SIZE[3], 4))


def reference(x, w, strides, padding):
    """XLA's own convolution."""
    return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=LAYOUT)


def near(got, wanted, rtol):
    """Equal to `rtol` of the largest entry."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


def slow_oracle(x, w, strides, pads):
    """Convolution by its definition, in double precision."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    w = np.asarray(w, np.float64)
    (kh, kw), (sh, sw) = w.shape[:2], strides
    rows, columns = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    out = np.zeros((len(x), rows, columns, w.shape[3]))
    for i, j in np.ndindex(rows, columns):
        out[:, i, j] = np.tensordot(x[:, sh * i : sh * i + kh, sw * j : sw * j + kw], w, 3)
    return out


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_forward_is_xlas_and_the_definition(kernel, padding):
    x, w = case(kernel)
    programs = jax.jit(lambda x, w: [[f(x, w, s, padding) for f in (im2col, reference)] for s in STRIDES])
    for strides, (got, wanted) in zip(STRIDES, programs(x, w), strict=True):
        assert got.shape == wanted.shape
        near(got, wanted, 1e-5)
        pads = (
            lax.padtype_to_pads(SIZE[1:3], kernel, strides, padding) if isinstance(padding, str) else padding
        )
        near(got, slow_oracle(x, w, strides, pads), 1e-5)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def second_order(convolve, x, w, strides, padding):
    """The derivatives by image and kernel of how far the kernel's gradient is from a given one."""

    def gradient(x, w):
        return jax.grad(lambda w: jnp.sum(jnp.tanh(convolve(x, w, strides, padding)) ** 2))(w)

    def mismatch(x, w):
        return jnp.sum((gradient(x, w) - jnp.cos(jnp.arange(w.size)).reshape(w.shape)) ** 2)

    return jax.grad(mismatch, (0, 1))(x, w)


@pytest.mark.parametrize(("kernel", "padding"), list(itertools.product(KERNELS, PADDINGS)), ids=str)
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 3)], ids=str)
def test_second_order_gradients_are_xlas(strides, kernel, padding):
    """XLA's in float64: in float32 its padding beyond the kernel reads out of bounds (openxla/xla#48713)."""
    x, w = case(kernel)
    with jax.enable_x64(True):
        double = [jnp.asarray(np.asarray(u), jnp.float64) for u in (x, w)]
        wanted = [np.asarray(u) for u in second_order(reference, *double, strides, padding)]
    for got, exact in zip(second_order(im2col, x, w, strides, padding), wanted, strict=True):
        assert got.dtype == jnp.float32 and exact.dtype == np.float64
        assert np.abs(exact).max() > 0
        near(got, exact, 1e-4)


def test_under_vmap_and_scan_as_alone():
    """Where attacks live: over candidate images, inside a loop."""
    _, w = case((3, 3))
    images = jax.random.normal(jax.random.key(2), (4, *SIZE))

    def looped(x):
        return lax.scan(
            lambda u, _: (u + im2col(u, w, (1, 1), "SAME")[..., :3] / 50, None), x, None, length=3
        )[0]

    together = jax.jit(jax.vmap(looped))(images)
    for i in range(4):
        alone = images[i]
        for _ in range(3):
            alone = alone + reference(alone, w, (1, 1), "SAME")[..., :3] / 50
        near(together[i], alone, 1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_takes_the_same_call(form):
    x, w = case((3, 3))
    near(convolution(form)(x, w, (2, 2), "SAME"), reference(x, w, (2, 2), "SAME"), 1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_dilation": 2},
        {"input_dilation": 2, "padding": ((1, 1), (2, 0))},
        {"feature_group_count": 3},
        {"padding": "CIRCULAR"},
        {"strides": 2},
    ],
    ids=str,
)
def test_inside_a_flax_layer_every_option_is_kept(options):
    """What `im2col` does not write goes to XLA."""
    x, _ = case((3, 3))
    plain = nn.Conv(6, (3, 3), **options)
    ours = nn.Conv(6, (3, 3), conv_general_dilated=convolution("im2col"), **options)
    params = plain.init(jax.random.key(0), x)
    near(ours.apply(params, x), plain.apply(params, x), 1e-5)


def test_auto_is_ours_where_that_is_measured_and_xlas_own_elsewhere(monkeypatch):
    x, w = case((3, 3))

    def primitives(backend):
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        program = jax.make_jaxpr(lambda x: convolution("auto")(x, w, (1, 1), "SAME"))(x)
        return {equation.primitive.name for equation in program.eqns}

    assert "conv_general_dilated" not in primitives("cpu")
    assert "conv_general_dilated" not in primitives("gpu")
    assert "conv_general_dilated" in primitives("tpu")


def test_unknown_form_is_refused():
    with pytest.raises(InputError, match="unknown conv 'im2cols'; did you mean 'im2col'"):
        convolution("im2cols")
