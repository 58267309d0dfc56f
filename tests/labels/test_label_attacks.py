"""What every label attack promises, on digits; how well each does; what each refuses."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import models
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses.noise import gaussian
from jleak.defenses.prune import prune
from jleak.labels import LABELS, counts, demix, idlg, ilrg, imbalance, llg, llg_plus, llg_star, yin
from jleak.labels.dummies import DUMMIES
from jleak.labels.head import head
from jleak.losses import cross_entropy, mse
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
MODELS = 20
PUBLIC = 200
"""So many digits, the last ones, are public; no victim holds one."""

FORMS = [
    *((name, {}) for name in LABELS),
    *((name, {"exact": False}) for name in ("llg", "llg_plus", "llg_star")),
    *(("counts", {"pbar": pbar}) for pbar in ("auxiliary", "natural")),
]
IDS = ["-".join([name, *map(str, args.values())]) for name, args in FORMS]
UNSURE = [("bias_sign", {}), ("llg", {"exact": False}), ("llg_star", {"exact": False})]
"""Those whose counts need not sum to the batch."""

BATCHES = {"idlg": 1}
"""The batch of an attack that does not serve eight images."""


@cache
def net(name, shape=(8, 8, 1)):
    if name == "lenet":
        return models.lenet(shape, 10)
    return models.mlp(shape, 10, hidden=32, bias=name == "mlp")


@pytest.fixture(scope="module")
def victims(digits):
    """`victims(name, batch, sigma)`: a model each, its head's update, its labels; and public digits."""
    x, y = jnp.asarray(digits.x), jnp.asarray(digits.labels).astype(jnp.int32)

    @cache
    def held(name, batch, sigma):
        model = net(name)
        client = fedsgd(model, cross_entropy)
        client = gaussian(sigma=sigma)(client) if sigma else client

        def one(key):
            k_model, k_data, k_client = jax.random.split(key, 3)
            chosen = jax.random.choice(k_data, len(x) - PUBLIC, (batch,), replace=False)
            params = model.init(k_model)
            update = client(k_client, params, Batch(x[chosen], y[chosen]))
            return params, {"head": update["head"]}, y[chosen]

        return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(batch), MODELS))

    def build(name, batch, sigma=0.0):
        params, update, labels = held(name, batch, sigma)
        return View(params, update, None, Batch(x[-PUBLIC:], y[-PUBLIC:])), labels

    return build


AXES = View(0, 0, None, None)


def attacked(attack, view):
    keys = jax.random.split(jax.random.key(1), MODELS)
    return np.asarray(jax.jit(jax.vmap(attack, in_axes=(0, AXES)))(keys, view))


def found_share(found, labels):
    """|multiset intersection| / |predicted|, the mean over the victims."""
    true = np.stack([np.bincount(y, minlength=10) for y in np.asarray(labels)])
    return (np.minimum(found, true).sum(1) / np.maximum(found.sum(1), 1)).mean()


def threat(name, batch, **more):
    return Threat(client=None, model=net(name), batch=batch, **more)


def only(view, i):
    params, update = jax.tree.map(lambda leaf: leaf[i], (view.params, view.update))
    return view._replace(params=params, update=update)


@pytest.mark.parametrize(("name", "args"), FORMS, ids=IDS)
@pytest.mark.parametrize("model", ["mlp", "lenet"])
def test_counts_are_whole_sum_to_the_batch_and_victims_do_not_meet(model, name, args, victims):
    """The update is the classifier's layer alone: nothing else of it is read."""
    batch = BATCHES.get(name, 8)
    view, _ = victims(model, batch)
    attack = LABELS[name](threat(model, batch), **args)
    found = attacked(attack, view)
    assert found.shape == (MODELS, 10) and found.dtype == np.int32 and (found >= 0).all()
    if (name, args) not in UNSURE:
        assert (found.sum(1) == batch).all()
    if model == "mlp":
        keys, single = jax.random.split(jax.random.key(1), MODELS), jax.jit(attack)
        assert found[:5].tolist() == [single(keys[i], only(view, i)).tolist() for i in range(5)]


@pytest.mark.parametrize(("name", "args"), FORMS, ids=IDS)
def test_calibration_reads_neither_update_nor_labels_and_infer_needs_no_prior(name, args, victims):
    batch = BATCHES.get(name, 8)
    view = only(victims("mlp", batch)[0], 0)
    attack = LABELS[name](threat("mlp", batch), **args)
    known = attack.calibrate(view._replace(update=None, labels=None))
    found = jax.jit(attack.infer)(KEY, view._replace(prior=None), known)
    assert found.tolist() == jax.jit(attack)(KEY, view).tolist()


@pytest.mark.parametrize("batch", [3, 64])
def test_updates_that_are_no_gradient_still_give_counts(batch, victims):
    """A masked layer, a diverged client: all entries the same; never a crash, never a false total."""
    view = only(victims("mlp", 8)[0], 0)
    names = [name for name in LABELS if name != "idlg" and (name != "yin" or batch <= 10)]

    def infer(bad):
        broken = view._replace(update=jax.tree.map(lambda leaf: jnp.full_like(leaf, bad), view.update))
        return {name: LABELS[name](threat("mlp", batch))(KEY, broken) for name in names}

    for name, found in jax.jit(jax.vmap(infer))(jnp.array([0.0, jnp.nan, jnp.inf, 1e20])).items():
        assert (found >= 0).all(), name
        assert found.sum(1).tolist() == [0 if name == "bias_sign" else batch] * 4, name


@pytest.mark.parametrize("name", ["counts", "demix", "ilrg", "llg", "llg_plus", "llg_star"])
def test_two_classes(name):
    model = models.mlp((4, 4, 1), 2, hidden=16)
    params, x = model.init(KEY), jax.random.uniform(KEY, (9, 4, 4, 1))
    attack = LABELS[name](Threat(client=None, model=model, batch=7))

    def one(ones):
        batch = Batch(x[:7], (jnp.arange(7) < ones).astype(int))
        update = fedsgd(model, cross_entropy)(KEY, params, batch)
        return attack(KEY, View(params, update, None, Batch(x[7:], np.arange(2))))

    found = jax.jit(jax.vmap(one))(jnp.array([0, 2, 7]))
    assert found.sum(1).tolist() == [7, 7, 7]
    if name in ("demix", "llg_plus"):
        assert found.tolist() == [[7, 0], [5, 2], [0, 7]]


@pytest.mark.parametrize("exact", [True, False])
def test_llg_knows_no_order_of_the_classes(exact, victims):
    view, _ = victims("lenet", 8)
    attack, order = llg(threat("lenet", 8), exact=exact), np.random.default_rng(0).permutation(10)
    renamed = view._replace(update={"head": jax.tree.map(lambda leaf: leaf[..., order], view.update["head"])})
    np.testing.assert_array_equal(attacked(attack, renamed), attacked(attack, view)[:, order])


MARGINS = {"bias_sign": 0.2, "yin": 0.1}
"""By how much an attack beats `random`, if not by 0.35."""


@pytest.mark.parametrize(("name", "args"), [f for f in FORMS if f[0] != "random"], ids=lambda v: str(v))
def test_beats_chance_by_a_margin(name, args, victims):
    """Twenty LeNets of the wild initialisation, eight digits each; iDLG one."""
    batch = BATCHES.get(name, 8)
    view, labels = victims("lenet", batch)
    chance = found_share(attacked(LABELS["random"](threat("lenet", batch)), view), labels)
    reached = found_share(attacked(LABELS[name](threat("lenet", batch), **args), view), labels)
    assert reached > chance + MARGINS.get(name, 0.35), (reached, chance)


@pytest.mark.parametrize(
    ("model", "batch", "sigma", "least"),
    [
        ("mlp", 8, 0.0, 0.99),
        ("mlp", 64, 0.0, 0.99),
        ("lenet", 8, 0.0, 0.99),
        ("lenet", 64, 0.0, 0.99),
        ("lenet", 8, 0.1, 0.95),
        ("unbiased", 8, 0.0, 0.9),
    ],
)
def test_demix_finds_nearly_all_labels(model, batch, sigma, least, victims):
    view, labels = victims(model, batch, sigma)
    assert found_share(attacked(demix(threat(model, batch)), view), labels) >= least


@pytest.mark.parametrize("form", [("counts", {}), ("llg", {}), ("llg_star", {}), ("llg_plus", {})], ids=str)
def test_a_classifier_without_a_bias_is_served(form, victims):
    name, args = form
    view, labels = victims("unbiased", 8)
    assert "bias" not in view.update["head"]
    chance = found_share(attacked(LABELS["random"](threat("unbiased", 8)), view), labels)
    assert found_share(attacked(LABELS[name](threat("unbiased", 8), **args), view), labels) > chance + 0.1


def test_the_count_identity(digits):
    """lambda = B (pbar - db), with the true pbar."""
    for model in (net("mlp"), net("lenet")):
        params = model.init(KEY)
        batch = Batch(jnp.asarray(digits.x[:32]), jnp.asarray(digits.labels[:32]).astype(jnp.int32))
        db = head(model, jax.jit(fedsgd(model, cross_entropy))(KEY, params, batch)).bias
        pbar = jax.nn.softmax(jax.jit(model.apply)(params, batch.x)).mean(0)
        np.testing.assert_allclose(pbar - db, np.bincount(batch.y, minlength=10) / 32, atol=1e-5 / 32)


def test_imbalance_tells_what_is_not_a_gradient_of_cross_entropy(small):
    case = small(8)

    def of(client):
        return float(imbalance(head(case.model, client(KEY, case.params, case.batch))))

    assert of(case.client) < 1e-6
    smooth = case.batch._replace(y=0.9 * jax.nn.one_hot(case.batch.y, 10) + 0.01)
    assert float(imbalance(head(case.model, case.client(KEY, case.params, smooth)))) < 1e-6
    for other in (gaussian(sigma=0.05), prune(fraction=0.5)):
        assert of(other(case.client)) > 0.05
    assert of(fedsgd(case.model, mse)) > 0.05
    zeros = jax.tree.map(jnp.zeros_like, case.view.update)
    assert float(imbalance(head(case.model, zeros))) == 0


@pytest.mark.parametrize("name", ["counts", "demix", "ilrg", "llg", "llg_plus", "llg_star"])
def test_another_loss_is_refused_with_what_works(name):
    with pytest.raises(InputError, match=f"{name} needs softmax cross entropy, got the loss 'mse'; use idlg"):
        LABELS[name](threat("mlp", 8, loss=mse))
    LABELS[name](threat("mlp", 8, loss=cross_entropy))


@pytest.mark.parametrize(
    "attack", [llg_plus, lambda t: counts(t, pbar="auxiliary")], ids=["llg_plus", "counts"]
)
def test_auxiliary_data_absent_or_lacking_a_class(attack, victims):
    view = only(victims("mlp", 8)[0], 0)
    with pytest.raises(InputError, match=r"needs auxiliary data: give View\(prior=Batch\(x, y\)\)"):
        attack(threat("mlp", 8))(KEY, view._replace(prior=None))
    x, y = view.prior
    some = Batch(x[(y != 3) & (y != 7)], y[(y != 3) & (y != 7)])
    with pytest.raises(InputError, match=r"lack images of the classes \[3, 7\]; add some or use llg_star"):
        attack(threat("mlp", 8))(KEY, view._replace(prior=some))


BAD = [
    (lambda: llg_star(threat("mlp", 8), dummy="zeroes"), "unknown dummy 'zeroes'; did you mean 'zeros'"),
    (lambda: demix(threat("mlp", 8), dummy="grey"), "unknown dummy 'grey'; known: leaves, natural"),
    (lambda: demix(threat("mlp", 8), dummy="zeros"), "must differ from each other here, got dummy='zeros'"),
    (lambda: counts(threat("mlp", 8), pbar="flatt"), "unknown pbar 'flatt'; did you mean 'flat'"),
    (lambda: yin(threat("mlp", 11)), "yin finds each class once, got batch=11 > classes=10; use another"),
    (lambda: idlg(threat("mlp", 2)), "single image, got batch=2"),
    (lambda: demix(threat("mlp", 8), steps=0), "steps must be >= 1, got steps=0"),
    (lambda: demix(threat("mlp", 8), images=1), "images must be >= 2, got images=1"),
    (lambda: demix(threat("mlp", 8, lr=-0.1)), "lr must be >= 0, got lr=-0.1"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:25] for _, message in BAD])
def test_bad_arguments_are_refused_when_the_attack_is_made(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_ilrg_without_a_bias_names_what_works(victims):
    view = only(victims("unbiased", 8)[0], 0)
    with pytest.raises(InputError, match="ilrg needs the gradient of the classifier's bias; use demix"):
        ilrg(threat("unbiased", 8))(KEY, view)


@pytest.mark.parametrize("attack", [llg_star, llg_plus, demix])
def test_a_model_that_hides_its_features(attack, victims):
    """Its bias still gives `counts`, which looks at no image."""
    view = only(victims("mlp", 8)[0], 0)
    hiding = Threat(client=None, model=net("mlp")._replace(features=None), batch=8)
    with pytest.raises(InputError, match="give its Model a `features` function"):
        attack(hiding)(KEY, view)
    assert counts(hiding)(KEY, view).tolist() == counts(threat("mlp", 8))(KEY, view).tolist()


@pytest.mark.parametrize("name", DUMMIES)
@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 7, 3)])
def test_dummies_are_images_and_of_the_shape(name, shape):
    x = DUMMIES[name](KEY, (3, *shape))
    assert x.shape == (3, *shape) and bool(((x >= 0) & (x <= 1)).all())


@pytest.mark.parametrize("bias", [True, False])
def test_demix_takes_the_mean_over_local_steps(bias):
    """A sum of I equal gradients, at learning rate 0, is one gradient."""
    model = models.mlp((4, 4, 1), 5, hidden=16, bias=bias)
    params = model.init(jax.random.key(0))
    batch = Batch(jax.random.uniform(jax.random.key(1), (8, 4, 4, 1)), jnp.array([0, 0, 1, 3, 3, 3, 4, 4]))
    update = fedsgd(model, cross_entropy)(jax.random.key(2), params, batch)
    one, four = (Threat(client=None, model=model, batch=8, local_steps=i) for i in (1, 4))
    summed = View(params, jax.tree.map(lambda u: 4 * u, update))
    found = demix(four)(jax.random.key(3), summed).tolist()
    assert found == demix(one)(jax.random.key(3), View(params, update)).tolist()
    assert found == [2, 1, 0, 3, 2]
