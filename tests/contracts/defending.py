"""What the tests of defenses share: updates, and what a client sends of them."""

import jax
import jax.numpy as jnp
import numpy as np

from jleak.types import Batch

KEY = jax.random.key(7)


def shared(defense, victim, key=KEY):
    """The update that the victim shares under `defense`."""
    return defense(victim.client)(key, victim.params, victim.batch)


def of(update):
    """The client that has this update."""
    return lambda key, params, batch: update


def defended(defense, update, key=KEY):
    """What a client of one image sends, whose update is this one."""
    return defense(of(update))(key, None, Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, int)))


def equal(a, b):
    """Whether two trees agree to the bit."""
    return all(
        np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    ) and jax.tree.structure(a) == jax.tree.structure(b)


def near(a, b, rtol=2e-6, atol=0.0):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=rtol, atol=atol), a, b)


def flat(a):
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(a)])


def some_update(seed=0, scale=1.0):
    """An update of tensors of many sizes."""
    shapes = {"head": {"kernel": (50, 10), "bias": (10,)}, "conv": (5, 5, 3, 8), "scalar": (), "one": (1,)}
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda s: isinstance(s, tuple))
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        structure, [jnp.asarray(scale * rng.normal(size=s), jnp.float32) for s in leaves]
    )
