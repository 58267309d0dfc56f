"""Other engines than this process: a Ray cluster, several hosts."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml

from jleak.audit.sweep import place, run
from jleak.audit.sweep.engines import ray as engine
from jleak.check import InputError

pytestmark = pytest.mark.xdist_group("engines")  # one cluster at a time


@pytest.fixture
def ray():
    return pytest.importorskip("ray", reason="the extra jleak[ray] does not install here")


def todo(sweep):
    return range(len(sweep.batches))


def test_a_cluster_finds_what_one_process_finds_also_when_a_worker_is_killed(
    ray, whole, prepared, begun, recorded, tmp_path, monkeypatch
):
    """The worker dies in the middle of its attack; Ray begins the task anew, which goes on where it was."""
    _, _, expected = whole
    sweep = prepared(checkpoint=0.0)
    where = begun(tmp_path, sweep)
    killed = []

    def kill_once(refs):
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for name in place.names(where, "checkpoints"):
                claim = place.read(where, f"claims/{name.removesuffix('.npz')}.json")
                if claim:
                    killed.append(int(claim.split(b'"process": ')[1].split(b",")[0]))
                    os.kill(killed[0], signal.SIGKILL)
                    break
            time.sleep(0.005)
        return waiting(refs)

    waiting = ray.wait
    monkeypatch.setattr(ray, "wait", kill_once)
    heard = []
    ran = engine.drive(
        str(tmp_path),
        run.described(sweep.config),
        todo(sweep),
        engine.Cluster(),
        finished=set(),
        listen=heard.append,
    )
    assert killed and killed[0] != os.getpid()
    assert ran == sweep.cases and recorded(where).keys() == expected.keys()
    assert sorted(done.batch for done in heard) == list(todo(sweep))
    for case_id, record in recorded(where).items():
        assert record["loss"] == pytest.approx(expected[case_id]["loss"], rel=1e-3)
    assert not place.names(where, "claims") and not place.names(where, "checkpoints")


@pytest.mark.slow  # a cluster takes ten seconds to start
def test_a_task_that_cannot_run_says_so_and_how_to_go_on(ray, prepared, begun, tmp_path):
    sweep = prepared()
    begun(tmp_path, sweep)
    settings = run.described(sweep.config) | {"dataset": ["npz:/nowhere.npz"]}
    with pytest.raises(InputError, match="a task of the sweep failed: .*Go on with: jleak sweep resume"):
        engine.drive(str(tmp_path), settings, todo(sweep), engine.Cluster(), finished=set())


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'pip install "jleak\[ray\]"'):
        engine.imported()


HOST = """
import sys
from jleak.cli import main
main()
"""


def test_hosts_of_a_pod_share_a_sweep(tmp_path, whole, recorded):
    """Two processes with `jax.distributed`, as on a TPU pod: the same command on each."""
    sweep, _, expected = whole
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(run.described(sweep.config)))
    flags = ["--distributed", "--coordinator", f"127.0.0.1:{port}", "--processes", "2"]
    command = [sys.executable, "-c", HOST, "sweep", "run", str(file), "--out", str(tmp_path / "sweep")]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    hosts = [subprocess.Popen([*command, *flags, "--index", str(i)], **piped) for i in range(2)]
    told = [host.communicate(timeout=300) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], told
    shares = [sum(batch.count for batch in run.share(sweep.batches, (i, 2))) for i in range(2)]
    for (out, _), count in zip(told, shares, strict=True):
        assert f"{count} cases in" in out
    where = place.place(str(tmp_path / "sweep"))
    assert recorded(where).keys() == expected.keys()
