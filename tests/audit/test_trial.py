"""One case from its seed to its record: repeatable, the same however it is cut up, and blind to the truth."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data
from jleak.audit import pieces, programs, results, sides, store, trial
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import attack_of, floats_of, model_of
from jleak.metrics import METRICS, pair, snr
from jleak.types import Batch, View

NOISE = {"defense": "gaussian", "defense_args": {"sigma": 0.01}}


@pytest.fixture(scope="module")
def shared(digits):
    """`shared(case)`: what the clients hold and share, out of programs of its own."""

    def run(case):
        return sides.clients([case], digits, model_of(case, digits.shape, digits.classes), Programs())

    return run


def fresh(case, images):
    return trial.trial(case, images, Programs(), lambda part, loss: None)


def assert_equal(one, other):
    """Equal to the bit, NaN included."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        {"attack": "dlg", "attack_args": {"steps": 3}},
        {"attack_args": {"steps": 7, "lr": 0.01}},
        {"knows": "all"},
        {"restarts": 3},
        {"known_labels": True},
    ],
)
def test_attacking_changes_neither_data_nor_model_nor_updates(small_case, shared, audited, changes):
    one, other = small_case(**NOISE), small_case(**NOISE | changes)
    assert_equal(shared(one), shared(other))
    assert_equal(audited(one)[1]["truth"], audited(other)[1]["truth"])
    assert_equal(audited(one)[1]["labels"], audited(other)[1]["labels"])
    assert audited(one)[0]["snr"] == audited(other)[0]["snr"]


def test_a_defense_changes_the_updates_alone(small_case, shared):
    plain, noisy = shared(small_case()), shared(small_case(**NOISE))
    assert_equal((plain.batches, plain.params), (noisy.batches, noisy.params))
    difference = jax.tree.map(jnp.subtract, noisy.updates, plain.updates)
    spread = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(difference)]).std()
    assert spread == pytest.approx(0.01, rel=0.1)
    assert np.isinf(plain.snr).all()
    for i in range(2):
        ratio = snr(*(jax.tree.map(lambda u: u[i], t.updates) for t in (plain, noisy)))  # noqa: B023
        assert float(noisy.snr[i]) == pytest.approx(float(ratio), abs=1e-3)


def test_the_same_seed_twice(small_case, digits, numbers):
    case = small_case(**NOISE, seed=3, restarts=2)
    (one, images), (other, more) = fresh(case, digits), fresh(case, digits)
    assert numbers(one) == numbers(other)
    assert_equal(images, more)


def test_other_seeds_change_everything(small_case, shared, audited):
    zero, one = (shared(small_case(**NOISE, seed=seed)) for seed in (0, 1))
    drawn = [truth.params["params"]["dense0"]["kernel"] for truth in (zero, one)]
    pairs = [(t.batches.x, w, t.updates, t.snr) for t, w in zip((zero, one), drawn, strict=True)]
    for a, b in zip(*map(jax.tree.leaves, pairs), strict=True):
        assert not np.array_equal(a, b)
    keys = [sides.view_of([small_case(seed=seed)], zero).keys for seed in (0, 1)]
    assert not np.array_equal(*map(jax.random.key_data, keys))
    first, second = (audited(small_case(**NOISE, seed=seed))[0] for seed in (0, 1))
    assert first["loss"] != second["loss"] and first["case_id"] != second["case_id"]


def test_victims_hold_different_images_and_noises(small_case, shared):
    truth = shared(small_case(defense="gaussian", defense_args={"sigma": 1e6}))
    assert not np.array_equal(truth.batches.x[0], truth.batches.x[1])
    for leaf in jax.tree.leaves(truth.updates):
        assert np.abs(np.corrcoef(np.ravel(leaf[0]), np.ravel(leaf[1]))[0, 1]) < 0.9


@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_a_search_may_be_cut_anywhere(small_case, digits, audited, numbers, monkeypatch, pieces):
    case = small_case(**NOISE)
    expected, images = audited(case)
    monkeypatch.setattr(programs, "PIECES", pieces)
    record, found = fresh(case, digits)
    assert numbers(record) == numbers(expected)
    assert_equal(found["reconstruction"], images["reconstruction"])
    assert record["evaluations"] == 2 * 20
    spent = np.array(found["spent"])
    assert spent.shape == found["losses"].shape and (spent[-1] == 20).all()
    assert (np.diff(spent, axis=0) > 0).all() and (np.diff(found["losses"], axis=0) <= 0).all()


def test_steps_that_pieces_do_not_divide_are_all_there_is(small_case, audited):
    record, arrays = audited(small_case(attack_args={"steps": 13}))
    assert record["evaluations"] == 2 * 13
    np.testing.assert_array_equal(
        arrays["snapshots"][-1], np.clip(arrays["snapshots"][-1], 0, 1).astype(np.float16)
    )
    assert len(arrays["snapshots"]) == len(arrays["shares"]) and arrays["shares"][-1] == 1


def test_a_search_in_pieces_is_the_attack_in_one_call(small_case, shared, audited, digits):
    """As a user would call it. Batches round differently and signs amplify that, hence the tolerance."""
    case = small_case(victims=1, attack_args={"steps": 20, "signed": False})
    model, truth = model_of(case, digits.shape, digits.classes), shared(case)
    view = View(truth.params, jax.tree.map(lambda u: u[0], truth.updates))
    attack = attack_of(case, model, view, floats_of(case))
    key = sides.view_of([case], truth).keys[0]
    found = jax.jit(attack)(key, view)
    record, arrays = audited(case)
    assert float(found.loss) == pytest.approx(record["loss"][0], rel=1e-3)
    np.testing.assert_allclose(found.x, arrays["reconstruction"][0], atol=2e-3)
    assert int(found.evaluations) == record["evaluations"]


def count(case, images, cache):
    """How many programs a case compiled, and its record."""
    before = len(cache.known)
    record, _ = trial.trial(case, images, cache, lambda part, loss: None)
    assert (record["compile_seconds"] > 0) == (len(cache.known) > before)
    return len(cache.known) - before, record


def test_cases_share_programs_and_numbers_do_not_notice(small_case, digits, numbers):
    """Each case beside what it has to compile; where nothing, it gets the numbers of its own programs."""
    strong = {"defense": "clip", "defense_args": {"bound": 0.5}}
    weak = {"defense": "clip", "defense_args": {"bound": 1.0}}
    plan = [
        (small_case(), 4),  # model, clients, attacker, score
        (small_case(seed=5), 0),
        (small_case(draw="one_class"), 0),
        (small_case(attack_args={"steps": 20, "lr": 0.03, "tv": 0.0}), 0),
        (small_case(**strong), 1),  # clients
        (small_case(**weak), 0),
        (small_case(**weak, knows="kind"), 1),  # attacker
        (small_case(**strong, knows="kind", seed=5), 0),
        (small_case(**strong, knows="all"), 1),  # attacker
        (small_case(**weak, knows="all"), 0),
        (small_case(**NOISE, knows="kind"), 1),  # clients; nothing imitates a noise
    ]
    cache = Programs()
    for case, expected in plan:
        compiled, record = count(case, digits, cache)
        assert compiled == expected, case
        if not expected:
            assert numbers(record) == numbers(fresh(case, digits)[0]), case


def test_who_knows_the_strength_uses_it(small_case, audited):
    """Two strengths out of one program must differ where the attacker sees only the strength."""
    prune = [{"defense": "prune", "defense_args": {"fraction": f}, "knows": "all"} for f in (0.5, 0.9)]
    assert audited(small_case(**prune[0]))[0]["loss"] != audited(small_case(**prune[1]))[0]["loss"]


def test_known_labels_reach_the_view(small_case, shared, audited):
    drowned = {"defense": "gaussian", "defense_args": {"sigma": 100.0}, "victims": 6}
    blind, told = small_case(**drowned), small_case(**drowned, known_labels=True)
    assert sides.view_of([blind], shared(blind)).labels is None
    np.testing.assert_array_equal(sides.view_of([told], shared(told)).labels, shared(told).batches.y)
    assert audited(told)[0]["label_success"] == [1.0] * 6
    assert sum(audited(blind)[0]["label_success"]) < 6


def test_the_attacker_is_given_no_truth(small_case, shared):
    case = small_case(**NOISE, batch=3, restarts=2)
    truth = shared(case)
    given = sides.view_of([case], truth)
    assert given._fields == ("keys", "victim", "params", "updates", "labels", "statistics", "floats", "prior")
    assert given.labels is given.prior is None and given.floats["defense"] == {}
    assert all(leaf.shape[-3:] != (8, 8, 1) for leaf in jax.tree.leaves((given.params, given.updates)))
    blank = Batch(jnp.zeros_like(truth.batches.x), jnp.zeros_like(truth.batches.y))
    assert_equal(given, sides.view_of([case], truth._replace(batches=blank, snr=0 * truth.snr)))


def test_of_the_restarts_the_attackers_own_loss_decides(small_case, shared, audited, digits):
    """The same six lanes as six victims of one start each, against two victims of three starts."""
    case = small_case(**NOISE, restarts=3)
    alone = dataclasses.replace(case, restarts=1, victims=6)
    given = sides.view_of([case], shared(case))
    lanes = given._replace(
        victim=jnp.arange(6), updates=jax.tree.map(lambda u: jnp.repeat(u, 3, axis=0), given.updates)
    )
    attacker, _ = programs.attacker(alone, model_of(alone, digits.shape, digits.classes), lanes)
    every, _, _ = pieces.attack(alone, attacker, lanes, lambda part, loss: None)
    losses = np.reshape(every.loss, (2, 3))
    winners = losses.argmin(1)
    assert len(np.unique(losses)) == 6 and losses.min() > 0
    record, arrays = audited(case)
    assert record["loss"] == results.significant(losses.min(1))
    chosen = np.reshape(every.x, (2, 3, 1, 8, 8, 1))[np.arange(2), winners]
    np.testing.assert_array_equal(arrays["reconstruction"], chosen.astype(np.float16))
    assert record["evaluations"] == int(every.evaluations.sum()) == 2 * 3 * 20


def test_more_restarts_never_raise_the_own_loss(small_case, audited):
    few, many = (audited(small_case(**NOISE, restarts=n))[0]["loss"] for n in (1, 4))
    assert np.mean(many) < np.mean(few)


@pytest.mark.parametrize(
    "changes", [{}, NOISE, {"batch": 3, "known_labels": True, "draw": "distinct"}, {"attack": "dlg"}]
)
def test_the_numbers_are_those_of_the_stored_images(small_case, audited, changes):
    steps = {"attack_args": {"steps": 8}}  # far from exact, where halves of floats would show
    record, arrays = audited(small_case(**steps | changes))
    truth, found = (arrays[name].astype(np.float32) for name in ("truth", "reconstruction"))
    assert truth.shape == found.shape == (2, record["batch"], 8, 8, 1)
    for i in range(2):
        for name, entry in METRICS.items():
            assert record[name][i] == pytest.approx(float(entry.fn(found[i], truth[i]).mean()), rel=5e-3)
        np.testing.assert_array_equal(pair(found[i], truth[i]), np.arange(record["batch"]))
        grey = (
            10 * math.log10(1 / np.mean([image.var() for image in truth[i]])) if len(truth[i]) == 1 else None
        )
        assert grey is None or record["constant_psnr"][i] == pytest.approx(grey, rel=1e-3)


@pytest.mark.parametrize("sigma", [1e38, 3e38])  # one entry beyond float32 is enough
def test_updates_that_are_not_finite_are_a_status(small_case, audited, sigma):
    record, arrays = audited(small_case(defense="gaussian", defense_args={"sigma": sigma}))
    assert record["status"] == "non-finite update"
    assert record["diverged"] == (2 if sigma == 3e38 else 1)
    assert all(math.isfinite(psnr) for psnr in record["psnr"])
    assert json.loads(store.as_json(record))["loss"].count(None) == record["diverged"]
    assert np.isfinite(arrays["reconstruction"]).all()


def test_status():
    for sound, lanes, expected in [
        ([True, True], [True, True], "ok"),
        ([True, True], [True, False], "ok, some restarts diverged"),
        ([True, True], [False, False], "non-finite loss"),
        ([True, False], [True, True], "non-finite update"),
    ]:
        assert results.status(np.array(sound), np.array(lanes)) == expected


def test_a_record_is_complete(small_case, audited):
    case = small_case(**NOISE, restarts=2)
    record, _ = audited(case)
    assert Case.from_json(record) == case and record["case_id"] == case.case_id
    for name in (*METRICS, "label_success", "loss", "snr", "constant_psnr"):
        assert len(record[name]) == 2 and all(isinstance(number, float) for number in record[name])
    assert record["status"] == "ok" and record["diverged"] == 0 and record["seconds"] > 0
    assert record["device"].startswith(jax.default_backend())
    assert record["versions"]["jax"] == jax.__version__
    assert {"python", "jleak", "jaxlib", "numpy"} <= record["versions"].keys()


def test_a_search_tells_how_far_it_is(small_case, digits):
    heard = []
    case = small_case(attack_args={"steps": 25})
    trial.trial(case, digits, Programs(), lambda part, loss: heard.append((part, loss)))
    parts, losses = zip(*heard, strict=True)
    assert parts == tuple(np.arange(1, 14) / 13) and losses[-1] < losses[0]


def test_a_prior_that_has_learnt_from_the_victims_images_is_told(small_case, digits):
    """The bundled one has learnt from public:digits, of which these hold some."""
    case = small_case(attack="ggl", attack_args={"evaluations": 40, "population": 20}, victims=1)
    assert trial.learnt(case, digits).startswith("the prior has learnt from these images")
    assert trial.learnt(case, data.load("private:digits")) == ""
    assert trial.learnt(small_case(), digits) == ""
    told = results.status(np.array([True]), np.array([True, False]), note="a note")
    assert told == "ok, some restarts diverged; a note"
