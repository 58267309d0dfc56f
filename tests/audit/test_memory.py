"""The memory of an attack: reckoned before anything is compiled, kept to, and refused with numbers."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jleak.audit import cache, driver, lanes, memory, programs, sides, store
from jleak.audit.built import Programs
from jleak.audit.config import AuditConfig, cases
from jleak.audit.memory import GIB, Budget, Need, peak, taken
from jleak.audit.parts import model_of
from jleak.check import InputError
from jleak.report import session
from jleak.report.kinds import KINDS

X = jnp.zeros(1000)  # 4000 bytes
BYTES = 4000


def bytes_of(fn, *args):
    return peak(jax.make_jaxpr(fn)(*args).jaxpr)


def needs_of(case, images):
    return memory.need(case, model_of(case, images.shape, images.classes))


def least(needs):
    """GiB for one lane at a time on one device, of two lanes."""
    return taken(lanes.layout(2, 1, 1), needs) / GIB


@pytest.mark.parametrize(
    ("count", "changes"),
    [
        (4, {"batch": 2}),
        (2, {"model": "lenet", "model_args": {}}),
        (2, {"attack": "dlg", "attack_args": {"steps": 20}}),
        (4, {"attack": "dense", "attack_args": {}, "batch": 4}),
    ],
)
def test_the_estimate_is_within_a_factor_of_what_the_compiler_takes(small_case, digits, count, changes):
    case = small_case(**changes | {"victims": count, "lanes": count})
    taken_by_one = temporaries(case, digits) / count
    estimate = needs_of(case, digits).lane
    assert taken_by_one / 3 < estimate < taken_by_one * 3


def temporaries(case, images):
    """The larger of what the compiler takes to start and to go on."""
    model = model_of(case, images.shape, images.classes)
    given = sides.view_of([case], sides.clients([case], images, model, Programs()))
    attacker, _ = programs.attacker(case, model, given)
    found = [program.memory_analysis() for program in (attacker.begin, attacker.advance)]
    return max(program.temp_size_in_bytes for program in found)


def test_a_value_lives_from_its_making_to_its_last_use():
    assert bytes_of(lambda x: jnp.sin(jnp.cos(jnp.exp(x))), X) == 2 * BYTES
    assert bytes_of(lambda x: (y := jnp.sin(x), jnp.cos(jnp.exp(y)) + y)[1], X) == 3 * BYTES
    assert bytes_of(lambda x: (jnp.sin(x), jnp.cos(x), jnp.exp(x)), X) == 3 * BYTES
    assert bytes_of(lambda x: x, X) == 0


def test_what_nobody_reads_is_not_made():
    assert bytes_of(lambda x: (jnp.sort(jnp.sin(x)), jnp.cos(x))[1], X) == BYTES


def test_an_elementwise_result_that_is_only_summed_takes_nothing():
    assert bytes_of(lambda x: jnp.sum(x * x), X) == 4
    assert bytes_of(lambda x: (y := x * x, (jnp.sum(y), y))[1], X) == BYTES + 4
    assert bytes_of(lambda x: jnp.sum(lax.sort(x)), X) == BYTES + 4


def test_a_loop_holds_what_it_carries_what_it_stacks_and_one_turn():
    def turn(c, _):
        return jnp.sin(jnp.cos(c)), None

    def stacking(c, _):
        return jnp.sin(c), c

    assert bytes_of(lambda x: lax.scan(turn, x, None, length=7)[0], X) == (1 + 2) * BYTES
    assert bytes_of(lambda x: lax.scan(stacking, x, None, length=7), X) == (1 + 7 + 1) * BYTES
    assert bytes_of(lambda x: lax.fori_loop(0, jnp.argmin(x), lambda i, c: jnp.sin(jnp.cos(c)), x), X) >= (
        3 * BYTES
    )


def test_the_residuals_of_a_gradient_through_a_loop_are_counted_and_those_of_a_remat_are_not():
    def loss(body, x):
        return jnp.sum(lax.scan(lambda c, _: (body(c), None), x, None, length=50)[0])

    def deep(c):
        return functools.reduce(lambda c, _: jnp.sin(c), range(10), c)

    kept = bytes_of(jax.grad(functools.partial(loss, deep)), X)
    again = bytes_of(jax.grad(functools.partial(loss, jax.checkpoint(deep))), X)
    assert kept > 50 * 10 * BYTES and 50 * BYTES < again < 80 * BYTES


def test_of_branches_the_larger_counts():
    def choose(x):
        return lax.cond(x[0] > 0, lambda x: x, lambda x: jnp.sum(jnp.outer(x, x) + 1, axis=0), x)

    assert bytes_of(choose, X) > 1000 * BYTES


def test_larger_batches_and_populations_need_more(small_case, digits):
    small, large = (needs_of(small_case(batch=n), digits) for n in (1, 32))
    clipped = {"defense": "dp_sgd", "defense_args": {"bound": 1.0, "noise": 0.1}, "knows": "all"}
    assert small.lane < large.lane and small.kept < large.kept
    plain, each = (
        needs_of(small_case(batch=32, model_args={"hidden": 64}, **c), digits) for c in ({}, clipped)
    )
    assert each.lane > plain.lane + 16 * 64 * 64 * 4, "a gradient of each example's own"


DEVICES = [1, 2, 4]


@pytest.mark.parametrize("devices", DEVICES)
def test_the_width_does_not_depend_on_the_devices_unless_the_budget_does(small_case, monkeypatch, devices):
    monkeypatch.setattr(memory.lanes, "layout", limited(devices))
    case, needs = small_case(victims=16), Need(lane=1000, kept=10, shared=100)
    enough = taken(lanes.layout(16, 4, max(DEVICES)), needs)
    for budget in (enough, 10 * enough):
        assert Budget(budget / GIB).fitted(case, needs) == lanes.layout(16, 4, devices)


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("share", [0.99, 0.5, 0.3])
def test_what_is_laid_out_fits_and_narrows_before_devices_idle(small_case, monkeypatch, devices, share):
    monkeypatch.setattr(memory.lanes, "layout", limited(devices))
    case, needs = small_case(victims=16), Need(lane=1000, kept=1, shared=1)
    wanted = lanes.layout(16, 4, devices)
    budget = Budget(share * taken(wanted, needs) / GIB)
    where = budget.fitted(case, needs)
    assert taken(where, needs) <= budget.bytes() and where.width < wanted.width
    assert where.devices == wanted.devices and f"{where.width} lanes at once, not 4" in budget.note()


def test_devices_idle_where_one_lane_on_each_is_too_much(small_case, monkeypatch):
    monkeypatch.setattr(memory.lanes, "layout", limited(4))
    budget = Budget(2500 / GIB)
    where = budget.fitted(small_case(victims=16), Need(lane=1000, kept=1, shared=1))
    assert (where.width, where.devices) == (1, 2)
    assert "1 lanes at once, not 4 and 2 devices at once, not 4" in budget.note()


def limited(most):
    """Layouts on so many devices at most."""
    return lambda count, width, devices=None: LAYOUT(count, width, min(devices or most, most))


LAYOUT = lanes.layout


def test_accelerators_have_a_memory_each(monkeypatch):
    where, needs = LAYOUT(16, 4, 4), Need(lane=1000, kept=10, shared=100)
    shared = taken(where, needs)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert shared == 4 * taken(where, needs) == 4 * (4 * 1010 + 100)


def test_one_lane_beyond_the_budget_is_refused_before_anything_is_compiled(small_case, digits, monkeypatch):
    monkeypatch.setattr(programs, "compiled", lambda *args, **_: pytest.fail("compiles"))
    case = small_case(attack_args={"steps": 20, "lr": 0.1})
    enough = least(needs_of(case, digits))
    driver.prepared([case], budget=Budget(enough * 1.001))
    with pytest.raises(InputError) as error:
        driver.prepared([small_case(model_args={"hidden": 4}), case], budget=Budget(enough * 0.999))
    for part in (
        "inverting on mlp, batch 1",
        f"the budget is {enough * 0.999:.3g} GiB",
        "lower batch",
        "--memory",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("gib", [0, -1.0, float("nan")])
def test_budgets_that_are_none(gib):
    with pytest.raises(InputError, match="memory must be"):
        KINDS["audit"].plan({"memory": gib, "attacks": ["dlg"]}, None)


def test_the_budget_is_no_setting_of_a_case(tmp_path):
    (tmp_path / "audit.yaml").write_text("attacks: dlg\nmemory: 2\n")
    small, means = KINDS["audit"].plan({}, tmp_path / "audit.yaml")
    assert small == cases(AuditConfig(attacks=["dlg"])) and means["budget"].bytes() == 2 * GIB
    assert KINDS["audit"].plan({"memory": 3.5}, tmp_path / "audit.yaml")[1]["budget"].bytes() == 3.5 * GIB


def test_what_is_free(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  16000 kB\nMemAvailable:  8000 kB\n")
    assert memory.available(tmp_path / "meminfo") == 8000 * 1024
    assert memory.available(tmp_path / "none") > 2**28
    monkeypatch.setattr(memory, "free", lambda: 8 * GIB)
    assert Budget().bytes() == 6 * GIB


def test_free_memory_of_accelerators_is_that_of_the_fullest(monkeypatch):
    class Device:
        def __init__(self, used):
            self.used = used

        def memory_stats(self):
            return {"bytes_limit": 100, "bytes_in_use": self.used}

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(10), Device(30)])
    assert memory.free() == 70


def test_an_audit_says_what_it_reduced_and_records_the_width(
    small_case, digits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(session, "caching", lambda _: (None, cache.Uses()))
    monkeypatch.setattr(session, "present", lambda *_: None)
    gib = least(needs_of(small_case(), digits)) * 1.001
    settings = {
        "dataset": "digits", "models": ["mlp:hidden=16"], "attacks": ["inverting:steps=20"],
        "defenses": ["none"], "seeds": [0, 1],
        "victims": 2, "restarts": 1, "memory": gib,
    }  # fmt: skip
    out = tmp_path / "run"
    clock = time.perf_counter()
    session.start("audit", settings, config=None, out=out, resume=False, cache=None, clock=clock)
    assert capsys.readouterr().out.count("inverting on mlp, batch 1: 1 lanes at once, not 2") == 1
    records = store.read_records(out)
    assert [(r["lanes"], r["width"], r["devices"]) for r in records] == [(4, 1, 1)] * 2
    assert records[0]["case_id"] == small_case().case_id
    assert np.isfinite(records[0]["loss"]).all()
