"""Which images the victims hold: drawn by key, so that one key gives one batch on any machine."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt32

from jleak import check
from jleak.check import InputError
from jleak.data.images import Images, pixels
from jleak.tree import stream
from jleak.types import Batch, Key

HOW = ("balanced", "distinct", "non_iid", "one_class", "random", "uniform")
"""The ways of drawing a batch; see `draw`."""

REPLACED = ("non_iid", "uniform")
"""Those that draw labels first, then images with replacement."""


def draw(key: Key, images: Images, n: int, how: str = "random") -> Batch:
    """One victim's batch of `n` images, x (n, h, w, c) float32 in [0, 1], y (n,) int32.

    Args:
      key: the same key draws the same batch on any machine.
      images: where to draw from.
      n: how many images.
      how: `random`: any, without replacement. `balanced`: the counts of the classes differ by at most
        one; which classes get one more is random. `one_class`: all of one class, random among
        those with `n` images. `distinct`: `n` different labels. In these four all images differ; the other
        two draw labels first, then an image of each, with replacement. `uniform`: every label uniform over
        the classes. `non_iid`: half of the labels one class, a quarter another, both random, the rest
        uniform (Wainakh et al., PoPETs 2022). Only classes that have images count.

    Raises:
      InputError: `how` is unknown, or `n` is not in 1 to what the data set can give under `how`.

    >>> from jleak.data.digits import digits
    >>> batch = draw(jax.random.key(0), digits(), 10, "distinct")
    >>> batch.x.shape, sorted(batch.y.tolist())
    ((10, 8, 8, 1), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    >>> draw(jax.random.key(0), digits(), 11, "distinct")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jleak.check.InputError: n must be <= 10, ... got n=11; ...
    """
    kinds = _kinds(images, n, how)
    return batch(images, _chosen(key, kinds, np.zeros(images.size, int), n, how))


def victims(key: Key, images: Images, count: int, n: int, how: str = "random") -> Batch:
    """The batches of `count` victims, x (count, n, h, w, c), y (count, n); see `draw` for the rest.

    Victim i draws with `fold_in(key, i)` after the victims before it, so asking for more victims
    leaves the first ones as they were. No image goes to two victims as long as unused images can
    fill a batch under `how`; after that the least used ones go first. With replacement, nobody looks.

    Raises:
      InputError: as `draw`, or `count` is not a whole number >= 1.

    >>> from jleak.data.digits import digits
    >>> victims(jax.random.key(0), digits(), 5, 4).x.shape
    (5, 4, 8, 8, 1)
    """
    return batch(images, picks(key, images, count, n, how))


def picks(key: Key, images: Images, count: int, n: int, how: str = "random") -> Int[np.ndarray, "count n"]:
    """Where in the data set the images of `victims` are: for batches that are put together later.

    Raises:
      InputError: as `victims`.

    >>> from jleak.data.digits import digits
    >>> found, batches = (f(jax.random.key(0), digits(), 5, 4) for f in (picks, victims))
    >>> bool((digits().labels[found] == batches.y).all())
    True
    """
    check.whole("count", count)
    kinds = _kinds(images, n, how)
    uses = np.zeros(images.size, int)
    rows = []
    for i in range(count):
        row = _chosen(jax.random.fold_in(key, i), kinds, uses, n, how)
        uses[row] += 1
        rows.append(row)
    return np.stack(rows)


def batch(images: Images, chosen: Int[np.ndarray, "*shape"]) -> Batch:
    """The images at these places (`picks`), with their labels.

    >>> from jleak.data.digits import digits
    >>> batch(digits(), np.array([[0, 1], [2, 3]])).x.shape
    (2, 2, 8, 8, 1)
    """
    return Batch(jnp.asarray(pixels(images.x[chosen])), jnp.asarray(images.labels[chosen], jnp.int32))


def _kinds(images: Images, n: int, how: str) -> Int[np.ndarray, " size"]:
    """Each image's rank among the classes that occur; checks that a batch can be drawn."""
    check.one_of("how", how, HOW)
    check.whole("n", n)
    _, kinds = np.unique(images.labels, return_inverse=True)
    counts = np.bincount(kinds)
    most = n if how in REPLACED else _most(counts, how)
    if n > most:
        sizes = f"{len(counts)} classes of {counts.min()} to {counts.max()}"
        remedy = "a larger data set" if how == "random" else "another way of drawing, such as how='random'"
        raise InputError(
            f"n must be <= {most}, the largest batch with how={how!r} ({images.name} has {images.size} "
            f"images, {sizes}), got n={n}; use a smaller batch or {remedy}"
        )
    return kinds


def _most(counts: Int[np.ndarray, " classes"], how: str) -> int:
    """The largest batch that can be drawn from classes of these sizes."""
    least = counts.min()
    return {
        "random": counts.sum(),
        "distinct": np.count_nonzero(counts),
        "one_class": counts.max(),
        "balanced": least * len(counts) + np.count_nonzero(counts > least),
    }[how]


def _chosen(key: Key, kinds: np.ndarray, uses: np.ndarray, n: int, how: str) -> Int[np.ndarray, " n"]:
    """Positions of the `n` images of one victim, in random order, the least used ones first."""
    if how in REPLACED:
        return _replaced(key, kinds, n, how)
    order = np.lexsort((_bits(stream(key, "order"), len(kinds)), uses))  # by uses, then at random
    if how == "random":
        return order[:n]
    counts = np.bincount(kinds)
    fresh = np.bincount(kinds[uses == 0], minlength=len(counts))
    quota = _quota(stream(key, "classes"), fresh if n <= _most(fresh, how) else counts, n, how)
    ordered = kinds[order]
    places = [np.flatnonzero(ordered == k)[: quota[k]] for k in np.flatnonzero(quota)]
    return order[np.sort(np.concatenate(places))]


def _replaced(key: Key, kinds: np.ndarray, n: int, how: str) -> Int[np.ndarray, " n"]:
    """Positions of `n` images: labels first, then an image of each label, with replacement."""
    counts = np.bincount(kinds)
    labels = _bits(stream(key, "labels"), n) % len(counts)
    if how == "non_iid":
        shuffled = np.argsort(_bits(stream(key, "classes"), len(counts)), kind="stable")
        labels[: n // 2], labels[n // 2 : n // 2 + n // 4] = shuffled[0], shuffled[-1]
        labels = labels[np.argsort(_bits(stream(key, "order"), n), kind="stable")]
    within = _bits(stream(key, "images"), n) % counts[labels]
    first = np.cumsum(counts) - counts
    return np.argsort(kinds, kind="stable")[first[labels] + within]


def _quota(key: Key, counts: np.ndarray, n: int, how: str) -> Int[np.ndarray, " classes"]:
    """How many images to take of each class: `base` of every one, `extra` more of `picks` random ones."""
    classes = len(counts)
    base, extra, picks = {
        "balanced": (n // classes, 1, n % classes),
        "distinct": (0, 1, n),
        "one_class": (0, n, 1),
    }[how]
    shuffled = np.argsort(_bits(key, classes), kind="stable")
    able = shuffled[counts[shuffled] >= base + extra]
    quota = np.full(classes, base)
    quota[able[:picks]] += extra
    return quota


def _bits(key: Key, size: int) -> UInt32[np.ndarray, " size"]:
    """Random sort keys on the host. Sorted there, the order depends on no backend and not on x64."""
    return np.asarray(jax.random.bits(key, (size,), "uint32"))
