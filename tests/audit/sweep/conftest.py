"""Small sweeps, whose programs all tests share."""

from typing import Any

import pytest

from jleak.audit.built import Programs
from jleak.audit.sweep import run, store
from jleak.audit.sweep.config import sweep_config_of
from jleak.audit.sweep.place import place

PROGRAMS = Programs()


@pytest.fixture(scope="session")
def prepared(sweep_settings):
    """`prepared(key=value, ...)`: a sweep of nine cases, or what the keys say."""

    def made(**changes: Any) -> run.Sweep:
        sweep = run.prepared(sweep_config_of(sweep_settings(**{"checkpoint": 3600.0} | changes)))
        return sweep._replace(means=sweep.means._replace(cache=PROGRAMS))

    return made


@pytest.fixture
def begun():
    """`begun(url, sweep)`: a store for it."""

    def made(url: Any, sweep: run.Sweep):
        where = place(str(url))
        store.begin(where, run.described(sweep.config), command="jleak sweep run", total=sweep.cases)
        return where

    return made


@pytest.fixture(scope="session")
def whole(prepared, tmp_path_factory):
    """A sweep that was never stopped: (sweep, store, records by case)."""
    sweep, where = prepared(), place(str(tmp_path_factory.mktemp("whole")))
    store.begin(where, run.described(sweep.config), command="jleak sweep run", total=sweep.cases)
    assert run.drive(where, sweep, (0, 1), finished=set()) == sweep.cases
    return sweep, where, by_case(where)


VARYING = ("seconds", "compile_seconds", "devices", "finished", "revision")


def by_case(where):
    """The records by case, but for when and how fast; each case must be there once."""
    rows = list(store.records(where))
    ids = [row["case_id"] for row in rows]
    assert len(ids) == len(set(ids))
    return {row["case_id"]: {k: v for k, v in row.items() if k not in VARYING} for row in rows}


@pytest.fixture(scope="session")
def recorded():
    """`recorded(where)`: the records of a store by case, but for when and how fast."""
    return by_case
