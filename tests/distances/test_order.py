"""The order in which a model runs its tensors."""

import jax
import jax.numpy as jnp
import pytest

from jleak import distances, models
from jleak.check import InputError
from jleak.types import Model


def dense(names):
    """A model whose layers run in the order of `names`, the last its classifier."""

    def init(key):
        return {"params": {name: {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for name in names}}

    return Model(init, None, (1, 2, 1), 2, (names[-1],))


def test_order_is_the_running_order_and_not_that_of_the_names():
    model = dense(["z", "b", "a"])
    assert distances.tensor_order(model) == tuple((n, t) for n in "zba" for t in ("kernel", "bias"))
    seen = []
    jax.jit(lambda x: seen.append(distances.tensor_order(model)) or x)(1.0)  # also while something is traced
    assert seen == [distances.tensor_order(model)]
    lost = model._replace(init=jax.jit(model.init))
    with pytest.raises(
        InputError, match="must be its classifier's 'a', got 'z/kernel'; make model.init neither"
    ):
        distances.tensor_order(lost)


def test_order_of_the_models_of_the_catalog_begins_at_the_image():
    for factory in (models.lenet, models.convnet, models.mlp):
        model = factory((16, 16, 3), 5)
        order = distances.tensor_order(model)
        params = jax.eval_shape(model.init, jax.random.key(0))["params"]
        first = params[order[0][0]][order[0][1]]
        assert first.shape[-2] in (3, 16 * 16 * 3)  # it takes pixels
        assert len(order) == len(jax.tree.leaves(params))
