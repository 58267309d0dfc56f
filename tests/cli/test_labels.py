"""`jleak labels`, from the shell's side."""

import json
import re

import pytest

SMALL = [
    "labels", "--model", "mlp:hidden=16", "--count", "4", "--attack", "llg", "--attack", "llg:exact=false",
    "--batch", "1", "--batch", "8",
]  # fmt: skip


def test_a_run_leaves_records_a_picture_and_a_page(command, tmp_path):
    run = tmp_path / "runs" / "one"
    done = command(*SMALL, "--draw", "non_iid", "--out", run)
    assert done.code == 0, done.err
    for part in ("mlp on digits, non_iid draw", "llg exact=true", "llg exact=false", "random", "6/6 mlp"):
        assert part in done.out
    assert re.search(r"^\d+ s in all, .* peak memory \d\.\d GiB; \d+ of \d+ programs", done.out, re.MULTILINE)
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert [(r["batch"], r["attack"]) for r in records] == [
        (n, attack) for n in (1, 8) for attack in ("random", "llg", "llg")
    ]
    assert all(len(record["success"]) == 4 for record in records)
    made = json.loads((run / "audit.json").read_text())
    assert made["kind"] == "labels" and made["command"].startswith("jleak labels --model mlp:hidden=16")
    assert (run / "report.html").exists() and len([*(run / "figures").iterdir()]) == 1

    again = command(*SMALL, "--draw", "non_iid", "--out", run, "--resume")
    assert again.code == 0 and "6 of 6 cases were finished before" in again.out
    shown = command("report", run)
    assert shown.code == 0 and "llg exact=false" in shown.out
    mixed = command("audit", "--out", run, "--resume")
    assert mixed.code == 2 and "holds a run of `jleak labels`" in mixed.err


def test_beliefs_in_the_batch_size(command, tmp_path):
    beliefs = ["known", "unknown", "16"]
    flags = ["--attack", "demix", "--batch", "8", "--out", tmp_path / "run"]
    done = command(*SMALL[:5], *flags, *(word for b in beliefs for word in ("--assumed-batch", b)))
    assert done.code == 0, done.err
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    found = [r for r in map(json.loads, lines) if r["attack"] == "demix"]
    assert [r["assumed_batch"] for r in found] == ["known", "unknown", 16]
    assert [r["batch_estimate"] is None for r in found] == [True, False, True]
    right, none = (sum(n == size for n in found[1]["batch_estimate"]) for size in (8, 0))
    assert re.search(rf"^  demix .* {right} \({none}\)  $", done.out, re.MULTILINE)
    for part in ("size known to the attacker", "size unknown to the attacker", "batch size taken for 16"):
        assert part in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--attack", "lgg"], ["unknown attack 'lgg'", "did you mean 'llg'?"]),
        (["--attack", "idlg"], ["idlg", "single image", "batch=2"]),
        (["--attack", "yin", "--batch", "16"], ["yin", "batch=16"]),
        (["--client", "fedavg:steps=3", "--batch", "4"], ["batch=4 and steps=3"]),
        (["--draw", "noniid"], ["unknown draw 'noniid'", "did you mean 'non_iid'?"]),
        (["--assumed-batch", "unknown", "--attack", "yin"], ["yin tells no shares", "assumed_batch=unknown"]),
        (["--assumed-batch", "many"], ["assumed_batch='many'", "write known, unknown or a number of images"]),
        (["--train-steps", "-1"], ["train_steps must be >= 0"]),
        (["--count", "0"], ["count must be >= 1, got count=0"]),
        (["--config", "none.yaml"], ["no such configuration file"]),
        (["--resume"], ["--resume", "--out"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(command, tmp_path, monkeypatch, flags, parts):
    monkeypatch.chdir(tmp_path)
    done = command("labels", *flags)
    assert done.code == 2 and done.out == "" and done.err.startswith("jleak: ")
    for part in parts:
        assert part in done.err
    assert not [*tmp_path.iterdir()]
