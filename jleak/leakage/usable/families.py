"""Families of probes: what an attacker may be, that predicts an attribute from updates.

V-information is relative to such a family (Xu et al., "A Theory of Usable Information under Computational
Constraints", ICLR 2020). Every family here can ignore what it sees, as the definition wants: a training
begins at the frequencies of the training rows and keeps what scores best on validation, be it the beginning.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jleak.check import number, whole
from jleak.leakage.fit import fit
from jleak.leakage.layers import Rows
from jleak.leakage.usable.rows import Split, members, stacked
from jleak.models.perceptron import Net, perceptron
from jleak.types import Key

Tasks = Int[Array, "tasks m"]
"""Labellings of the same rows, trained side by side: the attribute, and permutations of it."""

LogProbs = Float[Array, "layers tasks seeds m classes"]


class Family(NamedTuple):
    """Probes of one kind.

    Attributes:
      stack: `(rows, split) -> x`, all layers in one array, layers and rows first.
      predict: `(key, x, tasks, split, classes, seeds) -> log-probabilities` of every row, fitted on the
        training rows of each layer, task and seed, and chosen on the validation rows. Test rows' labels
        are not looked at.
    """

    stack: Callable[[Rows, Split], Array]
    predict: Callable[[Key, Array, Tasks, Split, int, int], LogProbs]


Builder = Callable[[tuple[int, ...], int], Net]
"""`(shape of a row, classes) -> network` on rows of that shape."""


def logistic(*, lr: float = 0.003, steps: int = 600, every: int = 5, decay: float = 0.0) -> Family:
    """Logistic regression: softmax of an affine map of the row.

    Adam on the full training split; stopping early is its regularisation.

    Args:
      lr: step size.
      steps: at most.
      every: steps between two looks at the validation rows.
      decay: of the weights, a step and unit of `lr`.

    Raises:
      InputError: a number out of bounds.

    >>> rows, y = {"head": jnp.array([[-1.0], [1.0]] * 6)}, jnp.arange(12) % 2
    >>> family, split = logistic(lr=0.1), jnp.arange(12) // 2 % 3
    >>> found = family.predict(jax.random.key(0), family.stack(rows, split), y[None], split, 2, 1)
    >>> found.shape, bool((found.argmax(-1) == y).all())
    ((1, 1, 1, 12, 2), True)
    """
    return trained(_dense(()), lr=lr, steps=steps, every=every, decay=decay)


def mlp(
    *,
    hidden: tuple[int, ...] = (64,),
    lr: float = 0.001,
    steps: int = 600,
    every: int = 5,
    batch: int | None = None,
    decay: float = 1e-3,
) -> Family:
    """A perceptron with hidden layers of these widths, by AdamW on the full training split.

    Args:
      hidden: widths.
      lr, steps, every, decay: as of `logistic`.
      batch: rows a step; None takes all.

    Raises:
      InputError: a number out of bounds.

    >>> rows, y = {"head": jnp.array([[-1.0], [1.0], [-1.0], [-1.0]] * 6)}, jnp.array([0, 1, 0, 0] * 6)
    >>> family, split = mlp(lr=0.01, hidden=(8, 8)), jnp.arange(24) // 4 % 3
    >>> found = family.predict(jax.random.key(0), family.stack(rows, split), y[None], split, 2, 2)
    >>> found.shape, bool((found.argmax(-1) == y).all())
    ((1, 1, 2, 24, 2), True)
    """
    hidden = tuple(whole("hidden", width) for width in hidden)
    return trained(_dense(hidden), lr=lr, steps=steps, every=every, batch=batch, decay=decay)


def trained(
    build: Builder,
    stack: Callable[[Rows, Split], Array] = stacked,
    *,
    lr: float,
    steps: int,
    every: int,
    batch: int | None = None,
    decay: float = 0.0,
) -> Family:
    """The family of a network's weights, under softmax cross entropy and Adam (AdamW where they decay).

    All layers, tasks and seeds are trained by one program; a seed's minibatches and first weights are the
    same for all of them.

    Args:
      build: the network; its outputs are added to the log-frequencies of the training labels, and begin at 0.
      stack: see `Family`.
      lr, steps, every, decay: see `logistic`.
      batch: rows a step; None takes all. See `blocks`.

    Raises:
      InputError: a number out of bounds.
    """
    number("lr", lr, above=0)
    number("decay", decay, least=0)
    whole("steps", steps)
    whole("every", every)
    if batch is not None:
        whole("batch", batch)
    training = _Training(optax.adamw(lr, weight_decay=decay), steps, every, batch)

    def predict(key, x, tasks, split, classes, seeds):
        net = build(x.shape[2:], classes)
        places = members(split)

        def alone(x, y, key):
            return _fitted(training, net, key, x, y, places, classes)

        one = jax.vmap(alone, (None, None, 0))
        every_task = jax.vmap(one, (None, 0, None))
        return jax.vmap(every_task, (0, None, None))(x, tasks, jax.random.split(key, seeds))

    return Family(stack, predict)


class _Training(NamedTuple):
    optimizer: optax.GradientTransformation
    steps: int
    every: int
    batch: int | None


def _fitted(
    training: _Training, net: Net, key: Key, x: Array, y: Array, places: tuple[Split, ...], classes: int
) -> Float[Array, "m classes"]:
    """Log-probabilities of all rows, by the weights that score best on validation."""
    k_init, k_fit = jax.random.split(key)
    train, validation, _ = places
    x_train, y_train = x[train], y[train]
    known = jnp.log(frequencies(y_train, classes))

    def log_probs(params, x):
        return jax.nn.log_softmax(net.apply(params, x) + known)

    def nll(params, x, y):
        return -jnp.take_along_axis(log_probs(params, x), y[:, None], 1).mean()

    def loss(key, params, _):
        if training.batch is None or training.batch >= len(train):
            return nll(params, x_train, y_train), None
        chosen = blocks(key, len(train), training.batch, classes)
        return nll(params, x_train[chosen], y_train[chosen]), None

    def score(params):
        return nll(params, x[validation], y[validation])

    optimizer, steps, every, _ = training
    found = fit(k_fit, net.init(k_init), loss, score, optimizer=optimizer, steps=steps, every=every)
    return log_probs(found.params, x)


def _dense(hidden: tuple[int, ...]) -> Builder:
    def build(shape, classes):
        return perceptron(*shape, classes, hidden=hidden, still=True)

    return build


def blocks(key: Key, rows: int, batch: int, together: int) -> Int[Array, " batch"]:
    """A minibatch of `rows`, in blocks of `together` rows that stand next to each other.

    As the batches of a matched set do (`draws`): their labels, of which updates speak louder than of
    attributes, cancel out only within the set.

    >>> blocks(jax.random.key(0), 100, 4, 2).reshape(2, 2) % 2
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    first = together * jax.random.randint(key, (-(-batch // together), 1), 0, -(-rows // together))
    return ((first + jnp.arange(together)) % rows).ravel()[:batch]


def frequencies(y: Int[Array, " m"], classes: int) -> Float[Array, " classes"]:
    """The share of each value, at least that of a hundredth of a row, so that no log-loss is infinite.

    >>> frequencies(jnp.array([0, 1, 1, 1]), 2).tolist()
    [0.25, 0.75]
    """
    counts = jnp.maximum((y[:, None] == jnp.arange(classes)).sum(0), 0.01)
    return counts / counts.sum()
