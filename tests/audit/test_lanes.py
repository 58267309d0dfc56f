"""Lanes over devices: every lane once, where it belongs, and the same numbers on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.audit import lanes, trial
from jleak.audit.built import Programs

COUNTS = [(1, 4), (3, 4), (6, 4), (8, 4), (13, 4), (5, 1)]


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("count, most", COUNTS)
def test_every_lane_has_a_slot_of_its_own(count, most, devices):
    where = lanes.layout(count, most, devices)
    assert where.width <= most and where.width == lanes.layout(count, most, 1).width
    assert where.slots >= count and where.devices <= devices
    for seed in range(5):
        alive = np.random.default_rng(seed).random(count) < seed / 4
        found = lanes.placing(where, alive)
        np.testing.assert_array_equal(found.lane[found.slot], np.arange(count))
        assert found.going.sum() == alive.sum() and alive[found.lane[found.going]].all()
        groups = found.going.reshape(where.devices, -1, where.width)
        assert (np.diff(groups.reshape(where.devices, -1).astype(int)) <= 0).all(), "not the first ones"
        work = groups.any(2).sum(1)
        assert work.max() - work.min() <= 1, "one device works, another waits"


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_only_lanes_that_go_on_are_advanced(devices):
    where = lanes.layout(10, 2, devices)
    alive = np.arange(10) % 3 == 0
    place = lanes.placing(where, alive)
    own = lanes.put(where, jnp.asarray(place.lane))
    before = lanes.put(where, jnp.zeros(where.slots, int))

    def step(own, before, going):
        return lanes.update(where, lambda shared, lane, b: b + shared * lane, 10, own, before, going)

    found = jax.jit(step)(own, before, lanes.put(where, jnp.asarray(place.going)))[place.slot]
    np.testing.assert_array_equal(found, 10 * np.arange(10) * alive)
    every = jax.jit(lambda own: lanes.over(where, lambda shared, lane: shared + lane, 5, own))(own)
    np.testing.assert_array_equal(every[place.slot], 5 + np.arange(10))


@pytest.mark.parametrize("changes", [{}, {"halving": True, "attack_args": {"steps": 32}}])
def test_records_do_not_depend_on_the_number_of_devices(small_case, digits, numbers, monkeypatch, changes):
    """To the bit, since the groups are of one width."""
    case = small_case(victims=3, restarts=4, lanes=2, **changes)
    found = []
    for devices in (1, 2, 4, 8):
        monkeypatch.setattr(trial.programs.lanes, "layout", functools.partial(LAYOUT, devices=devices))
        found.append(trial.trial(case, digits, Programs(), lambda part, loss: None))
    for record, images in found[1:]:
        assert numbers(record) == numbers(found[0][0])
        np.testing.assert_array_equal(images["reconstruction"], found[0][1]["reconstruction"])


LAYOUT = lanes.layout
