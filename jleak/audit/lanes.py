"""Lanes: the restarts on all victims as one axis, spread over the devices, a few at a time on each.

Wide `vmap` leaves a processor's caches and fills an accelerator's memory, so a device advances its lanes in
groups of one width. The width does not depend on how many devices there are, so neither do the numbers.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jleak.tree import select

AXIS = "case"


class Layout(NamedTuple):
    """Where the lanes lie: slot (d * groups + g) * width + i is the i-th lane of group g on device d.

    Attributes:
      count: how many lanes there are; further slots repeat the first one.
      width: lanes in a group, advanced at once.
      groups: groups on a device, one after the other.
      devices: how many devices take part.
    """

    count: int
    width: int
    groups: int
    devices: int

    @property
    def slots(self) -> int:
        """Lanes with those that fill up."""
        return self.devices * self.groups * self.width


class Placing(NamedTuple):
    """Which lane lies where.

    Attributes:
      lane: (slots,), the lane in each slot.
      slot: (count,), the slot of each lane.
      going: (slots,), which slots hold a lane that goes on: the first ones of each device.
    """

    lane: np.ndarray
    slot: np.ndarray
    going: np.ndarray


def layout(count: int, most: int, devices: int | None = None) -> Layout:
    """Groups of equal width, at most `most`, over the devices (all local ones, unless told).

    >>> layout(10, 4, devices=2)
    Layout(count=10, width=4, groups=2, devices=2)
    >>> layout(6, 4, devices=1).width == layout(6, 4, devices=8).width == 3
    True
    """
    total = -(-count // most)
    devices = min(devices or jax.local_device_count(), total)
    return Layout(count, -(-count // total), -(-total // devices), devices)


def placing(where: Layout, alive: np.ndarray) -> Placing:
    """Lanes that go on first, spread evenly over the devices.

    >>> found = placing(layout(4, 1, devices=2), np.array([False, True, False, True]))
    >>> found.lane.tolist(), found.going.tolist()
    ([1, 0, 3, 2], [True, False, True, False])
    """
    lanes = np.concatenate([np.flatnonzero(alive), np.flatnonzero(~alive)])
    rank = np.arange(where.slots).reshape(where.groups, where.devices, where.width)
    rank = rank.swapaxes(0, 1).reshape(-1)  # the groups of all devices take turns
    lane = lanes[np.where(rank < where.count, rank, 0)]
    slot = np.empty(where.count, np.int32)
    slot[lane[rank < where.count]] = np.flatnonzero(rank < where.count)
    return Placing(lane, slot, rank < alive.sum())


def over(where: Layout, fn: Callable, shared: PyTree, lanes: PyTree) -> PyTree:
    """`fn(shared, lane)` of every slot.

    Args:
      where: the layout.
      fn: a function of one lane.
      shared: what all lanes share.
      lanes: leading axis: slots.
    """

    def local(shared, lanes):
        return lax.map(functools.partial(fn, shared), lanes, batch_size=where.width)

    return _spread(where, local, 1, 1)(shared, lanes)


def update(where: Layout, fn: Callable, shared: PyTree, lanes: PyTree, before: PyTree, going: Any) -> PyTree:
    """`fn(shared, lane, before_i)` of the slots that are going, `before` in the others.

    Groups without a lane that goes on cost nothing.

    Args:
      where: the layout.
      fn: a function of one lane, its result shaped like its last argument.
      shared: what all lanes share.
      lanes, before: leading axis: slots.
      going: (slots,), on each device the first ones, as `placing` has them.
    """

    def local(shared, lanes, before, going):
        def group(g, values):
            def cut(leaf):
                return lax.dynamic_slice_in_dim(leaf, g * where.width, where.width)

            own, old, goes = jax.tree.map(cut, (lanes, values, going))
            new = jax.vmap(select)(goes, jax.vmap(functools.partial(fn, shared))(own, old), old)
            put = functools.partial(lax.dynamic_update_slice_in_dim, start_index=g * where.width, axis=0)
            return jax.tree.map(put, values, new)

        return lax.fori_loop(0, -(-going.sum() // where.width), group, before)

    return _spread(where, local, 1, 3)(shared, lanes, before, going)


def put(where: Layout, tree: PyTree) -> PyTree:
    """`tree` with its leading axis spread over the devices."""
    return jax.device_put(tree, sharding(where)) if where.devices > 1 else tree


def everywhere(where: Layout, tree: PyTree) -> PyTree:
    """`tree` whole on every device."""
    whole = NamedSharding(_mesh(where.devices), PartitionSpec())
    return jax.device_put(tree, whole) if where.devices > 1 else tree


def sharding(where: Layout) -> NamedSharding:
    """The leading axis over the devices."""
    return NamedSharding(_mesh(where.devices), PartitionSpec(AXIS))


def shapes(where: Layout, tree: PyTree) -> PyTree:
    """Shapes as `jax.eval_shape` gives them, with where they lie."""
    if where.devices == 1:
        return tree
    place = sharding(where)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)


def every_core(count: int | None = None) -> None:
    """Makes every core of a processor, or so many, a device of its own. No effect once JAX computes.

    Two devices of one core are about 1.4 times as fast as one device of two (LeNet; `bench/NOTES.md`).
    """
    with contextlib.suppress(RuntimeError):  # JAX computes already
        jax.config.update("jax_num_cpu_devices", count or cores())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spread(where: Layout, fn: Callable, shared: int, split: int) -> Callable:
    """`fn` on every device: its first arguments whole, the others cut along their leading axis."""
    if where.devices == 1:
        return fn
    specs = (*[PartitionSpec()] * shared, *[PartitionSpec(AXIS)] * split)
    mesh = _mesh(where.devices)
    return jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)


def _mesh(devices: int) -> Mesh:
    return jax.make_mesh((devices,), (AXIS,), (AxisType.Auto,), devices=jax.local_devices()[:devices])
