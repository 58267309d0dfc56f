"""Updates that the tests of distances share, and their order."""

import jax
import jax.numpy as jnp
import numpy as np

from jleak import distances

ALL = [distances.l2, distances.l1, distances.cosine]


def update(seed):
    rng = np.random.default_rng(seed)
    shapes = {"conv": {"kernel": (3, 3, 2, 4), "bias": (4,)}, "head": {"kernel": (8, 5)}}
    return jax.tree.map(
        lambda shape: jnp.array(rng.normal(size=shape), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple),
    )


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


ORDER = (("conv", "kernel"), ("conv", "bias"), ("head", "kernel"))
"""As the model would run them; the tree's own order has conv/bias first."""
