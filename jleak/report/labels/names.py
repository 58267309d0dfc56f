"""How a run's settings and attacks are called."""

from collections.abc import Sequence

from jleak.audit.store import Record
from jleak.check import keywords
from jleak.labels import LABELS
from jleak.report.rows import label, text

APART = ("public", "loss_fn", "train_lr", "train_batch", "models", "victims", "auxiliary", "lanes")
"""Settings that a title names where they differ between blocks."""

FORM = "exact"
"""The argument that says whether a rule ran as published or repaired: always told."""


def short(record: Record, among: Sequence[Record]) -> str:
    """An attack's name with its form, and the arguments that are not the defaults or not a namesake's."""
    name, args = record["attack"], record["attack_args"]
    defaults = keywords(LABELS[name]) if name in LABELS else {}
    others = [r["attack_args"] for r in among if r["attack"] == name]
    told = {
        key: value
        for key, value in args.items()
        if key == FORM
        or value != defaults.get(key, value)
        or any(other.get(key) != value for other in others)
    }
    return whole("attack", {"attack": name, "attack_args": told})


def title(record: Record, among: Sequence[Record], *, steps: bool) -> str:
    """What tells the setting of a record from the others: what is not plain, and what differs."""
    parts = [f"{label('model', record, among)} on {record['dataset']}", f"{record['draw']} draw"]
    for kind, plain in (("client", "fedsgd"), ("defense", "none")):
        if record[kind] != plain or any(r[kind] != plain for r in among):
            parts.append(whole(kind, record) if record[kind] != "none" else "no defense")
    if any(r["assumed_batch"] != "known" for r in among):
        parts.append(believed(record["assumed_batch"]))
    parts += [f"{n}={text(record[n]) or 'half'}" for n in APART if any(r[n] != record[n] for r in among)]
    if record["loss_fn"] != "cross_entropy" and not any(p.startswith("loss_fn=") for p in parts):
        parts.append(f"loss {record['loss_fn']}")
    if steps:
        parts.append(f"after {record['train_steps']} steps" if record["train_steps"] else "untrained")
    return ", ".join(parts)


def believed(size: int | str) -> str:
    """What the attacker takes the batch size for.

    >>> believed("unknown"), believed(16)
    ('batch size unknown to the attacker', 'batch size taken for 16')
    """
    told = {"known": "batch size known to the attacker", "unknown": "batch size unknown to the attacker"}
    return told.get(size, f"batch size taken for {size}")


def whole(kind: str, record: Record) -> str:
    """A name with all its arguments.

    >>> whole("attack", {"attack": "llg", "attack_args": {"exact": True}})
    'llg exact=true'
    """
    return " ".join([record[kind], *(f"{k}={text(v)}" for k, v in record[f"{kind}_args"].items())])
