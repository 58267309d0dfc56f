"""Winograd's convolution against XLA's in float64: values, derivatives, under vmap, and where it is taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jleak.models.conv import LAYOUT, convolution
from jleak.models.winograd import winograd, worth

PADDINGS = [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 0), (1, 3))]
SAME = PADDINGS[0]


def reference(x, w, padding):
    """XLA's own convolution."""
    return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=LAYOUT)


def arrays(sides, dtype=np.float32):
    """Images and a kernel."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, *sides, 5)), dtype), jnp.asarray(
        rng.normal(size=(3, 3, 5, 4)), dtype
    )


def near(got, wanted, rtol):
    """Equal to `rtol` of the largest entry."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


def derivatives(convolve, padding):
    """What attacks take: by image and kernel, of how far the kernel's gradient is from a given one."""

    def gradient(x, w):
        return jax.grad(lambda w: jnp.sum(jnp.tanh(convolve(x, w, padding)) ** 2))(w)

    def mismatch(x, w):
        return jnp.sum((gradient(x, w) - jnp.cos(jnp.arange(w.size)).reshape(w.shape)) ** 2)

    return jax.grad(mismatch, (0, 1))


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("sides", [(8, 8), (7, 10), (5, 3)], ids=str)
def test_values_and_second_derivatives_are_xlas(sides, padding):
    """In float64 to rounding; odd sides, outputs of one row, padding of one side."""
    with jax.enable_x64(True):
        x, w = arrays(sides, np.float64)
        near(winograd(x, w, padding), reference(x, w, padding), 1e-13)
        ours, theirs = (jax.jit(derivatives(f, padding)) for f in (winograd, reference))
        for got, wanted in zip(ours(x, w), theirs(x, w), strict=True):
            near(got, wanted, 1e-11)


def test_float32_keeps_all_but_a_digit():
    """Against float64, with the channels of real models, sums of 1,152 products."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(1, 16, 16, 128)), rng.normal(size=(3, 3, 128, 64))
    with jax.enable_x64(True):
        wanted = np.asarray(reference(jnp.asarray(x), jnp.asarray(w), SAME))
    x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    near(winograd(x, w, SAME), wanted, 2e-6)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, 2)], ids=str)
def test_under_vmap_as_alone(axes):
    """Over images, kernels or both, along any axis, of the derivatives that attacks take."""
    x, w = arrays((6, 7))
    many = [jnp.stack([u, u[::-1], -u]) for u in (x, w)]
    moved = [m[0] if a is None else jnp.moveaxis(m, 0, a) for m, a in zip(many, axes, strict=True)]
    together = jax.jit(jax.vmap(derivatives(winograd, SAME), axes))(*moved)
    for i in range(3):
        one = [m[0] if a is None else m[i] for m, a in zip(many, axes, strict=True)]
        for got, wanted in zip(together, derivatives(reference, SAME)(*one), strict=True):
            near(got[i], wanted, 1e-4)


def test_a_gradient_of_vmap_stays_made_of_the_same_primitives():
    """Differentiating what is already under vmap keeps the transforms."""
    x, w = arrays((6, 6))
    many = jnp.stack([x, -x])
    summed = lambda m: jnp.sum(jax.vmap(lambda x: winograd(x, w, SAME))(m) ** 2)  # noqa: E731
    names = {equation.primitive.name for equation in jax.make_jaxpr(jax.grad(summed))(many).eqns}
    assert {"winograd_image", "winograd_spread"} <= names
    near(jax.grad(summed)(many)[1], jax.grad(lambda x: jnp.sum(reference(x, w, SAME) ** 2))(-x), 1e-5)


@pytest.mark.parametrize(
    ("x", "kernel", "strides", "taken"),
    [
        ((1, 16, 16, 32), (3, 3, 32, 32), (1, 1), True),
        ((4, 8, 8, 32), (3, 3, 32, 32), (1, 1), True),  # a batch's positions count together
        ((1, 8, 8, 32), (3, 3, 32, 32), (1, 1), False),
        ((1, 16, 16, 3), (3, 3, 3, 32), (1, 1), False),
        ((1, 16, 16, 32), (3, 3, 32, 16), (1, 1), False),
        ((1, 32, 32, 32), (3, 3, 32, 32), (2, 2), False),
        ((1, 16, 16, 32), (5, 5, 32, 32), (1, 1), False),
    ],
    ids=str,
)
def test_it_is_taken_where_it_is_faster(x, kernel, strides, taken):
    """`worth` says so, `convolution("winograd")` obeys, and the result is XLA's."""
    assert worth(x, kernel, strides, SAME) is taken
    ones = jnp.ones(x), jnp.ones(kernel)
    found = jax.make_jaxpr(lambda x, w: convolution("winograd")(x, w, strides, SAME))(*ones)
    assert any(e.primitive.name == "winograd_products" for e in found.eqns) is taken
    wanted = lax.conv_general_dilated(*ones, strides, SAME, dimension_numbers=LAYOUT)
    near(convolution("winograd")(*ones, strides, SAME), wanted, 1e-5)
