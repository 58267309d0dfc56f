"""The bias attack: exact for one image, mixtures of known weights for more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks import dense
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses import clip
from jleak.losses import bce, cross_entropy, mse
from jleak.models import lenet, mlp
from jleak.types import Batch, Model, Threat, View

SHAPE, PIXELS, CLASSES = (4, 4, 1), 16, 6
CHAIN = (("dense0",), ("head",))


def perceptron(**settings):
    return mlp(SHAPE, CLASSES, hidden=12, **settings)._replace(chain=CHAIN)


def linear():
    """A softmax layer on the pixels, all of its weights zero."""
    flat = {"params": {"head": {"kernel": jnp.zeros((PIXELS, CLASSES)), "bias": jnp.zeros(CLASSES)}}}

    def apply(params, x):
        head = params["params"]["head"]
        return x.reshape(len(x), -1) @ head["kernel"] + head["bias"]

    return Model(lambda key: flat, apply, SHAPE, CLASSES, ("head",), chain=(("head",),))


def attacked(model, n=1, loss=cross_entropy, defense=lambda client: client, granted=False):
    """(reconstruction, batch, update) of a client with n images of the classes 1, 2, ..."""
    batch = Batch(jax.random.uniform(jax.random.key(1), (n, *SHAPE)), (1 + jnp.arange(n)) % CLASSES)
    params = model.init(jax.random.key(0))
    client = defense(fedsgd(model, loss))
    update = client(jax.random.key(2), params, batch)
    view = View(params, update, batch.y if granted else None)
    return (
        dense(Threat(client=client, model=model, batch=n, loss=loss))(jax.random.key(3), view),
        batch,
        update,
    )


@pytest.mark.parametrize("loss", [cross_entropy, bce])
@pytest.mark.parametrize("defense", [lambda client: client, clip(bound=0.01)], ids=["plain", "clipped"])
def test_one_image_is_exact_whatever_the_loss_and_the_scale(loss, defense):
    rec, batch, _ = attacked(perceptron(), loss=loss, defense=defense)
    np.testing.assert_allclose(rec.x, batch.x, atol=1e-5)
    assert rec.y.tolist() == [1]
    assert rec.loss < 1e-5
    assert rec.evaluations == 1


def test_the_row_of_largest_bias_gradient_is_taken():
    rec, _, update = attacked(perceptron(), n=2)
    layer = jax.tree.map(np.asarray, update["dense0"])
    largest = np.argsort(-np.abs(layer["bias"]))[:2]
    wanted = (layer["kernel"][:, largest] / layer["bias"][largest]).T
    np.testing.assert_allclose(rec.x.reshape(2, -1), np.clip(wanted, 0, 1), atol=1e-5)


def test_at_the_classifier_the_rows_are_those_of_the_labels():
    """Zero weights: x_j has the weight (n - 1)/(n - B), every other -1/(n - B) (notes E.3)."""
    rec, batch, _ = attacked(linear(), n=2, granted=True)
    x = np.asarray(batch.x)
    wanted = (CLASSES * x - x.sum(0)) / (CLASSES - 2)
    np.testing.assert_allclose(rec.x, np.clip(wanted, 0, 1), atol=1e-5)


def test_more_images_than_rows_repeat_them():
    rec, _, _ = attacked(perceptron(), n=15, granted=True)
    assert rec.x.shape == (15, *SHAPE)
    assert np.isfinite(rec.x).all()


@pytest.mark.parametrize("n", [1, 3])
def test_granted_labels_are_enough_under_a_loss_that_no_label_attack_reads(n):
    rec, batch, _ = attacked(perceptron(), n=n, loss=mse, granted=True)
    np.testing.assert_array_equal(rec.y, batch.y)
    with pytest.raises(InputError, match=r"grant the labels \(known_labels\), or name one"):
        attacked(perceptron(), n=n, loss=mse)


def test_a_layer_without_bias_and_a_model_without_chain_are_refused():
    with pytest.raises(InputError, match="layer 'dense0' has no bias; use attack=demixing"):
        attacked(perceptron(bias=False))
    with pytest.raises(InputError, match="declares no chain of dense layers; use attack=inverting"):
        dense(Threat(client=None, model=lenet((8, 8, 1), CLASSES)))
    with pytest.raises(InputError, match="name a label attack"):
        dense(Threat(client=None, model=perceptron()), labels="joint")
