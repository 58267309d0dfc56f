"""What the recipes promise beside the contract: local steps unrolled, groups, statistics, tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data
from jleak.attacks import gradinversion, inverting, inverting_tuned, multistep
from jleak.attacks.gradinversion import disagreement
from jleak.attacks.multistep import merged, simulation
from jleak.check import InputError
from jleak.clients import fedavg, fedsgd, secure_aggregation
from jleak.losses import cross_entropy
from jleak.metrics import pair, psnr
from jleak.models import alexnet, mlp
from jleak.search import best_of
from jleak.types import Batch, Threat, View

MODEL = mlp((8, 8, 1), 10, hidden=64)


def attacked(attack, client, batch, *, model=MODEL, seed=2):
    """PSNR of every image."""
    params = model.init(jax.random.key(0))
    view = View(params, client(jax.random.key(1), params, batch), batch.y)
    rec = jax.jit(attack)(jax.random.key(seed), view)
    return np.asarray(psnr(rec.x[pair(rec.x, batch.x)], batch.x)), rec


@pytest.fixture(scope="module")
def four(digits):
    return data.draw(jax.random.key(7), digits, 4, "distinct")


@pytest.mark.parametrize("epochs", [1, 2])
def test_unrolled_local_steps_see_what_one_gradient_cannot(four, epochs):
    """At a rate that moves the model; the deal of the labels is found by the attacker's own loss."""
    client = fedavg(MODEL, cross_entropy, lr=0.1, steps=2, epochs=epochs)
    threat = Threat(client=client, model=MODEL, batch=4, local_steps=2 * epochs, epochs=epochs, lr=0.1)
    found, rec = attacked(best_of(multistep(threat, steps=400), 12), client, four)
    assert np.median(found) > 35
    assert rec.evaluations == 12 * 400 * 2 * epochs
    np.testing.assert_array_equal(rec.y, four.y)
    if epochs == 1:
        naive = Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=4)
        assert np.median(attacked(best_of(inverting(naive, steps=400), 12), client, four)[0]) < 25


def test_the_simulation_is_the_client(four):
    params = MODEL.init(jax.random.key(0))
    threat = Threat(client=None, model=MODEL, batch=4, local_steps=4, epochs=2, lr=0.3)
    simulated = jax.jit(simulation(threat))
    client = fedavg(MODEL, cross_entropy, lr=0.3, steps=2, epochs=2)
    wanted = client(jax.random.key(5), params, four)
    same = 0
    for seed in range(40):  # some deal is the client's own order, up to the order within a mini-batch
        deal = jax.vmap(lambda k: jax.random.permutation(k, 4))(jax.random.split(jax.random.key(seed), 2))
        found = simulated(params, jnp.stack([four.x] * 2), four.y, deal)
        far = max(abs(u - v).max() for u, v in zip(*map(jax.tree.leaves, (found, wanted)), strict=True))
        same += far < 1e-6
    assert 0 < same < 10


def test_epochs_are_matched_before_their_mean():
    x = jax.random.uniform(jax.random.key(0), (4, 3, 3, 1))
    y = jnp.array([0, 0, 1, 2])
    other = x[jnp.array([1, 0, 2, 3])]
    np.testing.assert_allclose(merged(jnp.stack([x, other, x]), y), x, rtol=1e-6)
    swapped = x[jnp.array([0, 1, 3, 2])]  # images of other labels are never exchanged
    assert not np.allclose(merged(jnp.stack([x, swapped]), y)[2], x[2])


@pytest.mark.parametrize("wrong", [{"local_steps": 3, "epochs": 2}, {"local_steps": 3}])
def test_steps_that_do_not_fit_are_refused(wrong):
    with pytest.raises(InputError, match="whole epochs and divide the batch"):
        multistep(Threat(client=None, model=MODEL, batch=4, lr=0.1, **wrong))


@pytest.mark.parametrize("recipe", [multistep, gradinversion])
def test_joint_labels_are_refused(recipe):
    with pytest.raises(InputError, match="needs the labels first"):
        recipe(Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=1), labels="joint")


def test_a_group_returns_its_best_member(four):
    threat = Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=4)
    found, rec = attacked(gradinversion(threat, steps=300, group=3), threat.client, four)
    assert rec.x.shape == (4, 8, 8, 1) and rec.evaluations == 3 * 301
    assert np.median(found) > 25


def test_a_group_disagrees_by_what_a_shift_does_not_explain():
    x = jax.random.uniform(jax.random.key(0), (1, 2, 8, 8, 1))
    assert not disagreement(x).any()
    apart = disagreement(jnp.concatenate([x, x + 0.1]))
    np.testing.assert_allclose(apart, 0.05 * 8, rtol=1e-2)


def test_statistics_that_the_client_sends_are_used(digits):
    """Where they are another image's, the search goes there, as far as their weight is high."""
    model = alexnet((8, 8, 1), 10, width=4, hidden=16, norm="batch", batchnorm="batch+sent")
    params = jax.jit(model.init)(jax.random.key(0))
    one, other = (data.draw(jax.random.key(s), digits, 2) for s in (0, 1))
    client = fedsgd(model, cross_entropy)
    update = jax.jit(client)(jax.random.key(1), params, one)
    threat = Threat(client=client, model=model, batch=2)
    attack = gradinversion(threat, steps=1, group=1, noise=0.0, match=0.0, tv=0.0, l2=0.0, statistics=1.0)

    @jax.jit
    def loss(x, sent):
        view = View(params, update, one.y, statistics=sent)
        state = attack.init(jax.random.key(0), view)._replace(point=x[None])
        return attack.step(jax.random.key(0), 0, state, view)[1]

    sent = jax.jit(model.statistics)(params, other.x)
    assert loss(other.x, sent) < 1e-3 < loss(one.x, sent)


def test_tensors_and_weights_change_what_is_matched(four):
    threat = Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=4)
    losses = [
        float(attacked(inverting(threat, steps=2, **more), threat.client, four)[1].loss)
        for more in ({}, {"tensors": "first:2"}, {"tensors": "top:1"}, {"weights": "exp"})
    ]
    assert len(set(losses)) == 4


def test_the_features_of_the_tuned_attack_count(four):
    threat = Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=4)
    without, with_ = (
        attacked(inverting_tuned(threat, steps=2, features=f), threat.client, four)[1].loss for f in (0, 1.0)
    )
    assert with_ > without


def test_secure_aggregation_is_the_mean_of_its_members(four):
    params = MODEL.init(jax.random.key(0))
    whole = fedsgd(MODEL, cross_entropy)(None, params, four)
    summed = secure_aggregation(MODEL, cross_entropy, members=2)(jax.random.key(3), params, four)
    for u, v in zip(jax.tree.leaves(whole), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(u, v, atol=1e-6)
    local = secure_aggregation(MODEL, cross_entropy, members=2, steps=2, lr=0.5)
    parts = [Batch(four.x[i : i + 2], four.y[i : i + 2]) for i in (0, 2)]
    alone = jax.jit(fedavg(MODEL, cross_entropy, lr=0.5, steps=2))
    found = local(jax.random.key(3), params, four)["head"]["bias"]
    one, other = (
        [alone(jax.random.key(a), params, part)["head"]["bias"] for a in range(6)] for part in parts
    )
    means = [(u + v) / 2 for u in one for v in other]
    assert min(abs(found - m).max() for m in means) < 1e-6
    with pytest.raises(InputError, match="members=3"):
        secure_aggregation(MODEL, cross_entropy, members=3)(jax.random.key(0), params, four)
