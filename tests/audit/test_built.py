"""Programs that two threads ask for, and jobs done ahead."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jleak.audit import driver, store
from jleak.audit.built import Programs, ahead

LONG = 30


def together(programs, build):
    """What two threads get that take one program at once, `build` having begun in the first."""
    begun, go = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go.wait(LONG)
        return build()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(programs.take, "key", slow)
        assert begun.wait(LONG)
        second = pool.submit(programs.take, "key", lambda: pytest.fail("built twice"))
        go.set()
        return [future.exception(LONG) or future.result() for future in (first, second)]


def test_who_comes_second_waits_for_the_first():
    programs, program = Programs(), object()
    assert together(programs, lambda: (program, 2.0)) == [program, program]
    assert programs.seconds == 2.0 and "key" in programs


def test_a_build_that_fails_fails_for_both_and_is_tried_again():
    programs, fault = Programs(), ValueError("no")

    def fail():
        raise fault

    assert together(programs, fail) == [fault, fault]
    assert "key" not in programs and programs.seconds == 0.0
    assert programs.take("key", lambda: ("program", 1.0)) == "program"


def test_what_has_not_begun_when_all_is_done_is_left():
    begun, go, done = threading.Barrier(3), threading.Event(), []

    def one():
        begun.wait(LONG)
        assert go.wait(LONG)
        done.append(1)

    with ahead([one, one, lambda: done.append(2)]):
        begun.wait(LONG)
    go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ahead"):
            thread.join(LONG)
    assert done == [1, 1]


@pytest.mark.parametrize("clocked", [False, True])
def test_programs_are_built_ahead_unless_the_clock_runs(clocked, small_case, digits, tmp_path, monkeypatch):
    """The records bill a program to the case that takes it first."""
    built = []
    monkeypatch.setattr(driver, "build", lambda case, *_: built.append(case.seed))
    store.make(tmp_path / "run", {})
    cases = [small_case(), small_case(seed=1)]
    records = driver.run(cases, tmp_path / "run", {"digits": digits}, finished={}, clocked=clocked)
    assert sorted(built) == ([] if clocked else [0, 1])
    assert records[0]["compile_seconds"] > 0 and records[1]["compile_seconds"] == 0
