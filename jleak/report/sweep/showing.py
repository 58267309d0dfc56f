"""A sweep's answers: on the screen, as pictures and as a page."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from jleak.audit.sweep import place as files
from jleak.audit.sweep import store
from jleak.audit.sweep.place import Place
from jleak.check import InputError
from jleak.report.screen import say, terminal
from jleak.report.sweep import console, figures, page
from jleak.report.sweep.answers import NEEDED, answers, digits
from jleak.report.sweep.choosing import asked, kept
from jleak.report.sweep.columns import columns


def show(place: Place, by: Sequence[str] | None = None, where: Sequence[str] = ()) -> None:
    """Shows what a sweep's records answer: a table; pictures and a page beside them, if the store is local.

    Args:
      place: the store.
      by: settings to tell apart, such as `defense` or `defense.sigma`; None for all that vary but the seed.
      where: conditions `NAME=VALUE`; of each setting named, a record must have one of the values.

    Raises:
      InputError: no sweep, no record, an unknown setting, a condition that no record meets, a full disk.
    """
    made, table = store.settings(place), store.table(place, NEEDED)
    if not len(table):
        raise InputError(
            f"{place.url} holds no finished case yet; go on with: jleak sweep resume {place.url}"
        )
    there, whole = columns(table), len(table)
    names = None if by is None else asked(by, there)
    if where:
        chosen = kept(where, there)
        table = table.filter(pa.array(chosen))
        there = {name: column.where(chosen) for name, column in there.items()}
    names = asked(None, there) if names is None else names
    found = answers(table, there, names)
    screen = terminal()
    screen.print(console.table(found, names, digits(there), screen.width))
    if not place.local:
        say(
            screen,
            f"records   {place.url}/records\nno figures: these and the page need a store on this machine",
        )
        return
    try:
        pictures = figures.draw(place, table, there, names, found)
    except OSError as error:
        raise InputError(
            f"pictures cannot be written: {error}; the records are kept. Make room, then: "
            f"jleak report {place.url}"
        ) from error
    text = page.html(table, there, names, found, pictures, made, where, whole)
    files.write(place, "report.html", text.encode())
    root = Path(place.root)
    say(
        screen,
        f"records   {root / 'records'}\nfigures   {root / 'figures'}\nreport    {root / 'report.html'}",
    )
