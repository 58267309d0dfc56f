"""How much memory an attack needs, before anything is compiled, and how many lanes fit at once.

A linear scan over the program of one lane: a value lives from the operation that makes it to the last that
reads it. The compiler fuses operations, which saves values, and reorders them and copies around loops,
which costs some; `MARGIN` makes up for the difference, as measured.
"""

import contextlib
import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import PyTree

from jleak.audit import lanes, programs
from jleak.audit.case import Case
from jleak.audit.lanes import Layout
from jleak.audit.parts import known_floats, prior_of
from jleak.audit.shapes import attacker_settings
from jleak.check import InputError, number
from jleak.search import begin
from jleak.types import Model, View

GIB = 2**30
SHARE = 0.75
"""Of the memory that is free, what an audit may take unless told."""

MARGIN = 1.4
"""The compiler's temporaries over those of the scan: 1.27 to 1.45 measured on LeNet, ConvNet64 and ResNet-18,
on a CPU (`bench/NOTES.md`, "Memory of a lane")."""


class Need(NamedTuple):
    """Bytes that an attack needs.

    Attributes:
      lane: while it works, for each lane of a group: temporaries, the state before and after, its update.
      kept: for each lane throughout: its state, once more while lanes change places.
      shared: on each device: the model, the prior and the updates of all victims of a case.
      weights: of `shared`, the model's.
      sent: of `shared`, the updates'.
    """

    lane: int
    kept: int
    shared: int
    weights: int = 0
    sent: int = 0

    def of(self, cases: int, *, own: bool) -> "Need":
        """What so many cases need at once; `own`: weights of their own, of which each lane has a copy.

        >>> Need(lane=10, kept=1, shared=7, weights=4, sent=2).of(3, own=True)
        Need(lane=14, kept=1, shared=19, weights=4, sent=2)
        """
        apart = self.weights if own and cases > 1 else 0
        return self._replace(lane=self.lane + apart, shared=self.shared + (cases - 1) * (apart + self.sent))


class Budget:
    """The memory that an audit may take, and how it lays out lanes within it. Estimates are made once.

    Args:
      gib: GiB, of each accelerator or of the machine; None for `SHARE` of what is free when first asked.

    Raises:
      InputError: gib <= 0.

    >>> from jleak.models import mlp
    >>> case, budget = Case(attack="inverting", model="mlp", victims=8, lanes=8), Budget(1.0)
    >>> budget.layout(case, mlp((8, 8, 1), 10)).width, budget.note()
    (8, '')
    """

    def __init__(self, gib: float | None = None):
        self.given = gib if gib is None else number("memory", gib, above=0, hint="it is in GiB")
        self.known: dict[tuple, Layout] = {}
        self.needs: dict[tuple, Need] = {}
        self.reduced: dict[str, str] = {}

    def bytes(self) -> int:
        """The budget; what is free is asked once."""
        if self.given is None:
            self.given = SHARE * free() / GIB
        return int(self.given * GIB)

    def need(self, case: Case, model: Model, cases: int = 1) -> Need:
        """What the attack on so many such cases needs, traced once."""
        key = (attacker_settings(case), model.shape, model.classes)
        if key not in self.needs:
            self.needs[key] = need(case, model)
        return self.needs[key].of(cases, own=not case.weights)

    def layout(self, case: Case, model: Model, cases: int = 1) -> Layout:
        """The lanes of so many such cases on the devices, in groups as wide as `case.lanes` and memory allow.

        Raises:
          InputError: not even one lane at a time fits; with the numbers, and what to lower.
        """
        key = (attacker_settings(case), model.shape, model.classes, cases, bool(case.weights))
        if key not in self.known:
            self.known[key] = self.fitted(case, self.need(case, model, cases), cases)
        return self.known[key]

    def cases(self, case: Case, model: Model, most: int) -> int:
        """How many such cases, at most `most`, can be attacked at once.

        Raises:
          InputError: not even one; with the numbers, and what to lower.
        """
        self.layout(case, model)
        for cases in range(most, 1, -1):
            where = lanes.layout(cases * case.victims * case.restarts, case.lanes)
            if taken(where, self.need(case, model, cases)) <= self.bytes():
                return cases
        return 1

    def fitted(self, case: Case, needs: Need, cases: int = 1) -> Layout:
        """The widest layout that fits."""
        count, budget = cases * case.victims * case.restarts, self.bytes()
        wanted = lanes.layout(count, case.lanes)
        narrower = (lanes.layout(count, most) for most in range(wanted.width, 0, -1))
        fewer = (lanes.layout(count, 1, devices) for devices in range(wanted.devices, 0, -1))
        for where in (*narrower, *fewer):
            if taken(where, needs) <= budget:
                self.remember(case, wanted, where)
                return where
        least = taken(where, needs)
        raise InputError(
            f"{_named(case)}, needs about {_gib(needs.lane)} GiB for one lane (a restart on a victim) and "
            f"{_gib(least - needs.lane)} GiB for the model, the updates and the states of all {count} lanes, "
            f"but the budget is {_gib(budget)} GiB; lower batch, the model's size, victims or restarts, or "
            "raise memory (--memory)"
        )

    def remember(self, case: Case, wanted: Layout, where: Layout) -> None:
        """Keeps what `note` tells."""
        changes = [(where.width, wanted.width, "lanes"), (where.devices, wanted.devices, "devices")]
        told = [f"{got} {what} at once, not {asked}" for got, asked, what in changes if got < asked]
        if told:
            self.reduced[_named(case)] = " and ".join(told)

    def note(self) -> str:
        """What was reduced so as to fit, in a line; empty if nothing."""
        if not self.reduced:
            return ""
        each = "; ".join(f"{name}: {change}" for name, change in self.reduced.items())
        return f"to fit into {_gib(self.bytes())} GiB of memory: {each}"


def taken(where: Layout, needs: Need) -> int:
    """Bytes in one memory: that of an accelerator, or the one that all devices of a processor share.

    >>> taken(Layout(8, 2, 2, 2), Need(lane=100, kept=10, shared=5))
    490
    """
    together = where.devices if jax.default_backend() == "cpu" else 1
    return together * (where.width * (needs.lane + where.groups * needs.kept) + needs.shared)


def need(case: Case, model: Model) -> Need:
    """What the case's attack needs, from its program alone: nothing is computed or compiled.

    >>> from jleak.models import mlp
    >>> small, large = (need(Case(attack="dlg", batch=n), mlp((8, 8, 1), 10)) for n in (1, 16))
    >>> small.lane < large.lane, small.shared == large.shared
    (True, True)
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(model.init, key)
    x = jax.ShapeDtypeStruct((case.batch, *model.shape), jnp.float32)
    labels = jax.ShapeDtypeStruct((case.batch,), jnp.int32) if case.known_labels else None
    statistics = jax.eval_shape(model.statistics, params, x) if model.sends_statistics else None
    prior = jax.eval_shape(lambda: prior_of(case))
    view = View(params, params["params"], labels, prior, statistics)

    def start(key, view, floats):
        return begin(programs.as_search(case, model, floats, 1), key, view)

    def step(key, t, state, view, floats):
        return programs.as_search(case, model, floats, 1).step(key, t, state, view)

    floats = known_floats(case)
    first, state = jax.make_jaxpr(start, return_shape=True)(key, view, floats)
    further = jax.make_jaxpr(step)(key, jax.ShapeDtypeStruct((), jnp.int32), state, view, floats)
    sent, held = size((view.update, labels, statistics)), size(state)
    work = max(peak(first.jaxpr), peak(further.jaxpr))  # the new state is among its results
    weights, all_sent = size(params), case.victims * sent
    shared = weights + size(prior) + all_sent
    return Need(int(MARGIN * work) + held + sent, 2 * held, shared, weights, all_sent)


LOOPS = ("scan", "while")
ELEMENTWISE = ("abs", "integer_pow", "mul", "square", "sub")


def peak(jaxpr: core.Jaxpr) -> int:
    """Bytes of the values that live at once, inputs left out: what is made, from its making to its last use.

    What nobody reads is not made; an elementwise result that is only summed is summed as it is made. A loop
    holds what it carries and what it stacks (the residuals of a gradient) besides one turn of its body.

    >>> def two(x):
    ...     y = jnp.sin(x)
    ...     return jnp.cos(y)
    >>> peak(jax.make_jaxpr(two)(jnp.zeros(1000)).jaxpr)
    8000
    """
    last, summed = uses(jaxpr)
    held, live, most = {}, 0, 0
    for i, eqn in enumerate(jaxpr.eqns):
        if not any(v in last for v in eqn.outvars):
            continue
        made = {v: 0 if v in summed else size(v.aval) for v in eqn.outvars}
        total = sum(made.values())
        inside = max(map(peak, core.jaxprs_in_params(eqn.params)), default=0)
        most = max(most, live + (total + inside if eqn.primitive.name in LOOPS else max(total, inside)))
        held |= made
        done = {v for v in (*variables(eqn), *eqn.outvars) if v in held and last.get(v, i) == i}
        live += total - sum(held.pop(v) for v in done)
    return most


def uses(jaxpr: core.Jaxpr) -> tuple[dict[core.Var, int], set[core.Var]]:
    """Of the values that are needed the number of the operation that reads each last; those only summed."""
    last = {v: len(jaxpr.eqns) for v in jaxpr.outvars if isinstance(v, core.Var)}
    readers = Counter([*last])
    summed = set()
    for i, eqn in reversed([*enumerate(jaxpr.eqns)]):
        if any(v in last for v in eqn.outvars):
            read = variables(eqn)
            last |= {v: i for v in read if v not in last}
            readers.update(read)
            if eqn.primitive.name == "reduce_sum":
                summed.update(read)
    simple = {v for eqn in jaxpr.eqns if eqn.primitive.name in ELEMENTWISE for v in eqn.outvars}
    return last, {v for v in summed & simple if readers[v] == 1}


def variables(eqn: core.JaxprEqn) -> list[core.Var]:
    """What the operation reads, numbers that the program holds left out."""
    return [v for v in eqn.invars if isinstance(v, core.Var)]


def size(tree: PyTree) -> int:
    """Bytes of the arrays, or of their shapes.

    >>> size({"w": jnp.zeros((3, 4)), "n": jax.ShapeDtypeStruct((), jnp.int32)})
    52
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free() -> int:
    """Bytes that are free: on the fullest accelerator, or in the machine.

    >>> free() > 0
    True
    """
    found = [stats for stats in (d.memory_stats() for d in jax.local_devices()) if stats]
    if found and jax.default_backend() != "cpu":
        return min(stats["bytes_limit"] - stats.get("bytes_in_use", 0) for stats in found)
    return available(Path("/proc/meminfo"))


def available(meminfo: Path) -> int:
    """Bytes that Linux says are available; elsewhere those of the machine."""
    with contextlib.suppress(OSError):
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _named(case: Case) -> str:
    return f"{case.attack} on {case.model}, batch {case.batch}"


def _gib(amount: float) -> str:
    return f"{amount / GIB:.3g}"
