"""The command line, in this process and in one of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

from jleak import cli

SMALL = [
    "--model", "mlp:hidden=16", "--attack", "inverting:steps=50", "--victims", "2", "--restarts", "1",
    "--knows", "nothing", "--seed", "0",
]  # fmt: skip


START = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit a deaf one
from jleak.cli import main
main()
"""


class Done(NamedTuple):
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def environment():
    """The environment of a `jleak` process: it shares the tests' compilation cache."""
    return os.environ | {"JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}


@pytest.fixture(scope="session")
def process(environment):
    """`process(*arguments, cwd=...)`: `python -m jleak` in a process of its own."""

    def run(*arguments, cwd=None, env=environment):
        done = subprocess.run(
            [sys.executable, "-m", "jleak", *map(str, arguments)],
            capture_output=True, text=True, cwd=cwd, env=env, timeout=300,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def stop(environment, tmp_path):
    """`stop(flags, signal)`: starts a run into `run` and sends the signal when a case is finished."""

    def run(flags, number):
        started = subprocess.Popen(
            [sys.executable, "-c", START, *flags], cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        records = tmp_path / "run" / "records.jsonl"
        while not records.exists() and started.poll() is None:
            time.sleep(0.01)
        started.send_signal(number)
        out, err = started.communicate(timeout=60)
        return Done(started.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def read():
    """`read(run)`: its records, of each all but the times."""

    def records(path):
        file = path / "records.jsonl"
        found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        for record in found:
            record.pop("seconds"), record.pop("compile_seconds")
        return found

    return records


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(*arguments)`: `jleak` in this process, which is quicker; the same function as the script's."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_enable_compilation_cache",
    )
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jleak", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        return Done(done.value.code or 0, *capsys.readouterr())

    yield run
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def small():
    """Flags of an audit that takes seconds."""
    return SMALL


class Run(NamedTuple):
    """A finished audit: its directory, its flags, and what it printed."""

    path: Path
    flags: list[str]
    done: Done


@pytest.fixture(scope="session")
def audited(process, tmp_path_factory):
    """One small audit of four defenses."""
    folder = tmp_path_factory.mktemp("audit")
    flags = [*SMALL]
    for defense in ("none", "gaussian:sigma=0.01", "clip:bound=1", "prune:fraction=0.9"):
        flags += ["--defense", defense]
    done = process("audit", *flags, "--out", "runs/first", cwd=folder)
    assert done.code == 0, done.err
    return Run(folder / "runs" / "first", flags, done)
