"""Double precision for one computation, in a process that stays in single precision.

`jax.enable_x64` as a context while tracing: the program holds float64 operations, and what surrounds it does
not change. Tested on JAX 0.10.2 inside outer `jit`, `vmap` and `lax.map`; of the operations that are needed
here only `argmin` and `argmax` do not lower there (their reducer is built outside of the context), so
`smallest` stands in. The function must not be differentiated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def in_double(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` computed in float64: float arguments are widened, float results narrowed to the first one's type.

    >>> third = in_double(lambda x: ((1.0 + x / 3.0) - 1.0) * 3.0)
    >>> float(third(jnp.float32(1e-10))), third(jnp.float32(1.0)).dtype
    (1.000000082740371e-10, dtype('float32'))
    """

    def double(*args):
        narrow = next(
            leaf.dtype for leaf in jax.tree.leaves(args) if jnp.issubdtype(leaf.dtype, jnp.floating)
        )
        whole = jnp.arange(1).dtype
        with jax.enable_x64(True):
            found = fn(*jax.tree.map(lambda u: cast(u, jnp.float64, u.dtype), args))
            return jax.tree.map(lambda u: cast(u, narrow, whole), found)

    return double


def loop(going: Callable[[Any], Array], body: Callable[[Any], Any], start: Any) -> Any:
    """`lax.while_loop` whose body may compute `in_double`, also under `vmap`.

    There the body is traced once and read again by the batching, whose constants must not lose their
    precision: so that is done in double precision, and the tracing in the process's own.

    >>> third = in_double(lambda x: ((1.0 + x / 3.0) - 1.0) * 3.0)
    >>> halve = jax.vmap(lambda x: loop(lambda x: x > 1e-9, lambda x: 0.5 * third(x), x))
    >>> halve(jnp.array([1.0, 1e-10])).tolist()[1] == float(jnp.float32(1e-10))
    True
    """
    outside = jax.config.jax_enable_x64

    def traced(fn):
        def inner(carry):
            with jax.enable_x64(outside):
                return fn(carry)

        return inner

    with jax.enable_x64(True):
        return jax.lax.while_loop(traced(going), traced(body), start)


def cast(u: Array, floats: Any, ints: Any) -> Array:
    """`u` in the type for its kind; truth values stay."""
    if jnp.issubdtype(u.dtype, jnp.floating):
        return u.astype(floats)
    return u.astype(ints) if jnp.issubdtype(u.dtype, jnp.integer) else u


def smallest(values: Float[Array, " n"]) -> Int[Array, ""]:
    """The index of the least value, NaN counting as the largest: `argmin` as it lowers in double precision.

    >>> int(smallest(jnp.array([2.0, jnp.nan, 1.0])))
    2
    """
    return jnp.argsort(values)[0]
