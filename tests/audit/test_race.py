"""Restarts that race: who goes on, what it saves, and that the best is never lost."""

import numpy as np
import pytest

from jleak.audit.race import going_on


def run(losses, *, alive=None, before=0.0, now=0.0, halving=False, stop=0.0):
    losses = np.asarray(losses, float)
    alive = np.ones(losses.shape, bool) if alive is None else np.asarray(alive)
    return going_on(losses, alive, before=before, now=now, halving=halving, stop=stop)


def test_without_a_race_only_lanes_without_a_finite_loss_end():
    found = run([[1.0, np.nan, np.inf, 0.0]], before=0.0, now=1.0)
    assert found.tolist() == [[True, False, False, True]]


@pytest.mark.parametrize(
    "before, now, kept",
    [(0, 0.1, 8), (0, 0.125, 4), (0.125, 0.2, 8), (0.2, 0.25, 4), (0.3, 0.5, 4), (0.5, 1, 8), (0, 1, 1)],
)
def test_a_rung_that_is_passed_keeps_the_better_half(before, now, kept):
    losses = np.random.default_rng(0).permutation(8).astype(float).reshape(1, 8)
    found = run(losses, before=before, now=now, halving=True)
    assert (losses < kept).tolist() == found.tolist()


def test_the_best_of_a_victim_never_ends_by_halving():
    losses = np.random.default_rng(1).random((50, 5))
    found = run(losses, before=0, now=1, halving=True)
    assert found.sum(1).tolist() == [1] * 50
    assert (found.argmax(1) == losses.argmin(1)).all()


def test_the_dead_stay_dead_and_do_not_count_as_rivals():
    found = run([[0.0, 1.0, 2.0, 3.0]], alive=[[False, True, True, True]], before=0, now=0.2, halving=True)
    assert found.tolist() == [[False, True, True, False]]


def test_a_content_attacker_leaves_the_victim():
    found = run([[0.5, 0.01], [0.5, 0.02]], stop=0.01)
    assert found.tolist() == [[False, False], [True, True]]


def test_stop_zero_never_stops():
    assert run([[0.0, -1e-8]]).all()


def test_halving_saves_evaluations_and_keeps_the_winner(small_case, audited):
    """Starts are the same, so the winner of a race has one of the losses of the race's rivals at the end."""
    every = audited(small_case(restarts=8, attack_args={"steps": 32}))[0]
    race = audited(small_case(restarts=8, attack_args={"steps": 32}, halving=True))[0]
    assert every["evaluations"] == 2 * 8 * 32
    assert race["evaluations"] == 2 * (8 * 4 + 4 * 4 + 2 * 8 + 1 * 16)
    assert all(a <= b * (1 + 1e-6) for a, b in zip(every["loss"], race["loss"], strict=True))


def test_a_content_attacker_stops_early(small_case, audited):
    full, images = audited(small_case(attack_args={"steps": 160}))
    goal = 1.01 * max(full["loss"])
    short, snapshots = audited(small_case(attack_args={"steps": 160}, stop=max(goal, 1e-3)))
    assert max(short["loss"]) <= max(goal, 1e-3)
    assert short["evaluations"] <= full["evaluations"]
    assert snapshots["shares"][-1] <= 1 and len(snapshots["snapshots"]) == len(snapshots["shares"])
    loose, _ = audited(small_case(attack_args={"steps": 160}, stop=2.0))
    assert loose["evaluations"] == 2 * 10  # a cosine distance is below 2 after the first piece
