"""Functions made primitives of JAX, so that derivatives of every order keep the form that is fast."""

from collections.abc import Callable

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def primitive(name: str, fn: Callable[..., Array], batched: Callable | None = None) -> Primitive:
    """The primitive that `fn` computes, of arrays and keyword settings; without derivatives.

    Args:
      name: what programs show.
      fn: the function.
      batched: from the primitive to its rule under `jax.vmap`, (arrays, axes, **settings) -> (result, axis);
        without it the rule is that of `fn`.

    >>> double = primitive("double", lambda x: 2 * x)
    >>> double.bind(jax.numpy.ones(2)).tolist()
    [2.0, 2.0]
    """
    made = Primitive(name)
    made.def_impl(fn)

    @made.def_abstract_eval
    def shape(*arrays, **settings):
        arrays = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)
        out = jax.eval_shape(lambda *arrays: fn(*arrays, **settings), *arrays)
        return jax.core.ShapedArray(out.shape, out.dtype)

    def plain(arrays, axes, **settings):
        return jax.vmap(lambda *arrays: fn(*arrays, **settings), axes)(*arrays), 0

    batching.primitive_batchers[made] = batched(made) if batched else plain
    mlir.register_lowering(made, mlir.lower_fun(fn, multiple_results=False))
    return made


def transposes(first: Primitive, second: Primitive) -> None:
    """Make two linear primitives of one array each other's transpose; both take the same settings.

    >>> double, again = (primitive(name, lambda x: 2 * x) for name in ("double", "again"))
    >>> transposes(double, again)
    >>> jax.make_jaxpr(jax.grad(double.bind))(1.0).eqns[-1].primitive.name
    'again'
    """
    ad.deflinear2(first, lambda ct, _, **settings: [second.bind(ct, **settings)])
    ad.deflinear2(second, lambda ct, _, **settings: [first.bind(ct, **settings)])


def bilinear(product: Primitive, rows: Primitive, kernel: Primitive) -> None:
    """Make a product z = a w and its two transposes, (z, w) -> a and (a, z) -> w, each other's derivatives.

    The three are the sums over one letter of a_pk w_kf z_pf, so the transposes of each are the other two.

    >>> of_tensor = {"ab": jax.numpy.matmul, "zb": lambda z, w: z @ w.T, "az": lambda a, z: a.T @ z}
    >>> product, rows, kernel = (primitive(name, fn) for name, fn in of_tensor.items())
    >>> bilinear(product, rows, kernel)
    >>> a, w = jax.numpy.ones((2, 3)), jax.numpy.ones((3, 1))
    >>> jax.grad(lambda w: product.bind(a, w).sum())(w).tolist()
    [[2.0], [2.0], [2.0]]
    """
    ad.defbilinear(product, lambda ct, a, w: rows.bind(ct, w), lambda ct, a, w: kernel.bind(a, ct))
    ad.defbilinear(rows, lambda ct, z, w: product.bind(ct, w), lambda ct, z, w: kernel.bind(ct, z))
    ad.defbilinear(kernel, lambda ct, a, z: rows.bind(z, ct), lambda ct, a, z: product.bind(a, ct))
