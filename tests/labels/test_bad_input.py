"""Updates and auxiliary data that a label attack cannot use: refused with a remedy, or told as a status."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.check import InputError
from jleak.labels import LABELS, counts, finite, label_step, llg_plus, masked
from jleak.labels.auxiliary import by_class
from jleak.labels.head import Head, head
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
MODEL = models.mlp((4, 4, 1), 3, hidden=8)
PARAMS = MODEL.init(KEY)
X = jax.random.uniform(KEY, (12, 4, 4, 1))
PUBLIC = Batch(X, jnp.arange(12) % 3)
UPDATE = {"head": {"kernel": jax.random.normal(KEY, (8, 3)), "bias": jnp.array([0.2, -0.3, 0.1])}}

READERS = sorted(set(LABELS) - {"random"})
"""Every attack that reads an update through `checked`."""


def made(name, **more):
    model = more.pop("model", MODEL)
    return LABELS[name](Threat(client=None, model=model, batch=1 if name == "idlg" else 2), **more)


def view(update=UPDATE, prior=PUBLIC):
    return View(PARAMS, update, None, prior)


def layer(kernel, bias=None):
    return {"head": {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}}


def filled(value):
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, value), UPDATE)


@pytest.mark.parametrize("name", READERS)
def test_an_update_of_zeros_is_refused(name):
    message = (
        "the update of the classifier 'head' is all zeros: pruned away or withheld; labels cannot be read "
        "from it; use labels=joint, or --known-labels"
    )
    with pytest.raises(InputError, match=message):
        made(name)(KEY, view(filled(0.0)))
    assert made(name)(KEY, view()).sum() > 0


def test_the_label_step_of_an_image_attack_refuses_it_too():
    step = label_step(Threat(client=None, model=MODEL, batch=2), "counts")
    with pytest.raises(InputError, match="all zeros"):
        step(KEY, view(filled(0.0)))


def test_one_entry_that_is_left_is_an_update():
    """Of the bias or of the kernel."""
    for update in (
        layer(jnp.zeros((8, 3)), jnp.array([0.0, -1e-30, 0.0])),
        layer(jnp.zeros((8, 3)).at[7, 2].set(1.0), jnp.zeros(3)),
    ):
        assert made("counts")(KEY, view(update)).sum() == 2


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_refused(name, bad):
    update = layer(UPDATE["head"]["kernel"].at[3, 1].set(bad), UPDATE["head"]["bias"])
    message = (
        "'head' is not finite: the client diverged; labels cannot be read from it; lower its learning rate"
    )
    with pytest.raises(InputError, match=message):
        made(name)(KEY, view(update))


@pytest.mark.parametrize(
    "transform", [jax.jit, lambda f: lambda u: jax.vmap(f)(stacked(u))[0]], ids=["jit", "vmap"]
)
def test_traced_values_pass_and_the_status_tells(transform):
    """Nothing can be raised there; the counts still sum to the batch."""
    for value, status in ((0.0, [True, True]), (jnp.nan, [False, False]), (1.0, [False, True])):
        update = filled(value)
        assert transform(lambda u: made("counts")(KEY, view(u)))(update).sum() == 2
        found = transform(lambda u: jnp.stack([masked(head(MODEL, u)), finite(head(MODEL, u))]))(update)
        assert found.tolist() == status


def test_values_known_while_something_else_is_traced_are_still_checked():
    update = filled(0.0)
    with pytest.raises(InputError, match="all zeros"):
        jax.jit(lambda key: made("counts")(key, view(update)))(KEY)


def test_a_layer_that_is_traced_in_part_passes():
    kernel, bias = UPDATE["head"].values()
    assert jax.jit(lambda k: made("counts")(KEY, view(layer(k, bias))))(kernel).sum() == 2


def stacked(tree):
    return jax.tree.map(lambda leaf: leaf[None], tree)


def test_masked_and_finite_look_at_kernel_and_bias():
    zero, one, nan = jnp.zeros(2), jnp.ones(2), jnp.array([0.0, jnp.nan])
    layers = [(zero, zero), (one, zero), (zero, one), (nan, zero), (zero, nan), (zero, None), (one, None)]
    layers = [Head(k[:, None], b) for k, b in layers]
    assert [bool(masked(u)) for u in layers] == [True, False, False, False, False, True, False]
    assert [bool(finite(u)) for u in layers] == [True, True, True, False, False, True, True]


WRONG_SHAPES = [
    (
        layer(jnp.ones((8, 5)), jnp.ones(5)),
        r"the shapes \(8, 5\), \(5,\); make the model with so many classes",
    ),
    (layer(jnp.ones((8, 3)), jnp.ones(5)), r"the shapes \(8, 3\), \(5,\)"),
    (layer(jnp.ones((7, 8, 3))), r"the shapes \(7, 8, 3\); .* or vmap over stacked ones"),
    (layer(jnp.ones(3)), r"the shapes \(3,\)"),
    (layer(jnp.ones(())), r"the shapes \(\)"),
]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(("update", "message"), WRONG_SHAPES, ids=["5", "bias", "stacked", "flat", "number"])
@pytest.mark.parametrize("name", READERS)
def test_a_class_count_that_does_not_fit_is_refused(name, update, message, wrap):
    """Shapes are known under `jit` too."""
    message = r"declares 3 classes: its classifier 'head' is a kernel of shape \(width, 3\), .*" + message
    with pytest.raises(InputError, match=message):
        wrap(lambda u: made(name)(KEY, view(u)))(update)


@pytest.mark.parametrize(
    ("path", "update", "message"),
    [
        (("head",), {"body": {}, "out": {}}, "at 'head', but .* has no 'head' there, only: body, out;"),
        (("a", "b"), {"a": {"c": {}}}, "at 'a/b', but .* has no 'b' there, only: c;"),
        (("head",), {"head": {"scale": 1}}, "at 'head', but .* has no 'kernel' there, only: scale;"),
        (("a", "b"), {"a": np.ones(2)}, "at 'a/b', but .* has no 'b' there, only: ndarray;"),
        (("head",), None, "at 'head', but .* has no 'head' there, only: NoneType;"),
    ],
)
def test_a_classifier_that_is_not_where_the_model_declares_it(path, update, message):
    with pytest.raises(InputError, match=message + " give what belongs to this model, or correct Model.head"):
        made("counts", model=MODEL._replace(head=path))(KEY, View(None, update))


AUXILIARY = [lambda: made("llg_plus"), lambda: made("counts", pbar="auxiliary")]


@pytest.mark.parametrize("attack", AUXILIARY, ids=["llg_plus", "counts"])
@pytest.mark.parametrize(
    ("public", "message"),
    [
        (
            Batch(X, PUBLIC.y.at[2].set(3)),
            r"labels must be in 0 ... 2, got \[3\]; drop those images, or make",
        ),
        (Batch(X, PUBLIC.y.at[0].set(-1).at[1].set(9)), r"labels must be in 0 ... 2, got \[-1, 9\]"),
        (Batch(X, PUBLIC.y.at[2::3].set(0)), r"lack images of the classes \[2\]; add some or use llg_star"),
    ],
)
def test_auxiliary_labels_that_do_not_serve(attack, public, message):
    with pytest.raises(InputError, match=message):
        attack()(KEY, view(prior=public))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("attack", AUXILIARY, ids=["llg_plus", "counts"])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, :3], PUBLIC.y, r"be of the model's shape \(4, 4, 1\) each, got \(12, 3, 4, 1\) in all; resize"),
        (X[..., 0], PUBLIC.y, r"be of the model's shape \(4, 4, 1\) each, got \(12, 4, 4\) in all"),
        (X, PUBLIC.y[:7], r"labels must be 12 class numbers, one an image, got int32 of shape \(7,\)"),
        (X, jnp.eye(3)[PUBLIC.y], r"got float32 of shape \(12, 3\); of label distributions take the argmax"),
        (X, PUBLIC.y * 1.0, r"got float32 of shape \(12,\)"),
    ],
    ids=["size", "grey", "number", "soft", "float"],
)
def test_auxiliary_data_of_another_shape(x, y, message, attack, wrap):
    with pytest.raises(InputError, match=message):
        wrap(lambda x, y: attack()(KEY, view(prior=Batch(x, y))))(x, y)


def test_a_class_that_traced_labels_lack_takes_the_mean_of_the_others():
    """Of the classes, not of the images; labels of no class are passed over."""
    threat, seen = Threat(client=None, model=MODEL, batch=2), jnp.array([0, 0, 0, 0, 1, 1])

    def means(y):
        return jax.jit(lambda y: by_class(threat, view(prior=Batch(X[: len(y)], y))))(y)

    own, s = means(seen)
    strange, _ = means(jnp.concatenate([seen, jnp.array([3, -1])]))
    full, sums = means(PUBLIC.y)
    features = MODEL.features(PARAMS, X[:6])
    p = jax.nn.softmax(MODEL.apply(PARAMS, X[:6])) * features.sum(1, keepdims=True)
    np.testing.assert_allclose(own[:2], [p[:4].mean(0), p[4:].mean(0)], rtol=1e-5)
    np.testing.assert_allclose(own[2], (p[:4].mean(0) + p[4:].mean(0)) / 2, rtol=1e-5)
    np.testing.assert_allclose(s[2], (s[0] + s[1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(strange, own, rtol=1e-6)
    eager = by_class(threat, view())
    np.testing.assert_allclose(full, eager[0], rtol=1e-5)
    np.testing.assert_allclose(sums, eager[1], rtol=1e-5)


def test_a_class_that_traced_labels_lack_leaves_the_counts_right():
    """Calibrated with zeros for that class, LLG+ loses labels; with the mean it is as good as complete."""
    y, hidden = jnp.array([2, 2, 2, 0, 0, 1, 1, 1]), jnp.arange(12) % 2
    attack = llg_plus(Threat(client=None, model=MODEL, batch=8))
    features = MODEL.features(PARAMS, X[:8])
    residual = (jax.nn.softmax(MODEL.apply(PARAMS, X[:8])) - jnp.eye(3)[y]) / 8
    update = layer(features.T @ residual, residual.sum(0))
    found = jax.jit(lambda y: attack(KEY, view(update, Batch(X, y))))(hidden)
    assert found.tolist() == [2, 3, 3]


def test_without_any_class_the_counts_still_sum_to_the_batch():
    found = jax.jit(lambda y: made("llg_plus")(KEY, view(prior=Batch(X, y))))(jnp.full(12, 7))
    assert found.sum() == 2 and (found >= 0).all()


def test_counts_looks_at_the_auxiliary_images_once():
    calls = []

    def features(params, x):
        calls.append(x.shape)
        return MODEL.features(params, x)

    attack = counts(Threat(client=None, model=MODEL._replace(features=features), batch=2), pbar="auxiliary")
    assert attack(KEY, view()).sum() == 2
    assert calls == [X.shape]
