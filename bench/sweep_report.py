"""Seconds that `jleak report SWEEP --by defense,attack` takes of 20,000 records, process start and all.

The store is made up: no defense, one of four strengths, one of two, two attacks, two levels of knowledge, and
as many seeds as it takes, in parts of 128 cases with images of 8 x 8 pixels. Asked: within 5 s on one core.

    python bench/sweep_report.py [--records 20000] [--rounds 3]
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from jleak.audit.case import Case
from jleak.audit.sweep import place as files
from jleak.audit.sweep import schema, store
from jleak.audit.sweep.place import place

TOGETHER = 128
SIDE = 8
DEFENSES = [
    ("none", {}, "nothing"),
    *(("gaussian", {"sigma": sigma}, k) for sigma in (1e-3, 1e-2, 1e-1, 1.0) for k in ("nothing", "kind")),
    *(("clip", {"bound": bound}, k) for bound in (0.1, 1.0) for k in ("nothing", "kind")),
]
CASES = [
    Case(model="mlp", victims=1, defense=defense, defense_args=args, knows=knows, attack=attack)
    for defense, args, knows in DEFENSES
    for attack in ("dlg", "inverting")
]
SHOW = (
    "import sys; from jleak.audit.sweep.place import place; from jleak.report.sweep import show; "
    "show(place(sys.argv[1]), ['defense', 'attack'], [])"
)


def record(case, seed, psnr):
    """What an audit might have found."""
    lists = {
        "psnr": psnr, "ssim": 0.5, "mse": 10 ** (-psnr / 10), "label_success": 1.0, "constant_psnr": 9.0,
        "loss": 0.1, "snr": 10.0,
    }  # fmt: skip
    return case.to_json() | {
        "case_id": f"{case.case_id[:6]}{seed:06x}", "seed": seed, "status": "ok", "diverged": 0,
        **{name: [value] for name, value in lists.items()}, "evaluations": 100, "seconds": 0.01,
        "compile_seconds": 0.0, "device": "cpu:cpu", "devices": 1, "width": TOGETHER,
        "versions": {"jleak": "0"},
    }  # fmt: skip


def made(where, records):
    """A store of so many records."""
    draw = np.random.default_rng(0)
    store.begin(where, {}, command="made up", total=records)
    seeds = -(-records // len(CASES))
    for i, case in enumerate(CASES):
        for first in range(0, seeds, TOGETHER):
            some = range(first, min(first + TOGETHER, seeds))
            found = [
                record(case, seed, psnr)
                for seed, psnr in zip(some, draw.normal(30, 9, len(some)), strict=True)
            ]
            name = f"{i:04d}{first:06d}"
            store.put(where, name, schema.table(found))
            images(where, name, [one["case_id"] for one in found], draw)


def images(where, name, ids, draw):
    """Images of these cases."""
    buffer = io.BytesIO()
    both = draw.random((2, len(ids), 1, 1, SIDE, SIDE, 1)).astype(np.float16)
    labels = np.zeros((len(ids), 1, 1), int)
    np.savez_compressed(buffer, truth=both[0], reconstruction=both[1], labels=labels, case_id=np.array(ids))
    files.write(where, f"images/{name}.npz", buffer.getvalue())


def main(records, rounds):
    """Makes the store and times the command on one core."""
    with tempfile.TemporaryDirectory() as folder:
        where = place(folder)
        made(where, records)
        pinned = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else None
        seconds = []
        for _ in range(rounds):
            clock = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", SHOW, folder], check=True, stdout=subprocess.DEVNULL,
                preexec_fn=pinned and (lambda: os.sched_setaffinity(0, pinned)),
            )  # fmt: skip
            seconds.append(time.perf_counter() - clock)
        held = f"{len(store.table(where, []))} records in {len(store.parts(where))} parts"
        told = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"{held}: median {statistics.median(seconds):.2f} s on one core ({told})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    main(**vars(parser.parse_args()))
