"""What every benchmark shares: quiet timing, and results with their provenance."""

import contextlib
import fcntl
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp

RESULTS = Path(__file__).parent / "results"


def interleaved(tasks: dict[str, Callable[[], Any]], rounds: int = 5) -> dict[str, list[float]]:
    """Seconds of each task, a round of all after the other; the first round (compilation) does not count."""
    for task in tasks.values():
        jax.block_until_ready(task())
    seconds = {name: [] for name in tasks}
    for i in range(rounds):
        for name in list(tasks) if i % 2 == 0 else reversed(tasks):
            clock = time.perf_counter()
            jax.block_until_ready(tasks[name]())
            seconds[name].append(time.perf_counter() - clock)
    return seconds


@contextlib.contextmanager
def turn(lock: Path | None) -> Iterator[None]:
    """Alone on the device, where several benchmarks run and compile side by side; None: nobody else runs."""
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def matmul_flops(n: int = 4096, times: int = 5) -> float:
    """Operations a second of a product of two n x n matrices of float32, at JAX's precision in force."""
    a, b = jax.random.normal(jax.random.key(0), (2, n, n))
    product = jax.jit(jnp.matmul).lower(a, b).compile()
    jax.block_until_ready(product(a, b))
    seconds = []
    for _ in range(times):
        clock = time.perf_counter()
        jax.block_until_ready(product(a, b))
        seconds.append(time.perf_counter() - clock)
    return 2 * n**3 / statistics.median(seconds)


def quartiles(numbers: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile, to four significant digits."""
    found = statistics.quantiles(numbers, n=4, method="inclusive")
    return [float(f"{number:.4g}") for number in found]


def save(name: str, results: dict[str, Any]) -> Path:
    """Writes results beside where they came from: command, machine, versions, revision, load."""
    device = jax.devices()[0]
    git = ["git", "rev-parse", "--short", "HEAD"]
    made = {
        "command": f"python {Path(sys.argv[0]).resolve().relative_to(RESULTS.parents[1])}",
        "device": f"{device.platform}:{device.device_kind} x {jax.device_count()}",
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "revision": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }
    path = RESULTS / f"{name}-{device.platform}.json"
    path.write_text(json.dumps({"made": made, "results": results}, indent=1) + "\n")
    print(path.read_text())
    return path


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
