"""The page and the table: complete, self-contained, and told apart from what they quote."""

import base64
import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from jleak.audit import store
from jleak.check import InputError
from jleak.report import console, figures, page, session
from jleak.report.rows import rows

DEFENSES = [("none", {}), ("gaussian", {"sigma": 0.5}), ("prune", {"fraction": 0.9})]


class Seen(HTMLParser):
    """What a browser would make of a page: text, tags that stay open, and everything it would load."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.loads, self.tags = [], "", [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def made(case, made_run):
    plan = [
        case(defense=d, defense_args=args, attack=a) for d, args in DEFENSES for a in ("inverting", "dlg")
    ]
    path = made_run(plan, psnr=[33.25, 34.75], label_success=[1.0, 0.0])
    found = rows(store.read_records(path))
    return path, found, page.html(found, figures.draw(found, path), store.read_settings(path))


def test_the_page_loads_nothing_and_shows_the_pictures_of_the_run(made):
    path, _, text = made
    seen = Seen(text)
    assert not seen.open and not seen.tags & {"script", "link", "iframe"}
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert "{{" not in text and "{%" not in text
    prefix = "data:image/png;base64,"
    assert seen.loads and all(source.startswith(prefix) for source in seen.loads)
    shown = {base64.b64decode(source.removeprefix(prefix), validate=True) for source in seen.loads}
    assert shown == {file.read_bytes() for file in (path / "figures").iterdir()}


def test_the_page_says_what_was_found(made):
    seen = Seen(made[2]).text
    for part in ("none", "gaussian sigma=0.5", "prune fraction=0.9", "inverting", "dlg", "recovered"):
        assert part in seen
    assert "34.0" in seen and "[33.6, 34.4]" in seen and "50 %" in seen
    assert "jax 0.10" in seen and "cpu:cpu" in seen


def test_what_the_page_quotes_is_text(made):
    assert "<b>inverting</b>" not in made[2] and "<b>inverting</b>" in Seen(made[2]).text


def test_the_worst_attack_of_each_defense_leads(case, record):
    clip = {"defense": "clip", "defense_args": {"bound": 1.0}}
    found = rows(
        [
            record(case(), psnr=None),
            record(case(attack="dlg"), psnr=12.0),
            record(case(**clip), psnr=40.0),
            record(case(**clip, attack="dlg"), psnr=39.0),
            record(case(**clip, knows="kind"), psnr=41.0),
        ]
    )
    assert [(row.defense, row.attack, row.knows) for row in page.worst(found)] == [
        ("none", "dlg", "nothing"),
        ("clip bound=1", "inverting", "kind"),
    ]


def drawn(found, width):
    screen = Console(file=io.StringIO(), width=width)
    for table in console.tables(found, width):
        screen.print(table)
    return screen.file.getvalue()


def test_the_table_shows_every_row_and_what_is_wrong(case, record):
    clip = {"defense": "clip", "defense_args": {"bound": 1.0}}
    found = rows(
        [
            record(case(), psnr=[33.25, 34.75], snr=None, ssim=0.98, loss=1e-3),
            record(case(**clip), psnr=None, snr=12.25, status="non-finite loss"),
        ]
    )
    text = drawn(found, console.WIDE)
    assert "mlp on digits" in text and "clip bound=1" in text and "non-finite loss" in text
    (plain,) = [line for line in text.splitlines() if line.strip().startswith("none")]
    assert "34.0 [33.6, 34.4]" in plain and "0.98" in plain and "1.0e-03" in plain and "100 %" in plain
    (clipped,) = [line for line in text.splitlines() if "clip bound" in line]
    assert "12.2" in clipped and clipped.split().count("-") == 1  # no PSNR
    assert plain.split().count("-") == 1  # no SNR: nothing was changed
    assert "2 victims" in text and "10.0 dB" in text


def test_a_narrow_screen_cuts_no_number(case, record):
    text = drawn(rows([record(case(), psnr=[33.25, 34.75])]), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "34.0" in text and "[33.6" not in text and "…" not in text


def test_brackets_of_a_path_are_kept(case, record):
    assert "[bold]a.npz" in drawn(rows([record(case(dataset="npz:/x/[bold]a.npz"))]), console.WIDE)


def test_a_report_is_made_from_the_records_alone(made, capsys):
    path, _, text = made
    session.report(path)
    assert (path / "report.html").read_text() == text
    for file in (path / "figures").iterdir():
        file.unlink()
    session.report(path)
    assert (path / "report.html").read_text() == text
    out = capsys.readouterr().out
    assert "gaussian sigma=0.5" in out and str(path / "report.html") in out


def test_a_run_without_a_finished_case_says_how_to_go_on(tmp_path):
    store.make(tmp_path / "run", {"command": "jleak audit --batch 2"})
    with pytest.raises(InputError, match="jleak audit --batch 2 --resume --out"):
        session.report(tmp_path / "run")


def test_a_report_that_cannot_be_written_keeps_the_records(made, monkeypatch):
    path, _, text = made
    before = (path / "records.jsonl").read_bytes()

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(InputError, match=r"No space left on device.*jleak report"):
        session.report(path)
    assert (path / "records.jsonl").read_bytes() == before
    assert not [file for file in path.rglob(".*")]
