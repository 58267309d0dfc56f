"""Windows, their sum and the product, against plain autodiff of the definitions, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.models.product import product
from jleak.models.windows import fold, windows

SIDES = (11, 9)


def plain(x, window, strides):
    """Every window, one slice each."""
    (kh, kw), (sh, sw), (h, w) = window, strides, x.shape[1:3]
    rows, columns = (h - kh) // sh + 1, (w - kw) // sw + 1
    places = [[x[:, sh * i : sh * i + kh, sw * j : sw * j + kw] for j in range(columns)] for i in range(rows)]
    return jnp.stack([jnp.stack(row, 1) for row in places], 1)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2), (4, 5)], ids=str)
@pytest.mark.parametrize("window", [(1, 1), (2, 3), (3, 3), (5, 5), (7, 4)], ids=str)
def test_windows_and_their_transpose(window, strides):
    """Also strides that leave pixels out: beyond the window's side, and at the end."""
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *SIDES, 3)))
        wanted = plain(x, window, strides)
        y = jnp.asarray(np.random.default_rng(1).normal(size=wanted.shape))
        (back,) = jax.vjp(lambda x: plain(x, window, strides), x)[1](y)
        np.testing.assert_array_equal(windows(x, window, strides), wanted)
        np.testing.assert_allclose(fold(y, strides, SIDES), back, atol=1e-14)
        (forth,) = jax.vjp(lambda y: fold(y, strides, SIDES), y)[1](x)
        np.testing.assert_array_equal(forth, wanted)


def scalar(cut, multiply):
    """Not linear in image or kernel, through windows and product twice."""

    def value(x, w):
        a = cut(x, (3, 3), (2, 1))
        z = jnp.tanh(multiply(a.reshape(-1, 27), w))
        return jnp.sum(jnp.sin(cut(z.reshape(2, 5, 7, 4), (2, 2), (1, 2))) ** 2)

    return value


ours, definition = scalar(windows, product), scalar(plain, jnp.matmul)


@pytest.mark.parametrize(
    "order", ["backward", "backward twice", "forward over backward", "backward of forward"]
)
def test_derivatives_of_every_kind(order):
    def derivative(value):
        def along(x, w):
            return jax.jvp(value, (x, w), (jnp.cos(x), jnp.cos(w)))[1]

        def steep(x, w):
            return sum(jnp.sum(g**2) for g in jax.grad(value, (0, 1))(x, w))

        kinds = {
            "backward": jax.grad(value, (0, 1)),
            "backward twice": jax.grad(steep, (0, 1)),
            "forward over backward": lambda x, w: jax.jvp(jax.grad(value, (0, 1)), (x, w), (x, w))[1],
            "backward of forward": jax.grad(along, (0, 1)),
        }
        return jax.jit(kinds[order])

    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        x, w = jnp.asarray(rng.normal(size=(2, *SIDES, 3))), jnp.asarray(rng.normal(size=(27, 4)))
        for got, wanted in zip(derivative(ours)(x, w), derivative(definition)(x, w), strict=True):
            assert abs(wanted).max() > 1e-3
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11 * float(abs(wanted).max()))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, 1)], ids=str)
def test_under_vmap_as_alone(axes):
    """Over images, kernels, or both, along any axis."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(3, 2, *SIDES, 3)), rng.normal(size=(3, 27, 4))
    moved = [u[0] if a is None else np.moveaxis(u, 0, a) for u, a in zip((x, w), axes, strict=True)]
    both = jax.jit(jax.vmap(jax.grad(ours, (0, 1)), axes))(*(jnp.asarray(u, jnp.float32) for u in moved))
    with jax.enable_x64(True):
        for i in range(3):
            one = (x[0 if axes[0] is None else i], w[0 if axes[1] is None else i])
            for got, wanted in zip(both, jax.grad(definition, (0, 1))(*map(jnp.asarray, one)), strict=True):
                np.testing.assert_allclose(got[i], wanted, rtol=0, atol=1e-4 * float(abs(wanted).max()))
