"""What being in ATTACKS promises. A new attack gets a line in LINES of `attacking.py`."""

import inspect

import attacking
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attacking import (
    KEYS,
    LINES,
    RESTARTS,
    equal,
    every_attack,
    every_search,
    four,
    fresh,
    largest,
    margin,
    settings,
)

from jleak.audit import pieces, programs
from jleak.audit.case import Case
from jleak.catalog import ATTACKS
from jleak.defenses import clip
from jleak.search import advance, begin, best
from jleak.types import Threat, View


@pytest.mark.parametrize("name", sorted({*ATTACKS, *LINES}))
def test_every_attack_has_a_line(name):
    assert name in LINES, (
        f"attack {name!r} keeps no promise yet: give it a line in LINES of {attacking.__file__}"
    )
    assert name in ATTACKS, (
        f"LINES of {attacking.__file__} has a line of {name!r}, which is not in the catalog"
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
        rec = jax.eval_shape(ATTACKS[name](case.threat, **settings(name, 2)), KEYS[0], view)
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
        settled = LINES[name].closed or LINES[name].least > 1
        assert settled or not np.array_equal(other.x, recs.x)
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
    if line.closed:
        np.testing.assert_array_equal(recs.evaluations, 1)
        return
    searching = inspect.signature(ATTACKS[name]).parameters["optim"].default == "lbfgs"
    most = line.steps * (21 if searching else 1)
    assert np.all((line.steps <= recs.evaluations) & (recs.evaluations <= most))


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


@every_search
def test_a_search_that_diverges_returns_what_it_had(name, small):
    """Steps of 1e30 leave the first point the best one, or a later finite one."""
    victim = small(LINES[name].least)
    attack = ATTACKS[name](victim.threat, **settings(name, 5, lr=1e30, optim="sgd"))

    def watched(key):
        state, losses = advance(attack, key, begin(attack, key, victim.view), victim.view, jnp.asarray(0), 5)
        return attack.read(state, victim.view), losses

    recs, losses = jax.jit(jax.vmap(watched))(KEYS)
    moved = [t for t in range(1, 5) if t not in LINES[name].anew]
    assert np.all(losses[:, moved] != losses[:, :1])
    assert np.isfinite(recs.x).all() and np.isfinite(recs.loss).all()
    np.testing.assert_array_equal(recs.loss, np.nanmin(losses, axis=1))


@every_search
def test_the_audits_programs_run_the_same_attack(name, victim, monkeypatch):
    """In pieces to the bit as at one go; beside the plain attack, another program, up to rounding."""
    steps, lanes = 23, 4  # eight pieces of three steps, the last one cut
    case = Case(
        attack=name,
        attack_args=settings(name, steps, optim="adam"),
        model="mlp",
        model_args={"hidden": 32},
        victims=2,
        restarts=2,
        lanes=lanes,
    )
    updates = jax.tree.map(lambda u: jnp.stack([u, 2 * u]), victim.view.update)
    traced = {k: v for k, v in case.attack_args.items() if isinstance(v, float)}
    floats = {"attack": traced, "client": {}, "defense": {}}
    given = programs.Given(KEYS, jnp.array([0, 0, 1, 1]), victim.params, updates, None, None, floats)

    def in_pieces(count):
        monkeypatch.setattr(programs, "PIECES", count)
        attacker, _ = programs.attacker(case, victim.model, given)
        return attacker.pieces, *pieces.attack(case, attacker, given, lambda share, loss: None)

    (many, recs, finite, _), (one, whole, _, _) = in_pieces(10), in_pieces(1)
    assert (many, one) == (8, 1)
    assert finite.all()
    assert equal(recs, whole)

    attack = ATTACKS[name](victim.threat, **settings(name, steps, optim="adam"))
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
