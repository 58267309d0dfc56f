"""iDLG: exact for one image wherever the features are not negative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.labels import idlg, label_step
from jleak.losses import cross_entropy
from jleak.types import Batch, Model, Threat, View

KEY = jax.random.key(0)


def build(name, shape):
    if name == "lenet":
        return models.lenet(shape, 10)
    return models.mlp(shape, 10, hidden=32, activation_fn=name)


@pytest.mark.parametrize("name", ["sigmoid", "relu", "lenet"])
def test_exact_for_a_hundred_models_and_digits(name, digits):
    """Two perceptrons, by activation, and LeNet."""
    model = build(name, digits.shape)
    client, attack = fedsgd(model, cross_entropy), idlg(Threat(client=None, model=model))

    def infer(key, x, y):
        params = model.init(key)
        return attack(KEY, View(params, client(KEY, params, Batch(x[None], y[None]))))[0]

    chosen = jax.random.permutation(jax.random.key(1), digits.size)[:100]
    x, y = jnp.asarray(digits.x[chosen]), jnp.asarray(digits.labels[chosen])
    found = jax.jit(jax.vmap(infer))(jax.random.split(jax.random.key(2), 100), x, y)
    assert len(np.unique(y)) == 10
    np.testing.assert_array_equal(found, y)


def test_every_label_of_one_image_is_found(digits):
    """It is the label that is read, not the digit that is seen."""
    model = build("sigmoid", digits.shape)
    client, attack = fedsgd(model, cross_entropy), idlg(Threat(client=None, model=model))
    params, x = model.init(KEY), jnp.asarray(digits.x[:1])
    for y in range(10):
        update = client(KEY, params, Batch(x, jnp.array([y])))
        assert attack(KEY, View(params, update)).tolist() == [y]


def declared(head, classes=3):
    return Model(init=None, apply=None, shape=(2, 2, 1), classes=classes, head=head)


@pytest.mark.parametrize("seed", range(5))
def test_is_the_class_of_lowest_sum(seed):
    kernel = np.random.default_rng(seed).normal(size=(7, 12)).astype(np.float32)
    update = {"head": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(12)}}
    found = idlg(Threat(client=None, model=declared(("head",), 12)))(KEY, View(None, update))
    assert found.tolist() == [np.argmin(kernel.astype(np.float64).sum(0))]


def test_reads_the_layer_that_the_model_declares():
    """And no other dense layer, wherever it lies in the tree."""
    decoy = {"kernel": jnp.array([[-9.0, 0.0, 0.0]]), "bias": jnp.zeros(3)}
    true = {"kernel": jnp.array([[0.1, 0.1, -0.2]]), "bias": jnp.zeros(3)}
    update = {"aaa": decoy, "body": {"out": true, "zzz": decoy}, "head": decoy}
    found = idlg(Threat(client=None, model=declared(("body", "out"))))(KEY, View(None, update))
    assert found.tolist() == [2]


def test_needs_no_bias(digits):
    model = models.mlp(digits.shape, 10, hidden=16, bias=False)
    params = model.init(KEY)
    update = fedsgd(model, cross_entropy)(KEY, params, Batch(jnp.asarray(digits.x[:1]), jnp.array([6])))
    assert "bias" not in update["head"]
    assert idlg(Threat(client=None, model=model))(KEY, View(params, update)).tolist() == [6]


@pytest.mark.parametrize("n", [2, 8])
def test_more_than_one_image_is_refused_with_remedies(n):
    threat = Threat(client=None, model=declared(("head",)), batch=n)
    with pytest.raises(InputError, match=rf"single image, got batch={n}; use batch=1, labels=joint"):
        idlg(threat)
    with pytest.raises(InputError, match=f"got batch={n}"):
        label_step(threat, "idlg")


def test_auto_is_idlg_for_one_image_and_joint_for_more():
    one, two = (Threat(client=None, model=declared(("head",)), batch=n) for n in (1, 2))
    update = {"head": {"kernel": jnp.array([[0.3, -0.5, 0.2]])}}
    assert label_step(one, "auto")(KEY, View(None, update)).tolist() == [1]
    assert label_step(two, "auto") is None
    assert label_step(one, "joint") is None


def test_own_label_attacks_are_taken_and_unknown_names_refused():
    def mine(key, view):
        return jnp.array([4])

    assert label_step(None, mine) is mine
    with pytest.raises(InputError, match="unknown label step 'idgl'; did you mean 'idlg'"):
        label_step(None, "idgl")
