"""The product of patches and a kernel, whose derivatives of every order are products that lie well.

With rows a (p, k), a kernel w (k, f) and outputs z (p, f), the three sums over one letter of a_pk w_kf z_pf
are the product itself and its two transposes, and the transposes of each are the other two. Autodiff knows
that too, but leaves results transposed in second derivatives; XLA on a CPU then takes its slower routine and
copies element by element. The barriers keep it from moving the transposes of the kernel's derivative back.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


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


def _primitive(name: str, fn) -> Primitive:
    """The primitive that `fn` computes, of two arrays."""
    made = Primitive(name)
    made.def_impl(fn)

    @made.def_abstract_eval
    def shape(*arrays):
        out = jax.eval_shape(fn, *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays))
        return jax.core.ShapedArray(out.shape, out.dtype)

    def batched(arrays, axes):
        return jax.vmap(fn, axes)(*arrays), 0

    batching.primitive_batchers[made] = batched
    mlir.register_lowering(made, mlir.lower_fun(fn, multiple_results=False))
    return made


_outputs = _primitive("outputs", jnp.matmul)
_rows = _primitive("rows", _of_rows)
_kernel = _primitive("kernel", _of_kernel)
ad.defbilinear(_outputs, lambda ct, a, w: _rows.bind(ct, w), lambda ct, a, w: _kernel.bind(a, ct))
ad.defbilinear(_rows, lambda ct, z, w: _outputs.bind(ct, w), lambda ct, z, w: _kernel.bind(ct, z))
ad.defbilinear(_kernel, lambda ct, a, z: _rows.bind(z, ct), lambda ct, a, z: _outputs.bind(a, ct))
