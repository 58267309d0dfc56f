"""The product of patches and a kernel, whose derivatives of every order are products that lie well.

With rows a (p, k), a kernel w (k, f) and outputs z (p, f), the three sums over one letter of a_pk w_kf z_pf
are the product itself and its two transposes, and the transposes of each are the other two. Autodiff knows
that too, but leaves results transposed in second derivatives; XLA on a CPU then takes its slower routine and
copies element by element. The barriers keep it from moving the transposes of the kernel's derivative back.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jleak.models.primitive import bilinear, primitive


def product(a: Float[Array, "p k"], w: Float[Array, "k f"]) -> Float[Array, "p f"]:
    """a w.

    >>> product(jnp.ones((2, 3)), jnp.ones((3, 1))).tolist()
    [[3.0], [3.0]]
    """
    return _outputs.bind(a, w)


def _of_rows(z, w):  # without a barrier: it would copy a shared kernel in every step
    return z @ w.T


def _of_kernel(a, z):
    return lax.optimization_barrier(lax.optimization_barrier(z.T) @ a).T


_outputs = primitive("outputs", jnp.matmul)
_rows = primitive("rows", _of_rows)
_kernel = primitive("kernel", _of_kernel)
bilinear(_outputs, _rows, _kernel)
