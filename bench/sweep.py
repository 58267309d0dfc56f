"""`jleak sweep`: cases a second against audits one after another, memory, host overhead, forecast, scaling.

`python bench/sweep.py PART`, PART one of

load: 2,000 and 20,000 small cases; asked: 50 times the cases a second of audits one after another, host
    overhead below 10 %, memory flat, one compile a program.
forecast: seconds as `jleak sweep check` foretells them against seconds taken, five sweeps.
scaling: a device's share of the work with 1 to 8 forced host devices.
report: `jleak report SWEEP --by defense,attack` of the 20,000 that `load` has left; asked: 5 s.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import save

STRENGTHS = {
    "gaussian": ("sigma", [0.001, 0.1]), "laplace": ("scale", [0.001, 0.1]), "clip": ("bound", [0.01, 10.0]),
    "prune": ("fraction", [0.5, 0.99]), "soteria": ("fraction", [0.1, 0.9]),
}  # fmt: skip
STEPS = 5
"""Strengths of each defense."""


def settings(seeds: int) -> dict:
    """Eight defenses at five strengths, two attacks, seeds: digits and a perceptron."""
    defenses = [
        {name: {argument: {"linear" if name in ("prune", "soteria") else "log": [*ends, STEPS]}}}
        for name, (argument, ends) in STRENGTHS.items()
    ]
    defenses.append({"clip": {"bound": {"log": [0.01, 10.0, STEPS]}, "scope": "tensor"}})
    defenses.append({"dp_sgd": {"bound": 1.0, "noise": {"log": [0.01, 1.0, STEPS]}}})
    defenses.append({"laplace": {"scale": {"log": [0.2, 2.0, STEPS]}}})
    attacks = [{"inverting": {"steps": 100}}, {"dlg": {"steps": 20}}]
    return {
        "dataset": "private:digits", "models": "mlp", "defenses": defenses, "attacks": attacks,
        "seeds": {"range": seeds}, "lanes": 8, "memory": 2.0,
    }  # fmt: skip


def timed(command: list[str]) -> tuple[float, float, str]:
    """(seconds, peak GiB, what it printed) of a command in a process of its own."""
    clock = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{shlex.join(command)} failed:\n{out}")
    return time.perf_counter() - clock, usage.ru_maxrss / 2**20, out


def jleak(*words: str) -> list[str]:
    """The command, in a process that says for how long its devices had work."""
    return [sys.executable, str(Path(__file__).with_name("sweep_busy.py")), *map(str, words)]


def swept(seeds: int, folder: Path, cache: Path) -> dict:
    """One sweep; the first with so many seeds has a cold compilation cache.

    The host's share: of the sweep's seconds those in which the devices had no work, and no program was waited
    for. `devices_alone` are the seconds of its programs one batch at a time, without writing, in a run of its
    own right after it: on a processor the host takes from the devices the cores that it uses.
    """
    file, out = folder / f"{seeds}.json", folder / f"sweep{seeds}"
    file.write_text(json.dumps(settings(seeds)))  # JSON is YAML
    shutil.rmtree(out, ignore_errors=True)
    seconds, gib, told = timed(jleak("sweep", "run", file, "--out", out, "--cache", cache / str(seeds)))
    cases, programs, compiling = re.search(
        r"(\d+) cases in .*?, (\d+) programs compiled in (\d+) s", told
    ).groups()
    ran, worked, waited, either = spent(told)
    alone = ("--alone", "sweep", "run", file, "--out", f"{out}-alone", "--cache", cache / str(seeds))
    shutil.rmtree(f"{out}-alone", ignore_errors=True)
    on_their_own = spent(timed(jleak(*alone))[2])[1]
    return {
        "cases": int(cases),
        "seconds": round(seconds, 1),
        "cases_a_second": round(int(cases) / seconds, 1),
        "programs": int(programs),
        "compile_seconds_beside": int(compiling),
        "waited_for_programs": round(waited, 1),
        "devices_had_work": round(worked, 1),
        "devices_alone": round(on_their_own, 1),
        "host_share": round(1 - either / ran, 3),
        "peak_gib": round(gib, 2),
    }


def spent(told: str) -> tuple[float, ...]:
    """What `sweep_busy` says at its end."""
    return tuple(map(float, re.findall(r": ([\d.]+) s", told.splitlines()[-1])))


def load(given: argparse.Namespace) -> dict:
    """Sweeps of 2,000 and 20,000 cases, and of the same cases a sample as audits of their own, cache warm."""
    with tempfile.TemporaryDirectory() as cache:
        folder = Path(given.folder)
        folder.mkdir(parents=True, exist_ok=True)
        sweeps = {str(n): swept(n // 80, folder, Path(cache)) for n in given.cases}
        sweeps[f"{given.cases[-1]}, cache warm"] = swept(given.cases[-1] // 80, folder, Path(cache))
        audits = [audited(i, Path(cache) / "audits") for i in range(given.audits + 1)][1:]
    seconds = sum(audits) / len(audits)
    rate = sweeps[str(given.cases[-1])]["cases_a_second"]
    return {
        "sweeps": sweeps,
        "audit_seconds": [round(one, 2) for one in audits],
        "times_an_audit": round(rate * seconds, 1),
    }


def audited(i: int, cache: Path) -> float:
    """Seconds of an audit of one of the cases, drawn at random; its second run, with cached programs."""
    draw = random.Random(max(i, 1))
    name, (argument, ends) = draw.choice(list(STRENGTHS.items()))
    attack = draw.choice(["inverting:steps=100", "dlg:steps=20"])
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "audit", "--dataset", "private:digits", "--model", "mlp", "--victims", 1, "--restarts", 1,
            "--attack", attack, "--defense", f"{name}:{argument}={ends[0]}", "--knows", "nothing",
            "--seed", draw.randrange(250), "--out", f"{folder}/run", "--cache", cache,
        ]  # fmt: skip
        command = [sys.executable, "-m", "jleak", *map(str, words)]
        timed(command)  # its programs are in the cache
        shutil.rmtree(f"{folder}/run")
        return timed(command)[0]


FORETOLD = {
    "mlp digits": {"models": "mlp", "attacks": {"inverting": {"steps": 100}}, "seeds": {"range": 256}},
    "lenet digits": {"models": "lenet", "attacks": {"inverting": {"steps": 100}}, "seeds": {"range": 32}},
    "lenet digits, dlg": {"models": "lenet", "attacks": {"dlg": {"steps": 50}}, "seeds": {"range": 32}},
    "convnet digits": {"models": "convnet", "attacks": {"inverting": {"steps": 20}}, "seeds": {"range": 8}},
    "resnet20 digits": {"models": "resnet20", "attacks": {"inverting": {"steps": 20}}, "seeds": {"range": 4}},
}


def foretold(given: argparse.Namespace) -> dict:
    """Seconds of attacks as `jleak sweep check` has them, and as the records have them, compiled before."""
    from jleak.audit import lanes
    from jleak.audit.sweep import forecast, place, run, store
    from jleak.audit.sweep.config import sweep_config_of

    lanes.every_core()
    found = {}
    for name, asked in FORETOLD.items():
        sweep = run.prepared(sweep_config_of(asked | {"memory": 4.0}))
        told = forecast.forecast(sweep)
        with tempfile.TemporaryDirectory() as out:
            where = place.place(out)
            store.begin(where, run.described(sweep.config), command=name, total=sweep.cases)
            run.drive(where, sweep, (0, 1), finished=set())
            taken = sum(store.table(where).column("seconds").to_pylist())
        built = sweep.means.cache.seconds
        found[name] = {
            "cases": sweep.cases,
            "attacks_foretold": round(told.seconds[0], 2),
            "attacks_taken": round(taken, 2),
            "compiling_foretold": round(told.seconds[1], 1),
            "compiling_taken": round(built, 1),
        }
        print(name, found[name], flush=True)
    return found


def scaling(given: argparse.Namespace) -> dict:
    """What one of n devices is given: lanes, groups, bytes; and the operations of a group."""
    from jleak.audit import lanes

    lanes.every_core(8)
    import jax

    from jleak.audit import programs, sides
    from jleak.audit.built import Programs
    from jleak.audit.parts import model_of
    from jleak.audit.sweep import run
    from jleak.audit.sweep.config import sweep_config_of

    sweep = run.prepared(
        sweep_config_of({"models": "mlp", "attacks": {"inverting": {"steps": 100}}, "seeds": {"range": 128}})
    )
    stack = sweep.batches[0].cases()
    images = sweep.means.images[stack[0].dataset]
    model = model_of(stack[0], images.shape, images.classes)
    given_ = sides.view_of(stack, sides.clients(stack, images, model, Programs()))
    layout, advance = lanes.layout, programs.compiled
    found = {}
    for devices in (1, 2, 4, 8):
        held = []

        def keep(fn, *args, held=held, **how):
            program, seconds = advance(fn, *args, **how)
            held.append(program)
            return program, seconds

        programs.compiled = keep
        where = layout(len(given_.keys), 4, devices)
        programs.attacker(stack[0], model, given_, where)
        programs.compiled = advance
        cost, memory = held[1].cost_analysis(), held[1].memory_analysis()
        cost = cost[0] if isinstance(cost, list) else cost
        text = held[1].as_text()
        found[str(devices)] = {
            "lanes_of_a_device": where.groups * where.width,
            "groups_of_a_device": where.groups,
            "flops_of_the_module": cost["flops"],
            "flops_of_a_device_by_groups": cost["flops"] * where.groups,
            "output_bytes_of_a_device": memory.output_size_in_bytes,
            "collectives": len(re.findall(r"all-gather|all-reduce|all-to-all|collective-permute", text)),
        }
        print(devices, found[str(devices)], flush=True)
    jax.clear_caches()
    return found


def report(given: argparse.Namespace) -> dict:
    """Seconds of the report of the largest sweep, process and pictures included: best and median of five."""
    out = Path(given.folder) / f"sweep{given.cases[-1] // 80}"
    command = [sys.executable, "-m", "jleak", "report", str(out), "--by", "defense,attack"]
    found = [timed(command) for _ in range(5)]
    seconds = sorted(one[0] for one in found)
    print(found[0][2][-3000:])
    return {"cases": given.cases[-1], "best": round(seconds[0], 2), "median": round(seconds[2], 2)}


PARTS = {"load": load, "forecast": foretold, "scaling": scaling, "report": report}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--cases", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--audits", type=int, default=5)
    parser.add_argument("--folder", default="/tmp/jleak-sweep", help="Where the sweeps of `load` stay.")
    given = parser.parse_args()
    save(f"sweep-{given.part}", PARTS[given.part](given))
