"""`jleak audit` with its defaults: seconds cold and with a warm compilation cache, peak memory, recovery.

Asked: 120 s cold, 60 s the second time, 3 GiB, and a median PSNR of 30 dB without defense for the better of
`inverting` and `dlg`, on two cores.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import save


def audit(directory: Path, cache: Path) -> dict:
    """One default audit in a process of its own; what it printed at the end, and what it found."""
    clock = time.perf_counter()
    command = [sys.executable, "-m", "jleak", "audit", "--out", str(directory), "--cache", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - clock
    records = [json.loads(line) for line in (directory / "records.jsonl").read_text().splitlines()]
    psnr = {}
    for r in records:
        if r["defense"] == "none":
            psnr.setdefault(f"{r['model']} {r['attack']}", []).extend(r["psnr"])
    return {
        "seconds": round(seconds, 1),
        "said": done.stdout.splitlines()[-1],
        "cases": len(records),
        "compile_seconds": round(sum(r["compile_seconds"] for r in records), 1),
        "median_psnr_without_defense": {k: round(statistics.median(v), 1) for k, v in psnr.items()},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        runs = {name: audit(Path(folder) / name, cache) for name in ("cold", "second")}
    save("audit", runs)
