"""A sweep from its settings to its batches, and one worker's share of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jleak import data
from jleak.audit.built import Programs
from jleak.audit.driver import fits
from jleak.audit.memory import Budget
from jleak.audit.sweep import batches, store
from jleak.audit.sweep.batches import Batch
from jleak.audit.sweep.config import SweepConfig, sweep_config_of
from jleak.audit.sweep.place import Place
from jleak.audit.sweep.plan import Setting, plan
from jleak.audit.sweep.worker import Listen, Means, work
from jleak.check import InputError


class Sweep(NamedTuple):
    """A sweep, ready to run.

    Attributes:
      config: its settings.
      settings: its plan.
      batches: its batches.
      means: what they are run with.
    """

    config: SweepConfig
    settings: Sequence[Setting]
    batches: Sequence[Batch]
    means: Means

    @property
    def cases(self) -> int:
        """How many cases."""
        return sum(setting.size for setting in self.settings)


def prepared(config: SweepConfig) -> Sweep:
    """The sweep of these settings, once it is sure that every case can run.

    Raises:
      InputError: a data set that cannot be read, or a case that does not fit it or the memory.
    """
    settings = plan(config)
    images = {name: data.load(name) for name in dict.fromkeys(s.case.dataset for s in settings)}
    budget = Budget(config.memory)
    for group in batches.grouped(settings):
        fits(group[0].case, images[group[0].case.dataset], budget)
    means = Means(images, budget, config.images, config.checkpoint, Programs(), {})
    return Sweep(config, settings, batches.batches(settings, config.together), means)


def kept(where: Place) -> SweepConfig:
    """The settings of a sweep that was begun.

    Raises:
      InputError: there is none, or it was merged of several.
    """
    made = store.settings(where)
    if made["settings"] is None:
        raise InputError(
            f"{where.url} was merged of sweeps of other settings, so there is nothing to go on with; "
            "go on with one of these"
        )
    return sweep_config_of(made["settings"])


def share(todo: Sequence[Batch], part: tuple[int, int]) -> list[Batch]:
    """Worker i's of n: every n-th batch, from the i-th on.

    >>> share("abcdefg", (1, 3))
    ['b', 'e']
    """
    index, count = part
    return list(todo[index::count])


def part_of(text: str) -> tuple[int, int]:
    """The share `i/n` that a worker is given, i from 0.

    >>> part_of("2/8")
    (2, 8)
    >>> part_of("8/8")
    Traceback (most recent call last):
    jleak.check.InputError: a shard must be i/n with 0 <= i < n, such as 0/8, got '8/8'
    """
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise InputError(f"a shard must be i/n with 0 <= i < n, such as 0/8, got {text!r}")
    return int(first), int(last)


def drive(
    where: Place,
    sweep: Sweep,
    part: tuple[int, int],
    *,
    finished: set[str],
    listen: Listen = lambda stand: None,
) -> int:
    """Runs one worker's share of a sweep in this process, on all of its devices; how many cases it ran."""
    return work(where, share(sweep.batches, part), sweep.means, finished=finished, listen=listen)


def described(config: SweepConfig) -> dict[str, Any]:
    """The settings as they are kept in the store, from which `kept` makes them again."""
    return config.model_dump(mode="json")


def multihost(coordinator: str | None, processes: int | None, index: int | None) -> tuple[int, int]:
    """Joins the processes of a pod or cluster (`jax.distributed`); this one's share (i, n).

    Args:
      coordinator: host:port of the first process; None where JAX finds it itself (TPU pods, Slurm).
      processes, index: how many there are and which this is; None likewise.
    """
    jax.distributed.initialize(coordinator, processes, index)
    return jax.process_index(), jax.process_count()
