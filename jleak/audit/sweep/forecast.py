"""What a sweep would take, before anything is compiled or run: cases, programs, memory, time."""

import datetime
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jleak.audit import programs
from jleak.audit.case import Case
from jleak.audit.memory import GIB
from jleak.audit.parts import attack_of, known_floats, model_of, prior_of
from jleak.audit.shapes import model_settings
from jleak.audit.sides import clients_key
from jleak.audit.sweep.batches import at_once, fitted, group_key, need_of
from jleak.audit.sweep.run import Sweep
from jleak.audit.trial import attacker_key
from jleak.search import Search, begin
from jleak.types import Model, View

RATES = {"cpu": 6e9, "gpu": 5e12, "tpu": 5e12}
"""Floating point operations a second that an attack reaches on one device. That of a core is such that five
attacks come within a factor of 1.9 (`bench/sweep.py forecast`), the others are guesses."""

COMPILING = {"attacker": (0.5, 3e-3), "clients": (1.0, 8e-4), "init": (0.5, 0.0), "score": (1.5, 1e-3)}
"""Seconds to compile a program, and more for every line of the attack's step: found with the same attacks."""


class Traced(NamedTuple):
    """What a case's attack is, found without compiling it.

    Attributes:
      seconds: that one device takes for it, roughly: the steps of all lanes, one by one.
      lines: of the program of one step, before it is compiled.
      result: the shapes of its reconstruction, as text.
    """

    seconds: float
    lines: int
    result: str


class Forecast(NamedTuple):
    """What a sweep would take.

    Attributes:
      cases, settings, batches: how many; settings differ in more than the seed.
      programs: by kind, how many there are to compile; an attacker counts as one, though it is three.
      memory: bytes that the batches under way need, of the fullest device or of the machine.
      seconds: of the attacks, and of compiling; on the devices that there are, roughly.
    """

    cases: int
    settings: int
    batches: int
    programs: dict[str, int]
    memory: int
    seconds: tuple[float, float]


def forecast(sweep: Sweep) -> Forecast:
    """What the sweep would take. Attacks are traced, nothing is compiled."""
    keys: dict[str, set] = {name: set() for name in COMPILING}
    costs: dict[str, float] = {}
    memory, attacks, compiling = 0, 0.0, 0.0
    todo = fitted(sweep.batches, sweep.means.images, sweep.means.budget)
    for batch in todo:
        case = batch.settings[0].case
        group = f"{group_key(case)} {batch.width}"
        if group not in costs:
            images = sweep.means.images[case.dataset]
            model = model_of(case, images.shape, images.classes)
            found = traced(case, model)
            for name, key in keyed(case, model, batch.width, found).items():
                if key is not None and key not in keys[name]:
                    keys[name].add(key)
                    compiling += COMPILING[name][0] + COMPILING[name][1] * found.lines
            costs[group] = found.seconds / jax.local_device_count()
            memory = max(memory, need_of(batch, sweep.means.images, sweep.means.budget))
        attacks += costs[group] * batch.count
    memory *= at_once(todo, sweep.means.images, sweep.means.budget)
    counted, seconds = {name: len(found) for name, found in keys.items()}, (attacks, compiling)
    return Forecast(sweep.cases, len(sweep.settings), len(todo), counted, memory, seconds)


def keyed(case: Case, model: Model, cases: int, found: Traced) -> dict[str, Any]:
    """What tells the programs of a batch apart, by kind."""
    shaped = model_settings(case), model.shape, model.classes, cases
    return {
        "attacker": attacker_key(case, model, cases),
        "clients": clients_key(case, model, cases),
        "init": None if case.weights else shaped,
        "score": (*shaped, case.victims, case.batch, bool(case.weights), found.result),
    }


def traced(case: Case, model: Model) -> Traced:
    """Traces the attack on one lane; operations are those of the program before it is compiled."""
    key, view = jax.eval_shape(lambda: jax.random.key(0)), viewed(case, model)
    plain = Case.from_json(case.to_json() | {"knows": "nothing"})
    attack = attack_of(plain, model, view, known_floats(case))
    steps = attack.steps if isinstance(attack, Search) else 1

    def search():
        return programs.as_search(case, model, known_floats(case), steps)

    state = jax.eval_shape(lambda key, view: begin(search(), key, view), key, view)
    result = jax.eval_shape(lambda state, view: search().read(state, view), state, view)
    at = jax.ShapeDtypeStruct((), jnp.int32)
    step = programs.lowered(lambda *args: search().step(*args), key, at, state, view)
    operations = (step.cost_analysis() or {}).get("flops", 0.0)
    lanes_steps = steps * case.victims * case.restarts
    return Traced(
        operations * lanes_steps / RATES.get(jax.default_backend(), RATES["cpu"]),
        len(step.as_text().splitlines()),
        str(jax.tree.map(jnp.shape, result)),
    )


def viewed(case: Case, model: Model) -> View:
    """The shapes of what the attacker sees."""
    params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    labels = jax.ShapeDtypeStruct((case.batch,), jnp.int32) if case.known_labels else None
    x = jax.ShapeDtypeStruct((case.batch, *model.shape), jnp.float32)
    statistics = jax.eval_shape(model.statistics, params, x) if model.sends_statistics else None
    return View(params, params["params"], labels, jax.eval_shape(lambda: prior_of(case)), statistics)


def lines(found: Forecast) -> list[str]:
    """A forecast as text.

    >>> counts = {"attacker": 2, "clients": 2, "init": 1, "score": 1}
    >>> for line in lines(Forecast(20000, 200, 160, counts, 2**30, (300.0, 20.0))):
    ...     print(line)
    20000 cases of 200 settings, in 160 batches
    6 programs to compile: 2 attacker, 2 clients, 1 init, 1 score
    memory    about 1.00 GiB
    time      about 0:05:00 of attacks and 0:00:20 of compiling here; within a factor of three
    """
    attacks, compiling = (datetime.timedelta(seconds=round(seconds)) for seconds in found.seconds)
    counts = ", ".join(f"{count} {name}" for name, count in found.programs.items())
    return [
        f"{found.cases} cases of {found.settings} settings, in {found.batches} batches",
        f"{sum(found.programs.values())} programs to compile: {counts}",
        f"memory    about {found.memory / GIB:.2f} GiB",
        f"time      about {attacks} of attacks and {compiling} of compiling here; within a factor of three",
    ]
