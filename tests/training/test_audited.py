"""Trained weights in an audit: what the server sends, whatever the seed."""

import jax
import numpy as np
import pytest

from jleak import models, weights
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of, weights_of
from jleak.audit.sides import clients
from jleak.check import InputError

ARGS = {"hidden": 4}


@pytest.fixture
def trained(digits, tmp_path):
    """Weights that no seed gives, in a file that says of which model."""
    params = models.mlp(digits.shape, digits.classes, **ARGS).init(jax.random.key(99))
    path = tmp_path / "a.safetensors"
    weights.save(path, params, {"model": "mlp", "model_args": '{"hidden": 4, "init": "zhu", "bias": true}'})
    return params, str(path)


def test_the_seed_varies_all_but_the_weights(digits, trained):
    params, path = trained
    cache, found = Programs(), []
    for seed in (0, 1):
        case = Case(model="mlp", model_args=ARGS, weights=path, attack="dlg", victims=1, seed=seed)
        found.append(clients([case], digits, model_of(case, digits.shape, digits.classes), cache))
        for sent, wanted in zip(*map(jax.tree.leaves, (found[-1].params, params)), strict=True):
            np.testing.assert_array_equal(sent, wanted)
    assert np.any(found[0].batches.x != found[1].batches.x)
    assert len(cache.known) == 1  # the clients' program; nothing is initialised


def test_another_model_than_the_trained_one_is_refused(digits, trained):
    def taken(**fields):
        case = Case(**{"model": "mlp", "model_args": ARGS, "weights": trained[1], "attack": "dlg"} | fields)
        return weights_of(case, model_of(case, digits.shape, digits.classes))

    assert taken(model="jleak.models:mlp", model_args={"hidden": [4]}).keys() == {"params"}
    for fields, message in (
        ({"model": "lenet", "model_args": {}}, "was trained with model=mlp, which the audit's model 'lenet'"),
        ({"model_args": {"hidden": 5}}, r"params.dense0.kernel is \(64, 4\), wanted is \(64, 5\)"),
        ({"model_args": {"hidden": 4, "bias": False}}, "params.dense0.bias is not wanted"),
    ):
        with pytest.raises(InputError, match=message):
            taken(**fields)
