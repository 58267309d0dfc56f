"""Which cases run together: those that share their programs, as many at once as the memory allows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jleak.audit import lanes
from jleak.audit.case import Case
from jleak.audit.memory import Budget, taken
from jleak.audit.parts import model_of
from jleak.audit.shapes import attacker_settings, client_settings
from jleak.audit.sweep.plan import Setting
from jleak.data import Images

APART = ("dataset", "draw", "halving", "stop", "weights")
"""Settings that shape no program, and yet are those of a whole batch."""


class Batch(NamedTuple):
    """Cases that run together, in one call of their programs.

    Attributes:
      settings: of their group.
      first: the number of the first case in the group.
      count: how many cases.
      width: for how many cases the programs are made; those beyond `count` only fill up.
    """

    settings: Sequence[Setting]
    first: int
    count: int
    width: int

    def cases(self) -> list[Case]:
        """The cases, made anew: a plan holds its settings only."""
        found, skip = [], self.first
        for setting in self.settings:
            take = range(skip, min(setting.size, skip + self.count - len(found)))
            found += [setting.at(i) for i in take]
            skip = max(0, skip - setting.size)
        return found


def name_of(cases: Sequence[Case]) -> str:
    """What a batch of these cases is called: the same cases, the same name, on every machine.

    >>> name_of([Case(attack="dlg")]) == name_of([Case(attack="dlg")]) != name_of([Case(attack="idlg")])
    True
    """
    return hashlib.sha256("".join(case.case_id for case in cases).encode()).hexdigest()[:16]


def batches(settings: Sequence[Setting], together: int) -> list[Batch]:
    """The batches of a plan, of at most `together` cases; the same on every machine, so that they can share.

    Groups whose attacker is the same are as wide, so that its programs serve all of them.
    """
    groups = grouped(settings)
    sizes: dict[str, int] = {}
    for group in groups:
        key = attacker_settings(group[0].case)
        sizes[key] = max(sizes.get(key, 0), sum(setting.size for setting in group))
    found = []
    for group in groups:
        size = sum(setting.size for setting in group)
        width = min(together, rounded(sizes[attacker_settings(group[0].case)]))
        for first in range(0, size, width):
            found.append(Batch(group, first, min(width, size - first), width))
    return found


def fitted(todo: Sequence[Batch], images: Mapping[str, Images], budget: Budget) -> list[Batch]:
    """The batches, cut into smaller ones where the memory of this machine does not hold one at once.

    Raises:
      InputError: a case that does not fit into the memory on its own.
    """
    found = []
    for batch in todo:
        case = batch.settings[0].case
        data = images[case.dataset]
        fits = budget.cases(case, model_of(case, data.shape, data.classes), batch.width)
        width = batch.width if fits == batch.width else rounded(fits + 1) // 2
        for first in range(0, batch.count, width):
            found.append(Batch(batch.settings, batch.first + first, min(width, batch.count - first), width))
    return found


def need_of(batch: Batch, images: Mapping[str, Images], budget: Budget) -> int:
    """Bytes that a batch needs, on the fullest accelerator or of the machine."""
    case = batch.settings[0].case
    data = images[case.dataset]
    where = lanes.layout(batch.width * case.victims * case.restarts, case.lanes)
    return taken(where, budget.need(case, model_of(case, data.shape, data.classes), batch.width))


def at_once(todo: Sequence[Batch], images: Mapping[str, Images], budget: Budget) -> int:
    """How many batches are under way at a time: two, where the memory holds the largest one twice."""
    largest = max((need_of(batch, images, budget) for batch in todo), default=0)
    return 2 if 2 * largest <= budget.bytes() else 1


def grouped(settings: Sequence[Setting]) -> list[list[Setting]]:
    """Settings whose cases share their programs, together, in the order of their first."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(group_key(setting.case), []).append(setting)
    return list(groups.values())


def group_key(case: Case) -> str:
    """Equal for cases that can run together.

    >>> one, other = (Case(attack="dlg", seed=s, attack_args={"lr": lr}) for s, lr in ((0, 1.0), (1, 0.1)))
    >>> group_key(one) == group_key(other) != group_key(Case(attack="dlg", batch=2))
    True
    """
    apart = {name: getattr(case, name) for name in APART}
    return json.dumps([attacker_settings(case), client_settings(case), apart], sort_keys=True)


def rounded(count: int) -> int:
    """The smallest power of two from `count` on: few shapes of programs.

    >>> rounded(5), rounded(8)
    (8, 8)
    """
    return 1 << (count - 1).bit_length()
