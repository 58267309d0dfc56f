"""What `jleak report SWEEP` shows: table, page, and what it refuses."""

import base64
import re
from pathlib import Path

import pytest
from rich.console import Console

from jleak.audit.sweep import store
from jleak.audit.sweep.place import place
from jleak.check import InputError
from jleak.report.sweep import console, show
from jleak.report.sweep.answers import answers, digits
from jleak.report.sweep.columns import columns, varying


def printed(table, width=160):
    screen = Console(width=width, force_terminal=False)
    with screen.capture() as got:
        screen.print(table)
    return got.get()


def table_of(where, by=None, width=160):
    table = store.table(where)
    there = columns(table)
    by = varying(there) if by is None else by
    return printed(console.table(answers(table, there, by), by, digits(there), width), width)


def cells(text, *starts):
    """The cells of the line that begins with these."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return next(line for line in lines if tuple(line[: len(starts)]) == starts)


def test_a_line_of_the_table_holds_the_answer(noisy, sweep):
    text = table_of(sweep(noisy()), ["defense", "attack"])
    assert "What leaks, by defense, attack: 32 cases" in text
    heads = cells(text, "defense", "attack")
    line = dict(zip(heads, cells(text, "none", "dlg"), strict=False))
    assert line["cases"] == "2" and line["victims"] == "4"
    assert line["PSNR dB"] == "36.0 [35.0, 37.0]" and line["recovered"] == "100 % [51, 100]"
    line = dict(zip(heads, cells(text, "gaussian", "dlg"), strict=False))
    assert line["cases"] == "12" and line["victims"] == "4"
    assert line["pooled"] == "3 sigma, 2 knows"
    assert "Pooled, so that a row mixes different settings: defense.sigma (0.01, 0.1, 1); knows" in text
    assert "not ok" not in text and "not finite" not in text


def test_what_went_wrong_is_told(case, sweep):
    bad = [(case(seed=0), {}), (case(seed=1), {"psnr": [None, 3.0], "status": "non-finite loss"})]
    text = table_of(sweep(bad))
    assert "1 victims' PSNR is not finite" in text and "1 records: non-finite loss." in text
    assert text.count("not ok") == 1 and text.count("not finite") == 2  # the column, and the sentence


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_table_fits_the_screen(noisy, sweep, width):
    text = table_of(sweep(noisy()), width=width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert "gaussian sigma=0.01" in text and "PSNR dB" in text
    assert ("[35.0, 37.0]" in text) == (width >= console.NARROW)


def test_the_page_is_whole_and_loads_nothing(noisy, sweep, capsys):
    where = sweep(noisy(), total=99)
    show(where, ["defense", "attack"], ["attack=dlg"])
    page = (Path(where.root) / "report.html").read_text()
    loads = re.findall(r'src="([^"]*)"', page)
    assert len(loads) == 3 and all(one.startswith("data:image/png;base64,") for one in loads)
    shown = {base64.b64decode(one.partition(",")[2]) for one in loads}
    assert shown == {file.read_bytes() for file in (Path(where.root) / "figures").iterdir()}
    assert "://" not in page and "{{" not in page and "records.jsonl" not in page
    assert "jleak sweep run &#39;&lt;b&gt;a&lt;/b&gt;.yaml&#39;" in page
    assert "in 16 cases of 99 (the sweep is not finished)" in page and "<code>attack=dlg</code>" in page
    assert "36.0 <small>[35.0, 37.0]</small>" in page and "<td>36.0 [35.0, 37.0]</td>" in page
    assert "3 sigma, 2 knows" in page and "cpu:cpu; jleak 0.1, jax 0.10" in page
    assert str(Path(where.root) / "report.html") in capsys.readouterr().out


def test_a_remote_store_is_shown_without_pictures(noisy, sweep, capsys):
    where = sweep(noisy(), url="memory://shown/sweep")
    show(where)
    told = capsys.readouterr().out
    assert "gaussian sigma=0.01" in told and "need a store on this machine" in told
    assert not where.fs.exists(f"{where.root}/report.html")


def test_what_is_no_sweep_or_has_no_record_is_refused(tmp_path, noisy, sweep):
    with pytest.raises(InputError, match="holds no sweep"):
        show(place(tmp_path / "nothing"))
    with pytest.raises(InputError, match="holds no finished case yet; go on with: jleak sweep resume"):
        show(sweep([], total=3))
    where = sweep(noisy())
    with pytest.raises(InputError, match="unknown setting in --by 'sigma'"):
        show(where, ["sigma"])
    with pytest.raises(InputError, match="--where must be NAME=VALUE"):
        show(where, where=["attack"])


def test_figures_that_cannot_be_written_are_no_traceback(noisy, sweep):
    where = sweep(noisy())
    (Path(where.root) / "figures").write_text("in the way")
    with pytest.raises(InputError, match="pictures cannot be written"):
        show(where)
