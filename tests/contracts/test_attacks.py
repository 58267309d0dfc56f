"""What being in ATTACKS promises. A new attack gets a line in LINES."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.audit import programs
from jleak.audit.case import Case
from jleak.catalog import ATTACKS
from jleak.defenses import clip
from jleak.search import advance, begin, best
from jleak.types import Threat, View

RESTARTS = 4
KEYS = jax.random.split(jax.random.key(11), RESTARTS)


def squared(got, seen, x):
    """DLG, algorithm 1: the sum of squared differences."""
    return np.sum((got - seen) ** 2)


def cosine_and_variation(got, seen, x):
    """Inverting Gradients, equation 4, and the total variation of its code: two means of |differences|."""
    cosine = got @ seen / np.linalg.norm(got) / np.linalg.norm(seen)
    rows, columns = np.abs(x[:, 1:] - x[:, :-1]), np.abs(x[:, :, 1:] - x[:, :, :-1])
    return 1 - cosine + 1e-4 * (rows.mean() + columns.mean())


class Line(NamedTuple):
    """One attack on the small case.

    `objective(its update, the seen one, x)` is the paper's, in NumPy. After `steps` steps the best of four
    starts has `measured` dB more than the best constant image; `asked` is what the test insists on.
    """

    objective: Callable
    steps: int
    measured: float
    asked: float
    most: int | None = None
    """The largest batch that it takes."""
    boxed: bool = False
    """Whether it looks for images in [0, 1] alone."""


LINES = {
    "dlg": Line(squared, 30, 69, 40),
    "idlg": Line(squared, 30, 141, 80, most=1),
    "inverting": Line(cosine_and_variation, 100, 58, 35, boxed=True),
}


def largest(name):
    return LINES[name].most if name in LINES else None


every_attack = pytest.mark.parametrize("name", sorted(ATTACKS))


@pytest.mark.parametrize("name", sorted({*ATTACKS, *LINES}))
def test_every_attack_has_a_line(name):
    assert name in LINES, f"attack {name!r} keeps no promise yet: give it a line in LINES of {__file__}"
    assert name in ATTACKS, f"LINES of {__file__} has a line of {name!r}, which is not in the catalog"


@pytest.fixture(scope="module")
def victim(small):
    return small(1)


class Run(NamedTuple):
    """A compiled attack `(four keys, four views)`, what it found on the small case, its tracings so far."""

    recs: Any
    attack: Callable
    traces: list[int]


@pytest.fixture(scope="module")
def run(victim):
    """`run(name)`: the attack on the small case from four keys; compiling it is what takes the time."""
    return functools.cache(lambda name: fresh(name, victim))


def fresh(name, victim):
    """The attack built, traced and run anew."""
    attack, traces = ATTACKS[name](victim.threat, steps=LINES[name].steps), []

    def noted(key, view):
        traces.append(1)
        return attack(key, view)

    compiled = jax.jit(jax.vmap(noted))
    return Run(compiled(KEYS, four(victim.view)), compiled, traces)


def four(view):
    return jax.tree.map(lambda u: jnp.stack([u] * RESTARTS), view)


def equal(a, b):
    return all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def psnr(x, truth):
    return -10 * np.log10(
        np.mean((np.clip(np.asarray(x, np.float64), 0, 1) - np.asarray(truth, np.float64)) ** 2)
    )


def margin(rec, victim):
    """How many dB it is above the best constant image."""
    truth = np.asarray(victim.batch.x)
    return psnr(rec.x, truth) - psnr(np.full_like(truth, truth.mean()), truth)


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def gradient(params, x, y):
    """The perceptron's gradient of the mean cross entropy, by hand, in double precision, as one vector."""
    w = jax.tree.map(lambda u: np.asarray(u, np.float64), params["params"])
    x, n = np.asarray(x, np.float64).reshape(len(x), -1), len(x)
    y = np.eye(10)[np.asarray(y)] if np.ndim(y) == 1 else np.asarray(y, np.float64)
    h = sigmoid(x @ w["dense0"]["kernel"] + w["dense0"]["bias"])
    logits = h @ w["head"]["kernel"] + w["head"]["bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    d_logits = (p / p.sum(1, keepdims=True) - y) / n
    d_h = d_logits @ w["head"]["kernel"].T * h * (1 - h)
    tree = {
        "dense0": {"kernel": x.T @ d_h, "bias": d_h.sum(0)},
        "head": {"kernel": h.T @ d_logits, "bias": d_logits.sum(0)},
    }
    return flat(tree)


def flat(tree):
    return np.concatenate([np.ravel(np.asarray(u, np.float64)) for u in jax.tree.leaves(tree)])


def test_the_oracle_of_the_gradient_is_the_clients(small):
    case = small(3)
    np.testing.assert_allclose(
        gradient(case.params, *case.batch), flat(case.view.update), rtol=1e-4, atol=1e-7
    )


@every_attack
def test_an_attack_is_made_of_a_threat_and_settings_alone(name):
    """No signature can receive the truth."""
    threat, *settings = inspect.signature(ATTACKS[name]).parameters.values()
    assert threat.annotation is Threat
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in settings)


@pytest.mark.parametrize(
    ("name", "n"), [(name, n) for name in sorted(ATTACKS) for n in (1, 3) if n <= (largest(name) or n)]
)
def test_output_has_the_shape_of_the_batch(name, n, small):
    case = small(n)
    for labels in (None, case.batch.y):
        view = case.view._replace(labels=labels)
        rec = jax.eval_shape(ATTACKS[name](case.threat, steps=2), KEYS[0], view)
        assert (rec.x.shape, rec.x.dtype) == ((n, 8, 8, 1), jnp.float32)
        soft = rec.y.ndim == 2
        assert rec.y.shape == ((n, 10) if soft else (n,))
        assert jnp.issubdtype(rec.y.dtype, jnp.floating if soft else jnp.integer)
        assert rec.loss.shape == rec.evaluations.shape == ()


@every_attack
def test_many_keys_compile_once(name, run, victim):
    recs, attack, traces = run(name)
    for seed in (1, 2):
        other = attack(jax.random.split(jax.random.key(seed), RESTARTS), four(victim.view))
        assert not np.array_equal(other.x, recs.x)
    assert len(traces) == 1


@every_attack
def test_one_key_gives_the_same_bits(name, run, victim):
    """Also when everything is built and traced anew."""
    assert equal(fresh(name, victim).recs, run(name).recs)


@every_attack
def test_beats_the_best_constant_image(name, run, victim):
    line, (recs, _, _) = LINES[name], run(name)
    rec = jax.tree.map(lambda u: u[np.argmin(recs.loss)], recs)
    gained = margin(rec, victim)
    assert line.asked < 0.75 * line.measured
    assert gained > line.asked, f"{gained:.0f} dB over the best constant image, once {line.measured} dB"
    label = rec.y if rec.y.ndim == 1 else rec.y.argmax(1)
    np.testing.assert_array_equal(label, victim.batch.y)


@every_attack
def test_a_box_holds_where_there_is_one(name, run):
    """And only there: DLG searches all numbers, from a start that is half negative."""
    x = run(name).recs.x
    assert (x.min() >= 0 and x.max() <= 1) == LINES[name].boxed


@every_attack
def test_evaluations_are_counted(name, run):
    line, recs = LINES[name], run(name).recs
    searching = inspect.signature(ATTACKS[name]).parameters["optim"].default == "lbfgs"
    most = line.steps * (21 if searching else 1)
    assert np.all((line.steps <= recs.evaluations) & (recs.evaluations <= most))


@every_attack
@pytest.mark.parametrize("granted", [False, True], ids=["own labels", "granted labels"])
def test_loss_is_the_papers_objective_at_what_is_returned(name, granted, small):
    """And granted labels are taken as they are, even wrong ones."""
    line = LINES[name]
    case = small(line.most or 2)
    wrong = (case.batch.y + 1) % 10
    view = case.view._replace(labels=wrong if granted else None)
    attack = ATTACKS[name](case.threat, steps=3, optim="adam")
    recs = jax.jit(jax.vmap(attack, (0, None)))(KEYS, view)
    for x, y, loss in zip(recs.x, recs.y, recs.loss, strict=True):
        if granted:
            np.testing.assert_array_equal(y, wrong)
        elif y.ndim == 2:
            np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
        wanted = recomputed(line, case, view, x, y)
        assert wanted > 1e-3  # early enough for the tolerance to mean something
        np.testing.assert_allclose(loss, wanted, rtol=1e-4)


@every_attack
def test_loss_is_the_objective_also_after_all_steps(name, run, victim):
    """With the paper's optimiser, which evaluates points on the way that it does not keep."""
    recs = run(name).recs
    for x, y, loss in zip(recs.x, recs.y, recs.loss, strict=True):
        np.testing.assert_allclose(
            loss, recomputed(LINES[name], victim, victim.view, x, y), rtol=1e-2, atol=1e-6
        )


def recomputed(line, case, view, x, y):
    return line.objective(gradient(case.params, x, y), flat(view.update), np.asarray(x, np.float64))


@every_attack
def test_a_candidate_of_nan_never_wins(name, run, victim):
    """Half of the candidates see a broken update; the best of all is the best of the others."""
    broken = jnp.array([True, False, True, False])
    spoil = jnp.where(broken, jnp.nan, 1.0)
    views = four(victim.view)
    update = jax.vmap(lambda u, s: jax.tree.map(lambda leaf: s * leaf, u))(views.update, spoil)
    recs = run(name).attack(KEYS, views._replace(update=update))
    np.testing.assert_array_equal(np.isfinite(recs.loss), ~broken)
    winner = best(recs)
    assert winner.loss == recs.loss[~broken].min()
    assert np.isfinite(winner.x).all()


@every_attack
def test_a_search_that_diverges_returns_what_it_had(name, victim):
    """Steps of 1e30 leave the first point the best one, or a later finite one."""
    attack = ATTACKS[name](victim.threat, steps=5, lr=1e30, optim="sgd")

    def watched(key):
        state, losses = advance(attack, key, begin(attack, key, victim.view), victim.view, jnp.asarray(0), 5)
        return attack.read(state, victim.view), losses

    recs, losses = jax.jit(jax.vmap(watched))(KEYS)
    assert np.all(losses[:, 1:] != losses[:, :1])
    assert np.isfinite(recs.x).all() and np.isfinite(recs.loss).all()
    np.testing.assert_array_equal(recs.loss, np.nanmin(losses, axis=1))


@every_attack
def test_the_audits_programs_run_the_same_attack(name, victim, monkeypatch):
    """In pieces to the bit as at one go; beside the plain attack, another program, up to rounding."""
    steps, lanes = 23, 4  # eight pieces of three steps, the last one cut
    case = Case(
        attack=name,
        attack_args={"steps": steps, "optim": "adam"},
        model="mlp",
        model_args={"hidden": 32},
        victims=2,
        restarts=2,
        lanes=lanes,
    )
    updates = jax.tree.map(lambda u: jnp.stack([u, 2 * u]), victim.view.update)
    settings = {k: v for k, v in case.attack_args.items() if isinstance(v, float)}
    floats = {"attack": settings, "client": {}, "defense": {}}
    given = programs.Given(KEYS, jnp.array([0, 0, 1, 1]), victim.params, updates, None, floats)

    def in_pieces(pieces):
        monkeypatch.setattr(programs, "PIECES", pieces)
        attacker, _ = programs.attacker(case, victim.model, given)
        states = attacker.begin(given)
        for piece in range(attacker.pieces):
            states, _ = attacker.advance(given, states, jnp.asarray(piece * attacker.steps))
        return attacker.pieces, *attacker.finish(given, states)

    (pieces, recs, finite), (one, whole, _) = in_pieces(10), in_pieces(1)
    assert (pieces, one) == (8, 1)
    assert finite.all()
    assert equal(recs, whole)

    attack = ATTACKS[name](victim.threat, steps=steps, optim="adam")
    views = View(victim.params, jax.tree.map(lambda u: u[given.victim], updates))
    plain = jax.jit(jax.vmap(attack, (0, View(None, 0))))(KEYS, views)
    for v in range(2):
        alone = jax.tree.map(lambda u, v=v: u[2 * v : 2 * v + 2], plain)
        winner = int(np.argmin(alone.loss))
        np.testing.assert_allclose(recs.loss[v], alone.loss[winner], rtol=1e-4)
        np.testing.assert_allclose(recs.x[v], alone.x[winner], atol=1e-3)
        assert recs.evaluations[v] == alone.evaluations.sum() == 2 * steps


def test_soft_labels_of_dlg_find_the_true_label(small, run):
    """Eight digits of one client, one update each."""
    cases = [small(1, seed) for seed in range(8)]
    params = cases[0].params
    views = [View(params, c.client(KEYS[0], params, c.batch)) for c in cases]
    truth = [int(c.batch.y[0]) for c in cases]
    assert len(set(truth)) > 4
    for group in (slice(0, 4), slice(4, 8)):
        recs = run("dlg").attack(KEYS, jax.tree.map(lambda *u: jnp.stack(u), *views[group]))
        np.testing.assert_array_equal(recs.y[:, 0].argmax(1), truth[group])
        assert recs.y[:, 0].max(1).min() > 0.9


def test_who_knows_of_a_defense_sees_through_it(victim, run):
    """One argument of the threat: the client that it believes in."""
    client = clip(bound=1.5)(victim.client)
    view = four(victim.view._replace(update=client(KEYS[0], victim.params, victim.batch)))
    adaptive = ATTACKS["idlg"](Threat(client=client, model=victim.model), steps=LINES["idlg"].steps)
    assert margin(best(run("idlg").attack(KEYS, view)), victim) < 3
    assert margin(best(jax.jit(jax.vmap(adaptive))(KEYS, view)), victim) > 20
