"""How far one update is from another: (update, update) -> scalar, zero where they agree.

The term of an optimisation attack that matches the dummy batch's update to the one observed.
"""

import functools
import inspect
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jleak import tree
from jleak.check import InputError, number, one_of, whole
from jleak.types import Distance, Model, Params


def l2(a: Params, b: Params) -> Float[Array, ""]:
    """Squared Euclidean distance: sum over tensors t of ||a_t - b_t||_2^2.

    Zhu, Liu & Han, Deep Leakage from Gradients, NeurIPS 2019, Algorithm 1: a sum, with neither a
    root nor a mean. Up to a constant it is the negative log likelihood of the update under a
    Gaussian defense.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(l2({"w": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}, {"w": jnp.zeros(2), "b": jnp.zeros(())}))
    14.0
    """
    difference = tree.difference(a, b)
    return tree.dot(difference, difference)


def mean_l2(a: Params, b: Params) -> Float[Array, ""]:
    """`l2` over the number of tensors: D1 as GGL's reference code has it (Li et al., CVPR 2022, eq. 4).

    >>> print(mean_l2({"w": jnp.ones(2), "b": jnp.array(2.0)}, {"w": jnp.zeros(2), "b": jnp.zeros(())}))
    3.0
    """
    return l2(a, b) / len(jax.tree.leaves(b))


def relative(a: Params, b: Params) -> Float[Array, ""]:
    """Squared distance of every kernel relative to its own: sum over t of ||a_t - b_t||^2 / ||b_t||^2.

    Over tensors of two axes or more; biases, and kernels that are zero in b, do not count. Ours: gradients
    of different layers differ by orders of magnitude, so that `l2` sees the largest layer alone and `cosine`
    little more. It conditions the search for the images better than either (`bench/NOTES.md`).

    Args:
      a, b: updates of one model; b is the one observed.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> a, b = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}, {"w": 2 * jnp.ones((2, 2)), "b": jnp.zeros(2)}
    >>> print(relative(a, b))
    0.25
    """
    tree.check_match(a, b)
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    total = jnp.zeros(())
    for got, seen in pairs:
        if jnp.ndim(seen) > 1:
            size = jnp.sum(jnp.square(seen))
            total += jnp.sum(jnp.square(got - seen)) * jnp.where(
                size > 0, 1 / jnp.where(size > 0, size, 1), 0
            )
    return total


def l1(a: Params, b: Params) -> Float[Array, ""]:
    """Absolute distance: sum over tensors t of ||a_t - b_t||_1.

    Up to a constant the negative log likelihood of the update under a Laplace defense (Balunovic,
    Dimitrov, Staab & Vechev, Bayesian Framework for Gradient Leakage, ICLR 2022). The derivative is
    taken as 0 where two entries agree.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(l1({"w": jnp.array([1.0, -2.0])}, {"w": jnp.zeros(2)}))
    3.0
    """
    sums = [jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree.difference(a, b))]
    return sum(sums, jnp.zeros(()))


def cosine(a: Params, b: Params) -> Float[Array, ""]:
    """Cosine distance over the whole tree: 1 - <a, b> / (||a|| ||b||), between 0 and 2.

    Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020, eq. 4: all tensors
    are one vector, its length does not matter. 1, with a finite gradient, where an update is zero.
    Computed as half the squared distance of the unit vectors, which is the same number and keeps its
    digits near 0, where 1 - cos has lost them in float32.

    Args:
      a, b: updates of one model.

    Raises:
      InputError: the updates do not have the same leaves and shapes.

    >>> print(cosine({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 3.0])}))
    1.0
    """
    apart = tree.difference(tree.unit(a), tree.unit(b))
    zeros = sum(jnp.where(tree.norm(update) > 0, 0.0, 0.5) for update in (a, b))
    return 0.5 * tree.dot(apart, apart) + zeros


Path = tuple[str, ...]


def tensor_order(model: Model) -> tuple[Path, ...]:
    """The paths of the model's tensors in the order in which it runs them, input first.

    `weighted` and `selected` count tensors in it, kernel before bias, as PyTorch's `parameters()` does. It
    cannot be read from parameters: any `jit` or `tree.map` leaves their dicts sorted by name.

    Raises:
      InputError: the model's classifier is not the last layer: its `init` has lost the order.

    >>> from jleak.models import mlp
    >>> tensor_order(mlp((2, 2, 1), 3))[-2:]
    (('head', 'kernel'), ('head', 'bias'))
    """
    order = tree.layout(lambda key: model.init(key)["params"])
    if order[-1][: len(model.head)] != tuple(model.head):
        raise InputError(
            f"the model's last tensor must be its classifier's {'/'.join(model.head)!r}, got "
            f"{'/'.join(order[-1])!r}; make model.init neither jitted nor mapped, or give order= by hand"
        )
    return order


def weighted(
    distance: Distance, *, weights: str | Sequence[float], order: Sequence[Path] | None = None
) -> Distance:
    """`distance` with a weight w_t on every tensor t.

    l2: sum_t w_t ||a_t - b_t||^2. l1: sum_t w_t ||a_t - b_t||_1. cosine: <a, b>_w / (||a||_w ||b||_w) with
    <a, b>_w = sum_t w_t <a_t, b_t>, in the norms as well. So it scales both updates by sqrt(w_t), for l1 by
    w_t, before they meet.

    Source: Geiping, Bauermeister, Droege & Moeller, Inverting Gradients, NeurIPS 2020, reference code
    (`reconstruction_costs`): of T tensors in running order, t = 0 at the input, `"linear"` is 1 - t / T and
    `"exp"` is exp(-t). Both favour the layers near the image.

    Args:
      distance: `l2`, `l1`, `cosine`, or one of them `selected`.
      weights: `"equal"`, `"linear"`, `"exp"`, or a number for every tensor of `order`.
      order: paths of the tensors, input first (`tensor_order(model)`); `"equal"` needs none.

    Raises:
      InputError: an unknown name, no order, an order or numbers that do not fit the update.

    >>> order = (("stem",), ("head",))
    >>> a, b = {"head": jnp.ones(4), "stem": jnp.ones(2)}, {"head": jnp.zeros(4), "stem": jnp.zeros(2)}
    >>> print(weighted(l2, weights="linear", order=order)(a, b))  # 1 * 2 + 1/2 * 4
    4.0
    """
    if isinstance(weights, str):
        one_of("weights", weights, ("equal", "linear", "exp"))
        if weights == "equal":
            return distance
    _check_order(f"weights={weights!r}", order)
    t = jnp.arange(len(order))
    named = {"linear": lambda: 1 - t / len(order), "exp": lambda: jnp.exp(-1.0 * t)}
    values = named[weights]() if isinstance(weights, str) else jnp.asarray(weights, jnp.float32)
    if values.shape != t.shape:
        raise InputError(f"weights must be one a tensor, {len(order)} of them, got shape {values.shape}")
    scale = values if inspect.unwrap(distance) is l1 else jnp.sqrt(values)

    @functools.wraps(distance)
    def apart(a, b):
        factors = _by_path(order, scale, b)
        return distance(_scaled(a, factors), _scaled(b, factors))

    return apart


def selected(distance: Distance, *, tensors: str, order: Sequence[Path] | None = None) -> Distance:
    """`distance` over some of the tensors; the others count as zero in both updates.

    Source: Geiping et al., NeurIPS 2020, reference code (`indices`, where `"top:4"` is its default).

    Args:
      distance: (update, update) -> scalar that ignores what is zero in both: `l2`, `l1`, `cosine`, or one of
        these `weighted`.
      tensors: `"all"`; `"first:k"` or `"last:k"` of `order`; `"top:k"`, those of the largest norm in the
        observed update, which is the second argument.
      order: paths of the tensors, input first (`tensor_order(model)`); `first` and `last` need it.

    Raises:
      InputError: anything else, no order, an order that does not fit the update, k above their number.

    >>> a, b = {"head": jnp.ones(4), "stem": jnp.ones(2)}, {"head": jnp.zeros(4), "stem": 9 * jnp.ones(2)}
    >>> print(selected(l2, tensors="last:1", order=(("stem",), ("head",)))(a, b))
    4.0
    >>> print(selected(l2, tensors="top:1")(a, b))
    128.0
    """
    which, _, number_of = tensors.partition(":")
    if which == "all" and not number_of:
        return distance
    if which not in ("first", "last", "top") or not number_of.isdecimal():
        raise InputError(f"tensors must be all, first:K, last:K or top:K, got tensors={tensors!r}")
    k = whole("K of tensors", int(number_of))
    if which != "top":
        _check_order(f"tensors={tensors!r}", order)

    @functools.wraps(distance)
    def apart(a, b):
        leaves, structure = jax.tree.flatten(b)
        whole("the number of tensors in the update", len(leaves), least=k, hint=f"lower K of {tensors!r}")
        if which == "top":
            _, best = jax.lax.top_k(jnp.stack([jnp.linalg.norm(jnp.ravel(leaf)) for leaf in leaves]), k)
            mask = jax.tree.unflatten(structure, list(jnp.zeros(len(leaves)).at[best].set(1.0)))
        else:
            t = jnp.arange(len(leaves))
            mask = _by_path(
                order, jnp.where(t < k if which == "first" else t >= len(leaves) - k, 1.0, 0.0), b
            )
        return distance(_scaled(a, mask), _scaled(b, mask))

    return apart


def masked_cosine(fraction: float) -> Distance:
    """Cosine distance over the entries in which the observed update is largest.

    Of all entries of the tree as one vector the `fraction` with the largest |b| is kept, b the second
    argument; entries as large as the smallest of them are kept too, so a fraction above the share of b's
    nonzeros keeps everything. The use is an update that was sparsified or is mostly noise. In a search, b is
    the same in every step, and XLA sorts it once before the loop.

    Source: Fang, Chen, Wang, Wang & Xia, GIFD, ICCV 2023, reference code (`sim_cmpr0`).

    Args:
      fraction: in (0, 1]; 1 is `cosine`.

    Raises:
      InputError: fraction outside (0, 1]; the updates do not have the same leaves and shapes.

    >>> a, b = {"w": jnp.array([1.0, 5.0, 2.0])}, {"w": jnp.array([3.0, 0.1, -4.0])}
    >>> print(masked_cosine(0.3)(a, b), masked_cosine(1.0)(b, b))
    2.0 0.0
    """
    number("fraction", fraction, above=0, most=1)

    def apart(a, b):
        tree.check_match(a, b)
        sizes = jnp.sort(jnp.concatenate([jnp.ravel(jnp.abs(leaf)) for leaf in jax.tree.leaves(b)]))
        kept = jnp.ceil(fraction * sizes.size).astype(int)
        threshold = sizes[jnp.clip(sizes.size - kept, 0, sizes.size - 1)]
        mask = jax.tree.map(lambda leaf: jnp.where(jnp.abs(leaf) >= threshold, 1.0, 0.0), b)
        return cosine(_scaled(a, mask), _scaled(b, mask))

    return apart


def _scaled(a: Params, factors: Params) -> Params:
    tree.check_match(jax.tree.map(lambda _: 0, a), jax.tree.map(lambda _: 0, factors))
    return jax.tree.map(jnp.multiply, a, factors)


def _check_order(what: str, order: Sequence[Path] | None) -> None:
    if not order:
        raise InputError(f"{what} needs the order of the tensors; give order=tensor_order(model)")


def _by_path(order: Sequence[Path], values: Array, a: Params) -> Params:
    """A tree with the structure of `a` that holds `values[t]` at the path `order[t]`."""
    paths = [tuple(entry.key for entry in path) for path, _ in jax.tree_util.tree_leaves_with_path(a)]
    places = {tuple(path): t for t, path in enumerate(order)}
    if sorted(paths) != sorted(places):
        odd = min(set(paths) ^ set(places))
        where = "order" if odd in places else "update"
        raise InputError(
            f"order must name every tensor of the update, but {'/'.join(odd)!r} is only in the {where}; "
            "give order=tensor_order(model) of the model behind the update"
        )
    return jax.tree.unflatten(jax.tree.structure(a), [values[places[path]] for path in paths])
