"""Label leakage from seed to record: who sees what, and that the numbers are what they claim to be."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data
from jleak.audit.cohort import programs as cohort
from jleak.audit.cohort.programs import Pool
from jleak.audit.cohort.stages import Memory
from jleak.audit.labels import trial
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.driver import measure
from jleak.audit.labels.pools import auxiliary
from jleak.clients import fedavg, fedsgd
from jleak.data import halves
from jleak.defenses import clip
from jleak.labels import imbalance, llg_plus
from jleak.labels.head import head
from jleak.losses import cross_entropy
from jleak.tree import stream
from jleak.types import Batch, Threat, View

TIMES = ("seconds", "compile_seconds")


def numbers(record):
    return {name: value for name, value in record.items() if name not in TIMES}


def test_a_record_is_complete_and_repeats(case, run):
    record = run(case())
    assert LabelCase.from_json(record) == case() and record["case_id"] == case().case_id
    assert record["kind"] == "labels" and record["status"] == "ok" and record["accuracy"] is None
    assert [len(record[name]) for name in ("success", "imbalance", "found")] == [6, 6, 6]
    assert record["found"] == [4] * 6 and max(record["imbalance"]) < 1e-5
    assert numbers(record) == numbers(measure([case()])[0])  # with programs and memory of its own
    assert run(case(seed=1))["imbalance"] != record["imbalance"]


def test_attacks_find_what_guessing_does_not(case, run):
    batch = {"batch": 8, "models": 30}
    rates = {name: np.mean(run(case(attack=name, **batch))["success"]) for name in ("random", "llg_plus")}
    assert rates["llg_plus"] > 0.95 and 0.3 < rates["random"] < 0.6  # of 8 labels in 10 classes: 0.44


def test_more_models_leave_the_first_ones_as_they_were(case, run):
    few, many = (run(case(attack="demix", models=n, lanes=3))["success"] for n in (3, 6))
    assert many[:3] == few


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ({}, lambda model: fedsgd(model, cross_entropy)),
        (
            {"client": "fedavg", "client_args": {"steps": 2, "lr": 0.5, "epochs": 2}},
            lambda model: fedavg(model, cross_entropy, steps=2, lr=0.5, epochs=2),
        ),
        (
            {"defense": "clip", "defense_args": {"bound": 0.1}},
            lambda model: clip(bound=0.1)(fedsgd(model, cross_entropy)),
        ),
    ],
)
def test_updates_are_those_of_the_client(case, shared, fields, client):
    """Against a plain call of the client, for every model and victim."""
    one = case(victims=2, **fields)
    model, sides, stage, sent, truth = shared(one)
    key = jax.random.key(one.seed)
    held = data.victims(stream(key, "data"), sides.pools.private, 12, 4, "uniform")
    for i in range(one.models):
        params = model.init(jax.random.fold_in(stream(key, "model"), i))
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6), stage.params, params
        )
        for v in range(one.victims):
            batch = Batch(held.x[2 * i + v], held.y[2 * i + v])
            k = jax.random.fold_in(jax.random.fold_in(stream(key, "client"), i), v)
            update = client(model)(k, params, batch)
            found = jax.tree.map(lambda leaf, i=i, v=v: leaf[i, v], sent)
            read = ["head"] if one.client == "fedsgd" else list(update)  # no more reaches the attacker
            assert sorted(found.updates) == sorted(read)
            for name in ("kernel", "bias"):
                wanted = update["head"][name]
                np.testing.assert_allclose(found.updates["head"][name], wanted, rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(found.imbalance, imbalance(head(model, update)), atol=1e-5)
            assert truth[i, v].tolist() == np.bincount(batch.y, minlength=10).tolist()


def test_the_attack_is_the_one_on_its_own(case, shared, digits, run):
    """LLG+ with each model's own auxiliary images, called directly."""
    one = case(attack="llg_plus", auxiliary=3)
    model, sides, stage, sent, truth = shared(one)
    aside = auxiliary(one, sides.pools.public, one.models)
    threat = Threat(client=fedsgd(model, cross_entropy), model=model, batch=one.batch)
    for i, success in enumerate(run(one)["success"]):
        prior = Pool(sides.public.x, sides.public.y).batch(aside[i])
        params, update = (jax.tree.map(lambda u, i=i: u[i], tree) for tree in (stage.params, sent.updates))
        view = View(params, jax.tree.map(lambda u: u[0], update), prior=prior)
        counts = np.asarray(llg_plus(threat)(jax.random.key(9), view))
        assert success == pytest.approx(np.minimum(counts, truth[i, 0]).sum() / 4)


def test_the_truth_never_reaches_the_attacker(case, shared, digits, monkeypatch):
    """Its program depends on nothing but views: other private images, same updates, same counts."""
    one = case(attack="llg_plus")
    model, sides, stage, sent, _ = shared(one)
    seen = []
    monkeypatch.setattr(Memory, "compiled", lambda self, name, shaping, fn, *args: seen.append(args) or fn)
    counts, _ = trial.attacked(one, model, sides, stage.params, sent.updates, Memory())
    ((given,),) = seen
    assert set(given._fields) == {"keys", "params", "updates", "public", "auxiliary", "floats"}
    private = {image.tobytes() for image in np.asarray(sides.private.x)}
    assert not private & {image.tobytes() for image in np.asarray(given.public.x)}
    other = sides._replace(private=sides.private._replace(x=sides.private.x * 0, y=sides.private.y * 0))
    again, _ = trial.attacked(one, model, other, stage.params, sent.updates, Memory())
    np.testing.assert_array_equal(counts, again)


def test_an_attack_is_given_a_view_without_labels(case, run, own_attack):
    """A user's own: it says what it was given by what it predicts."""
    record = run(case(attack=f"{own_attack}:spy", models=2, lanes=2))
    assert record["found"] == [4, 4]
    assert own_attack_seen() == {(("head",), None, (10 * 20, 8, 8, 1))}


def own_attack_seen():
    return sys.modules["own_labels"].SEEN


@pytest.fixture
def own_attack(tmp_path, monkeypatch):
    """A module with a label attack of the user's own, a plain function."""
    (tmp_path / "own_labels.py").write_text(
        "import jax.numpy as jnp\n"
        "SEEN = set()\n"
        "def spy(threat):\n"
        "    def attack(key, view):\n"
        "        SEEN.add((tuple(view.update), view.labels, view.prior.x.shape))\n"
        "        return jnp.zeros(threat.classes, int).at[3].set(threat.batch)\n"
        "    return attack\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_labels", raising=False)
    return "own_labels"


def test_both_sides_share_no_image(digits):
    marked = digits._replace(x=np.arange(digits.size).reshape(-1, 1, 1, 1))
    private, public = halves(jax.random.key(3), marked)
    assert not {*private.x.ravel()} & {*public.x.ravel()}
    assert {*private.x.ravel()} | {*public.x.ravel()} == {*range(digits.size)}
    for side in (private, public):
        np.testing.assert_array_equal(side.labels, digits.labels[side.x.ravel()])
    sizes = [np.bincount(side.labels) for side in (private, public)]
    assert set(sizes[0] - sizes[1]) <= {0, 1}
    assert {*halves(jax.random.key(4), marked).public.x.ravel()} != {*public.x.ravel()}


def test_auxiliary_images_are_public_and_as_many_of_each_class(case, digits):
    public = halves(jax.random.key(0), digits).public
    rows = auxiliary(case(auxiliary=5), public, 3)
    for row in rows:
        assert np.bincount(public.labels[row]).tolist() == [5] * 10 and len({*row}) == 50
    assert len({tuple(row) for row in rows}) == 3
    few = auxiliary(case(auxiliary=200), public, 1)[0]
    assert {*few} == {*range(public.size)} and np.bincount(public.labels[few]).tolist() == [200] * 10


def test_training_in_stages_is_training_at_once(case, digits, run):
    told = []
    steps = (0, 70, 120)
    memory = Memory()
    staged = [
        trial.trial(case(train_steps=n), {"digits": digits}, memory, lambda part, _: told.append(part))[0]
        for n in steps
    ]
    assert told == [50 / 70, 1.0, 1.0]  # 50 steps a call; then from 70 on, not from the start
    at_once = [measure([case(train_steps=n)])[0] for n in steps]
    assert [*map(numbers, staged)] == [*map(numbers, at_once)]
    back = trial.trial(case(train_steps=70), {"digits": digits}, memory, lambda part, _: None)[0]
    assert numbers(back) == numbers(staged[1])
    assert staged[0]["accuracy"] is None and 0.1 < staged[1]["accuracy"] < staged[2]["accuracy"] < 1


def test_training_is_plain_sgd_on_public_images(case, shared, monkeypatch):
    """Also across two calls of its program."""
    monkeypatch.setattr(cohort, "STEPS", 2)
    one = case(train_steps=3, train_lr=0.2, train_batch=5)
    model, sides, stage, _, _ = shared(one)
    key = jax.random.key(one.seed)
    for i in (0, 5):
        params = model.init(jax.random.fold_in(stream(key, "model"), i))
        for t in range(3):
            k = jax.random.fold_in(jax.random.fold_in(stream(key, "training"), i), t)
            picks = jax.random.randint(k, (5,), 0, sides.pools.public.size)
            batch = Batch(sides.pools.public.x[picks], jnp.asarray(sides.pools.public.labels[picks]))
            g = fedsgd(model, cross_entropy)(k, params, batch)
            params = {"params": jax.tree.map(lambda w, u: w - 0.2 * u, params["params"], g)}
        found = jax.tree.map(lambda leaf, i=i: leaf[i], stage.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, params)


def test_updates_are_computed_once_for_all_attacks(case, digits, monkeypatch):
    calls = []
    clients = trial.clients
    monkeypatch.setattr(trial, "clients", lambda *args: calls.append(args[0]) or clients(*args))
    memory = Memory()
    plan = [case(attack="random"), case(attack="bias_sign"), case(attack="llg", assumed_batch=9)]
    for one in [*plan, case(seed=1), case(seed=1, attack="yin")]:
        trial.trial(one, {"digits": digits}, memory, lambda part, loss: None)
    assert [one.seed for one in calls] == [0, 1]


def test_strengths_and_seeds_share_programs(case, digits):
    memory = Memory()
    for changes in ({"sigma": 0.1}, {"sigma": 0.2}):
        for seed in (0, 1):
            one = case(
                defense="gaussian", defense_args=changes, seed=seed, train_steps=2, train_lr=seed + 0.1
            )
            trial.trial(one, {"digits": digits}, memory, lambda part, loss: None)
    assert sorted(key[0] for key in memory.programs.known) == [
        "accuracy", "attacker", "clients", "init", "training",
    ]  # fmt: skip
