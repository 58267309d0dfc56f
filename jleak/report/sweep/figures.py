"""The pictures of a sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from jleak.audit.sweep.place import Place
from jleak.report.figures import TOP, Picture, saved, slug
from jleak.report.rows import RECOVERED
from jleak.report.sweep import curves, gallery, heat, numbers
from jleak.report.sweep.answers import Answer, digits, rounded
from jleak.report.sweep.columns import Column, varying

APART = ("defense", "attack", "knows", "seed")
"""Settings that a picture holds several of; each value of another one in `by` has pictures of its own."""

MOST = 4
"""Combinations of such settings that are drawn, those with the most cases."""


STRENGTH = (
    f"Median PSNR in a band of its quartiles, {TOP:.0f} dB and above at the top; lines that would lie on "
    "each other are a little apart. Up: more leaked. Dotted: the same attack without a defense"
)
MAP = (
    f"Above the median PSNR, white at {RECOVERED:.0f} dB, from which an image counts as recovered; below the "
    "share of victims recovered. Orange: leaked, blue: withstood. Without a defense there is nothing to know"
)
GALLERY = (
    "Of the answers with the highest and those with the lowest median PSNR, victims from the worst to the "
    "best, at equal shares of all: truth above reconstruction. Of a batch, its first image; a gap: no image "
    "was kept."
)


def draw(
    where: Place, table: pa.Table, there: Mapping[str, Column], by: Sequence[str], found: Sequence[Answer]
) -> list[Picture]:
    """Every picture, under `figures/` of the store, which is a folder of this machine.

    Args:
      where: the store.
      table, there: its records and their settings.
      by: what the answers are told apart by.
      found: the answers.

    Raises:
      OSError: the pictures cannot be written.
    """
    run = Path(where.root)
    (run / "figures").mkdir(exist_ok=True)
    pictures = []
    for title, some, of_these in facets(table, there, by):
        told = f"; put together over {pooled}" if (pooled := ", ".join(mixed(of_these, by))) else ""
        if (figure := curves.picture(some, of_these, by)) is not None:
            name = slug("strength", *([title] if title else []))
            heading = f"What a stronger defense buys{title and f': {title}'}"
            pictures.append(saved(figure, run, name, heading, STRENGTH + told + "."))
        name, heading = (
            slug("map", *([title] if title else [])),
            f"Attacks and defenses{title and f': {title}'}",
        )
        pictures.append(saved(heat.picture(some, of_these, by), run, name, heading, MAP + told + "."))
    strip = gallery.picture(where, table, found, by, digits(there))
    if strip is not None:
        pictures.append(saved(strip, run, "gallery", "What leaks most, and what leaks least", GALLERY))
    return pictures


def facets(
    table: pa.Table, there: Mapping[str, Column], by: Sequence[str]
) -> list[tuple[str, pa.Table, dict[str, Column]]]:
    """(title, records, settings) of each combination of the settings in `by` that no picture tells apart."""
    names = [name for name in by if name.partition(".")[0] not in APART]
    groups = numbers.grouped([there[name] for name in names], len(table))
    counts = [(groups.ids == group).sum() for group in range(groups.size)]
    largest = sorted(sorted(range(groups.size), key=lambda g: -counts[g])[:MOST])
    size, found = digits(there), []
    for group in largest:
        kept = groups.ids == group
        values = [(name, there[name].values[there[name].codes[groups.firsts[group]]]) for name in names]
        told = ", ".join(f"{name} {rounded(v, size.get(name))}" for name, v in values if v is not None)
        some = {name: column.where(kept) for name, column in there.items()}
        found.append((told, table.filter(pa.array(kept)), some))
    return found


def mixed(there: Mapping[str, Column], by: Sequence[str]) -> list[str]:
    """The settings that vary and that the pictures do not tell apart."""
    told = curves.groups(there, by)
    return [name for name in varying(there) if name not in told]
