"""The commands, from the shell's side."""

import base64
import importlib.metadata
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jleak import catalog, cli
from jleak.check import keywords
from jleak.report.listing import function

HEAVY = ("jax", "flax", "optax", "sklearn", "matplotlib", "numpy")
ONE_AUDIT = pytest.mark.xdist_group("audited")  # one worker: the audit that they look at runs once
DEFENSES = ("none", "gaussian sigma=0.01", "clip bound=1", "prune fraction=0.9")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["audit", "--help"], ["labels", "--help"], ["list", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys, jleak.cli\n"
        f"sys.argv[1:] = {arguments}\n"
        "try: jleak.cli.main()\n"
        f"finally: print('loaded:', [name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "loaded: []"


def test_help_names_every_command(command):
    done = command("--help")
    assert done.code == 0
    for name in ("audit", "labels", "list", "report"):
        assert re.search(rf"^│ {name} +\w", done.out, re.MULTILINE)
    flags = command("audit", "--help").out
    for flag in ("--config", "--knows", "--resume", "--no-cache", "--out", "--seed", "--known-labels"):
        assert flag in flags


def test_the_script_is_this_command():
    (script,) = [s for s in importlib.metadata.entry_points(group="console_scripts") if s.name == "jleak"]
    assert script.load() is cli.main


def test_list_as_json_is_stable(command):
    done = command("list", "--json")
    found = json.loads(done.out)
    assert list(found) == [
        "attacks", "labels", "clients", "defenses", "metrics", "measures", "models", "datasets", "optimizers",
        "generators", "priors", "objectives", "critics",
    ]  # fmt: skip
    assert found == catalog.names()
    assert all(names == sorted(names) for names in found.values())
    assert {"dlg", "inverting"} <= {*found["attacks"]} and "digits" in found["datasets"]


def test_list_shows_names_and_arguments(command):
    done = command("list")
    packed = re.sub(r"\s+", "", done.out)
    for kind, entries in catalog.KINDS.items():
        assert kind in done.out
        for name, entry in entries.items():
            assert re.search(rf"^ {name} ", done.out, re.MULTILINE), name
            shown = [k for k in keywords(function(entry)) if k not in packed]
            assert not shown, (name, shown)
    assert "inverting" in done.out and "steps=4800,lr=0.1" in packed


@ONE_AUDIT
def test_an_audit_leaves_records_pictures_and_a_page(audited):
    lines = (audited.path / "records.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [record["defense"] for record in records] == ["none", "gaussian", "clip", "prune"]
    for record in records:
        assert len(record["psnr"]) == len(record["label_success"]) == 2
        assert record["status"] == "ok" and record["evaluations"] == 100 and record["knows"] == "nothing"
    assert min(records[0]["psnr"]) > 25 > max(records[3]["psnr"])
    pictures = sorted((audited.path / "figures").iterdir())
    assert {picture.name.split("-")[0] for picture in pictures} == {"overview", "gallery", "film"}
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.format == "PNG" and np.asarray(image.convert("L"), float).std() > 5


@ONE_AUDIT
def test_the_page_of_an_audit_stands_alone(audited):
    page = (audited.path / "report.html").read_text()
    assert "://" not in page and "{{" not in page and "{%" not in page and "<script" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    pictures = {picture.read_bytes() for picture in (audited.path / "figures").iterdir()}
    assert {base64.b64decode(source.partition(",")[2]) for source in sources} == pictures
    assert all(defense in page for defense in DEFENSES)
    assert "jleak audit --model mlp:hidden=16" in page


@ONE_AUDIT
def test_an_audit_prints_the_table_and_what_it_took(audited):
    out = audited.done.out
    for part in (*DEFENSES, "mlp on private:digits", "PSNR dB", "4/4 mlp prune", "runs/first/report.html"):
        assert part in out
    assert re.search(r"^\d+ s in all, .* peak memory \d\.\d GiB; \d+ of \d+ programs", out, re.MULTILINE)


TAKEN = re.compile(r"(\d+) of (\d+) programs taken from the compilation cache \((.*)\)")


@ONE_AUDIT
def test_the_second_run_takes_its_programs_from_the_cache(audited, process, environment):
    """Here by flag from the directory that the first run was given by JAX's variable."""
    out = audited.path.with_name("second")
    plain = {k: v for k, v in environment.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    cache = environment["JAX_COMPILATION_CACHE_DIR"]
    done = process("audit", *audited.flags, "--cache", cache, "--out", out, env=plain)
    assert done.code == 0, done.err
    _, needed, _ = TAKEN.search(audited.done.out).groups()
    taken, _, where = TAKEN.search(done.out).groups()
    assert int(taken) >= int(needed) > 0 and where == cache
    first, second = (
        [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]
        for path in (audited.path, out)
    )
    for record in first + second:
        del record["seconds"], record["compile_seconds"]
    assert first == second
    for one in first:
        name = f"images/{one['case_id']}.npz"
        with np.load(audited.path / name) as a, np.load(out / name) as b:
            assert all(np.array_equal(a[key], b[key]) for key in a)


def test_the_cache_can_be_switched_off(process, environment, tmp_path):
    """Also where JAX's variable names a directory."""
    (tmp_path / "parts.py").write_text(
        "import jax.numpy as jnp\nfrom jleak.types import Reconstruction\n"
        "def grey(threat):\n"
        "    x = jnp.full(threat.shape, 0.5)\n"
        "    return lambda key, view: Reconstruction(x, jnp.zeros(threat.batch, int), jnp.zeros(()), 0)\n"
    )
    flags = ["--model", "mlp:hidden=4", "--attack", "parts:grey", "--defense", "none", "--seed", "0"]
    env = environment | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    done = process("audit", *flags, "--victims", "1", "--no-cache", "--out", "run", cwd=tmp_path, env=env)
    assert done.code == 0 and "compilation cache off" in done.out, done.err
    assert not any((tmp_path / "cache").rglob("*"))


@ONE_AUDIT
def test_a_report_is_made_again(audited, command):
    page = (audited.path / "report.html").read_bytes()
    pictures = {file: file.read_bytes() for file in (audited.path / "figures").iterdir()}
    for file in [*pictures, audited.path / "report.html"]:
        file.unlink()
    done = command("report", audited.path)
    assert done.code == 0 and all(defense in done.out for defense in DEFENSES)
    assert {file: file.read_bytes() for file in (audited.path / "figures").iterdir()} == pictures
    assert (audited.path / "report.html").read_bytes() == page


def test_settings_come_from_a_file_and_flags_go_over_them(command, tmp_path):
    (tmp_path / "audit.yaml").write_text(
        "models: [mlp: {hidden: 16}]\nattacks: [inverting: {steps: 50}]\ndefenses: none\n"
        "knows: nothing\nvictims: 1\nrestarts: 1\nseeds: [0, 1]\n"
    )
    out = tmp_path / "run"
    done = command("audit", "--config", tmp_path / "audit.yaml", "--victims", 2, "--out", out)
    assert done.code == 0
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [(r["seed"], r["victims"], r["attack_args"]["steps"]) for r in records] == [(0, 2, 50), (1, 2, 50)]


def test_data_and_parts_of_the_users_own(process, small, tmp_path):
    """A colour data set, a batch of two, and a defense from the folder where the command is given."""
    x = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), np.uint8)
    np.savez(tmp_path / "some.npz", images=x, labels=np.arange(12) % 3)
    (tmp_path / "mine.py").write_text(
        "import jax\nfrom jleak.clients import on_update\n"
        "def scale(*, factor: float):\n"
        "    return on_update(lambda key, update: jax.tree.map(lambda u: factor * u, update))\n"
    )
    flags = [
        "--dataset",
        "npz:some.npz",
        "--batch",
        "2",
        "--known-labels",
        "--defense",
        "mine:scale:factor=2",
    ]
    done = process("audit", *small, *flags, "--out", "run", cwd=tmp_path)
    assert done.code == 0, done.err
    (record,) = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert record["snr"] == pytest.approx([0, 0], abs=1e-4) and record["label_success"] == [1.0, 1.0]
    with np.load(tmp_path / "run" / "images" / f"{record['case_id']}.npz") as arrays:
        shown = np.round(arrays["truth"].astype(float) * 255).astype(np.uint8).reshape(4, 6, 5, 3)
    assert all((x == image).all(axis=(1, 2, 3)).any() for image in shown)


def test_a_grid_of_losses_batches_and_draws_is_one_call(command, tmp_path):
    run = tmp_path / "run"
    flags = [
        "--model",
        "mlp:hidden=16",
        "--attack",
        "dense",
        "--defense",
        "none",
        "--victims",
        "2",
        "--known-labels",
    ]
    axes = {"loss_fn": ["cross_entropy", "bce"], "batch": [2, 3], "draw": ["distinct", "one_class"]}
    for name, values in axes.items():
        flags += [word for value in values for word in (f"--{name.replace('_', '-')}", value)]
    done = command("audit", *flags, "--seed", "0", "--restarts", "1", "--out", run)
    assert done.code == 0, done.err
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    seen = {tuple(record[name] for name in axes) for record in records}
    assert len(records) == 8 and seen == set(itertools.product(*axes.values()))
    assert "What mixing buys" in done.out and (run / "figures" / "mixing.png").exists()
    mu = {(r["loss_fn"], r["draw"]): np.mean(r["mixing"]["mu"]) for r in records if r["batch"] == 3}
    assert mu["cross_entropy", "distinct"] < 1 < mu["bce", "distinct"]
