"""iDLG: exact for one image wherever the features are not negative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.labels import LABELS, idlg, label_step
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
        return attack(KEY, View(params, client(KEY, params, Batch(x[None], y[None]))))

    chosen = jax.random.permutation(jax.random.key(1), digits.size)[:100]
    x, y = jnp.asarray(digits.x[chosen]), jnp.asarray(digits.labels[chosen])
    found = jax.jit(jax.vmap(infer))(jax.random.split(jax.random.key(2), 100), x, y)
    assert len(np.unique(y)) == 10
    np.testing.assert_array_equal(found, np.eye(10)[y])


def test_every_label_of_one_image_is_found(digits):
    """It is the label that is read, not the digit that is seen."""
    model = build("sigmoid", digits.shape)
    client, attack = fedsgd(model, cross_entropy), idlg(Threat(client=None, model=model))
    params, x = model.init(KEY), jnp.asarray(digits.x[:1])
    for y in range(10):
        update = client(KEY, params, Batch(x, jnp.array([y])))
        assert attack(KEY, View(params, update)).tolist() == np.eye(10)[y].tolist()


def declared(head, classes=3):
    return Model(init=None, apply=None, shape=(2, 2, 1), classes=classes, head=head)


@pytest.mark.parametrize("seed", range(5))
def test_is_the_class_of_lowest_sum(seed):
    kernel = np.random.default_rng(seed).normal(size=(7, 12)).astype(np.float32)
    update = {"head": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(12)}}
    found = idlg(Threat(client=None, model=declared(("head",), 12)))(KEY, View(None, update))
    assert found.tolist() == np.eye(12)[np.argmin(kernel.astype(np.float64).sum(0))].tolist()


def test_reads_the_layer_that_the_model_declares():
    """And no other dense layer, wherever it lies in the tree."""
    decoy = {"kernel": jnp.array([[-9.0, 0.0, 0.0]]), "bias": jnp.zeros(3)}
    true = {"kernel": jnp.array([[0.1, 0.1, -0.2]]), "bias": jnp.zeros(3)}
    update = {"aaa": decoy, "body": {"out": true, "zzz": decoy}, "head": decoy}
    found = idlg(Threat(client=None, model=declared(("body", "out"))))(KEY, View(None, update))
    assert found.tolist() == [0, 0, 1]


def test_needs_no_bias(digits):
    model = models.mlp(digits.shape, 10, hidden=16, bias=False)
    params = model.init(KEY)
    update = fedsgd(model, cross_entropy)(KEY, params, Batch(jnp.asarray(digits.x[:1]), jnp.array([6])))
    assert "bias" not in update["head"]
    found = idlg(Threat(client=None, model=model))(KEY, View(params, update))
    assert found.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("n", [2, 8])
def test_more_than_one_image_is_refused_with_remedies(n):
    threat = Threat(client=None, model=declared(("head",)), batch=n)
    with pytest.raises(
        InputError, match=f"single image, got batch={n}; use batch=1 or another label attack, such as demix"
    ) as e:
        idlg(threat)
    assert all(remedy in str(e.value) for remedy in ("labels=demix", "labels=joint", "--known-labels"))
    with pytest.raises(InputError, match=f"got batch={n}"):
        label_step(threat, "idlg")


def test_auto_is_idlg_for_one_image_and_joint_for_more():
    one, two = (Threat(client=None, model=declared(("head",)), batch=n) for n in (1, 2))
    update = {"head": {"kernel": jnp.array([[0.3, -0.5, 0.2]])}}
    assert label_step(one, "auto")(KEY, View(None, update)).tolist() == [1]
    assert label_step(two, "auto") is None
    assert label_step(one, "joint") is None


def test_the_label_step_gives_labels_in_the_order_of_the_classes():
    threat = Threat(client=None, model=declared(("head",)), batch=4)
    step = label_step(threat, lambda key, view: jnp.array([1, 0, 3]))
    assert step(KEY, None).tolist() == [0, 2, 2, 2]
    assert step(KEY, None).dtype == jnp.int32


@pytest.mark.parametrize(
    ("counts", "labels"), [([0, 1, 0], [1, 1, 1]), ([2, 0, 4], [0, 0, 2]), ([0, 0, 0], [0, 0, 0])]
)
def test_counts_that_miss_the_total_are_filled_up_or_cut_off(counts, labels):
    threat = Threat(client=None, model=declared(("head",)), batch=3)
    assert label_step(threat, lambda key, view: jnp.array(counts))(KEY, None).tolist() == labels


def test_own_label_attacks_see_key_and_view_and_unknown_names_are_refused():
    def mine(key, view):
        return jnp.where(key == KEY, view.update, 0).astype(int)

    threat = Threat(client=None, model=declared(("head",)), batch=2)
    assert label_step(threat, mine)(KEY, View(None, jnp.array([1, 0, 1]))).tolist() == [0, 2]
    named, made = label_step(threat, "counts"), label_step(threat, LABELS["counts"](threat))
    view = View(None, {"head": {"kernel": jnp.zeros((2, 3)), "bias": jnp.array([0.3, 0.3, -0.6])}})
    assert named(KEY, view).tolist() == made(KEY, view).tolist() == [2, 2]
    with pytest.raises(InputError, match="unknown label step 'idgl'; did you mean 'idlg'"):
        label_step(None, "idgl")
