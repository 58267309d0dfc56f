"""Transposed convolution against XLA's own and against its definition; resizing against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax import lax

from jleak.priors.resize import TAPS, filtered, nearest, smooth
from jleak.priors.transposed import doubled, spread

X = jax.random.normal(jax.random.key(0), (2, 5, 3, 6))


def kernel_of(side):
    return jax.random.normal(jax.random.key(side), (6, side, side, 7))


def xla(x, kernel):
    """PyTorch's ConvTranspose2d of stride 2 and padding (k - 2) / 2, by XLA."""
    side = kernel.shape[1]
    pad = side - 1 - (side - 2) // 2
    flipped = jnp.transpose(kernel, (1, 2, 0, 3))[::-1, ::-1]
    return lax.conv_transpose(x, flipped, (2, 2), padding=[(pad, pad)] * 2, precision="highest")


def near(got, wanted, tolerance=1e-6):
    """Equal to `tolerance` of the largest entry."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def derivatives(form, x, kernel):
    """Value, gradients, and the gradients of their square length."""

    def loss(x, kernel):
        return jnp.sum(jnp.tanh(form(x, kernel)))

    def second(x, kernel):
        return sum(jnp.sum(jnp.square(g)) for g in jax.grad(loss, (0, 1))(x, kernel))

    return form(x, kernel), *jax.grad(loss, (0, 1))(x, kernel), *jax.grad(second, (0, 1))(x, kernel)


@pytest.mark.parametrize("side", [2, 4])
def test_it_is_the_transposed_convolution_with_its_derivatives(side):
    kernel = 0.2 * kernel_of(side)
    got, wanted = (jax.jit(derivatives, static_argnums=0)(form, X, kernel) for form in (doubled, xla))
    assert got[0].shape == (2, 10, 6, 7)
    for one, other in zip(got, wanted, strict=True):
        near(one, other, 3e-6)
    near(got[0], wanted[0], 1e-6)


@pytest.mark.parametrize("side", [2, 3, 4])
def test_every_pixel_spreads_a_window(side):
    x, kernel = np.asarray(X, np.float64), np.asarray(kernel_of(side), np.float64)
    out = np.zeros((2, 2 * 4 + side, 2 * 2 + side, 7))
    for i in range(5):
        for j in range(3):
            window = np.einsum("nc,cabf->nabf", x[:, i, j], kernel)
            out[:, 2 * i : 2 * i + side, 2 * j : 2 * j + side] += window
    near(spread(X, kernel_of(side)), out, 1e-6)


def test_candidates_are_more_images():
    kernels = jnp.stack([kernel_of(4), 2 * kernel_of(4)])
    many = jax.vmap(doubled)(jnp.stack([X, X]), kernels)
    near(many[1], 2 * doubled(X, kernel_of(4)))
    near(jax.vmap(doubled, (0, None))(X[:, None], kernel_of(4))[:, 0], doubled(X, kernel_of(4)))


def test_resizing_agrees_with_scipy():
    x = np.asarray(X[0, :, :, 0], np.float64)
    np.testing.assert_array_equal(nearest(X)[0, :, :, 0], np.asarray(X[0, :, :, 0]).repeat(2, 0).repeat(2, 1))
    padded = np.pad(x, ((2, 1), (2, 1)))
    near(filtered(X, 2, 1)[0, :, :, 0], scipy.signal.convolve2d(padded, np.outer(TAPS, TAPS), "valid"))
    rows = scipy.signal.upfirdn(TAPS, x, up=2, axis=0)[1:11]
    near(smooth(X)[0, :, :, 0], scipy.signal.upfirdn(TAPS, rows, up=2, axis=1)[:, 1:7])
    assert sum(TAPS) == 2  # what doubling leaves room for
