"""The batches of a sweep as tasks of a Ray cluster, which retries those whose worker is lost.

Ray is an extra: `pip install "jleak[ray]"`. A task runs one batch into the store, so all machines must reach
the store by the same path or URL, and hold the same jleak, data and weights.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jleak.audit import cache, lanes
from jleak.audit.sweep import run, worker
from jleak.audit.sweep.config import sweep_config_of
from jleak.audit.sweep.place import place
from jleak.check import InputError, number, whole

RETRIES = 5
"""How often a task is begun anew whose worker was lost."""


class Cluster(NamedTuple):
    """Where tasks run, and what each takes.

    Attributes:
      address: of a running cluster (`auto`, `HOST:PORT`, `ray://HOST:PORT`); None for one of this machine.
      cpus, gpus: of each task; a task computes on so many devices.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0


class Done(NamedTuple):
    """What a task tells of its batch."""

    batch: int
    cases: int
    evaluations: int


def drive(
    url: str,
    settings: Mapping[str, Any],
    todo: Sequence[int],
    cluster: Cluster,
    *,
    finished: set[str],
    listen: Callable[[Done], None] = lambda done: None,
) -> int:
    """Runs the batches with these numbers on a Ray cluster; returns how many cases were run.

    Args:
      url: the store.
      settings: the sweep's, as `jleak.audit.sweep.run.described` has them.
      todo: numbers of the batches.
      cluster: where they run.
      finished: the cases that were finished before.
      listen: called after each batch.

    Raises:
      InputError: Ray is not installed, or a task failed for good; what is finished is kept.
    """
    ray = imported()
    whole("cpus", cluster.cpus), number("gpus", cluster.gpus, least=0)
    with_ray = {"address": cluster.address} if cluster.address else {"include_dashboard": False}
    ray.init(ignore_reinit_error=True, log_to_driver=False, **with_ray)
    try:
        asked = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, "max_retries": RETRIES}
        task = ray.remote(**asked)(one)
        known, cases = ray.put(finished), 0
        waiting = [task.remote(url, json.dumps(settings), i, known, cluster.cpus) for i in todo]
        while waiting:
            ready, waiting = ray.wait(waiting)
            for done in map(ray.get, ready):
                cases += done.cases
                listen(done)
        return cases
    except ray.exceptions.RayError as error:
        raise InputError(
            f"a task of the sweep failed: {str(error).strip().splitlines()[-1]}; what is finished is kept. "
            f"Go on with: jleak sweep resume {url} --engine ray"
        ) from error
    finally:
        ray.shutdown()


def imported() -> Any:
    """Ray.

    Raises:
      InputError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError('the engine ray needs Ray; install it with: pip install "jleak[ray]"') from error
    return ray


def one(url: str, settings: str, index: int, finished: set[str], cpus: int) -> Done:
    """Runs one batch in a worker of the cluster, which keeps data and programs from batch to batch."""
    sweep = ready(settings, cpus)
    batch, spent = sweep.batches[index], []
    cases = worker.work(
        place(url),
        [batch],
        sweep.means,
        finished=finished,
        listen=lambda stand: spent.append(stand.evaluations),
    )
    return Done(index, cases, sum(spent))


@functools.cache
def ready(settings: str, cpus: int) -> run.Sweep:
    """The sweep of these settings (JSON), prepared once in a worker."""
    lanes.every_core(cpus)
    cache.enable()
    return run.prepared(sweep_config_of(json.loads(settings)))
