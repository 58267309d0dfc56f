"""Label leakage shown: rows, tables, pictures and page, from made-up records."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jleak.audit import store
from jleak.audit.labels.case import LabelCase
from jleak.check import InputError
from jleak.report import session
from jleak.report.labels import console, figures, page, rows


@pytest.fixture
def record():
    """`record(success, **settings)`: of four models; a number stands for all of them."""

    def build(success=1.0, *, status="ok", imbalance=0.0, accuracy=None, sizes=None, **settings):
        case = LabelCase(**{"attack": "llg", "models": 4, "batch": 8} | settings)
        lanes = case.models * case.victims
        rates = success if isinstance(success, list) else [success] * lanes
        return {
            "case_id": case.case_id, "kind": "labels", **case.to_json(), "status": status, "success": rates,
            "imbalance": [imbalance] * lanes, "found": [case.batch] * lanes, "accuracy": accuracy,
            **dict.fromkeys(("batch_estimate", "batch_error", "batch_chance"), sizes),
            "seconds": 0.1, "compile_seconds": 1.0, "device": "cpu:cpu",
            "versions": {"jleak": "0.1", "jax": "0.10"},
        }  # fmt: skip

    return build


@pytest.fixture
def grid(record):
    """Records of two attacks and guessing, three batch sizes, two stages of training."""
    return [
        record(
            rate / (1 + steps / 1000) - batch / 1000,
            attack=attack,
            batch=batch,
            train_steps=steps,
            accuracy=a,
        )
        for steps, a in ((0, None), (500, 0.5))
        for batch in (1, 8, 64)
        for attack, rate in (("random", 0.3), ("llg", 0.8), ("demix", 0.9))
    ]


def drawn(found, width):
    screen = Console(width=width, file=io.StringIO())
    for table in console.tables(found, width):
        screen.print(table)
    return screen.file.getvalue()


def test_the_rate_is_over_models_and_victims_are_averaged_first(record):
    """Victims of one model are not independent: two models of three victims are two numbers."""
    ((line,),) = (b.lines for b in rows.blocks([record([1.0, 1.0, 1.0, 0.5, 0.5, 0.5], models=2, victims=3)]))
    cell = line.cells[8]
    assert cell.models == 2 and cell.rate.mean == 75.0
    assert cell.rate.half == pytest.approx(12.706 * 25.0, rel=1e-4)  # t of one degree, sd 35.4 / sqrt(2)


def test_seeds_are_more_models(record):
    (block,) = rows.blocks([record(1.0), record(0.5, seed=1)])
    assert block.lines[0].cells[8].models == 8 and block.lines[0].cells[8].rate.mean == 75.0


def test_models_without_a_finite_update_are_left_out_and_told(record):
    (block,) = rows.blocks([record([1.0, None, 0.5, None], status="non-finite update")])
    assert block.lines[0].cells[8].models == 2 and block.lines[0].cells[8].rate.mean == 75.0
    assert block.faults == ["batch 8: non-finite update"]
    assert "non-finite update" in drawn([block], 80)
    (block,) = rows.blocks([record([None] * 4, status="non-finite update")])
    assert np.isnan(block.lines[0].cells[8].rate.mean) and block.best == {8: []}
    assert re.search(r"llg exact=true +- ", drawn([block], 80))


def test_settings_are_never_put_together(record):
    changes = {
        "dataset": "npz:a", "model": "mlp", "draw": "non_iid", "client": "fedavg", "train_steps": 10,
        "assumed_batch": 9, "loss_fn": "mse", "auxiliary": 3, "public": "npz:b", "train_lr": 0.2,
        "victims": 2,
    }  # fmt: skip
    found = rows.blocks([record(), *(record(**{name: value}) for name, value in changes.items())])
    assert len(found) == len({block.title for block in found}) == 1 + len(changes)


def test_titles_tell_what_differs(record):
    noise = {"defense": "gaussian", "defense_args": {"sigma": 0.1}}
    assert [b.title for b in rows.blocks([record()])] == ["lenet on digits, uniform draw"]
    assert [b.title for b in rows.blocks([record(), record(**noise, train_steps=9)])] == [
        "lenet on digits, uniform draw, no defense, untrained",
        "lenet on digits, uniform draw, gaussian sigma=0.1, after 9 steps",
    ]


def test_attacks_are_named_by_the_form_that_ran(record):
    forms = [{"attack": "counts", "attack_args": {"pbar": p}} for p in ("flat", "auxiliary")]
    published = {"attack_args": {"exact": False}}
    (block,) = rows.blocks(
        [record(attack="random"), record(), record(**published), *(record(**f) for f in forms)]
    )
    assert [line.short for line in block.lines] == [
        "llg exact=true", "llg exact=false", "counts pbar=flat", "counts pbar=auxiliary", "random",
    ]  # fmt: skip
    (block,) = rows.blocks([record(**forms[1])])
    assert block.lines[0].short == "counts pbar=auxiliary"  # alone, but not the default


def test_guessing_is_last_and_best_are_all_that_lead(record):
    found = [
        record(0.9, attack="random"),
        record(0.8),
        record(0.8, attack="demix"),
        record(0.1, attack="yin"),
    ]
    (block,) = rows.blocks(found)
    assert [line.name for line in block.lines] == ["llg", "demix", "yin", "random"]
    assert [line.name for line in block.best[8]] == ["llg", "demix"]  # the floor is no attack
    (block,) = rows.blocks([record(0.79961), record(0.8, attack="demix"), record(0.798, attack="yin")])
    assert [line.name for line in block.best[8]] == ["llg", "demix"]  # both 80.0 %


@pytest.mark.parametrize(
    ("rate", "guessing", "wanted"),
    [
        ((50, 3), (40, 3), True),
        ((50, 8), (40, 7), False),
        ((30, 1), (40, 1), False),
        ((50, None), (40, 3), True),
    ],
)
def test_leaking_is_more_than_guessing(rate, guessing, wanted):
    cells = [
        rows.Cell(rows.Rate(mean, np.nan if half is None else half), 4, "ok", 0.0)
        for mean, half in (rate, guessing)
    ]
    assert console.leaks(*cells) is wanted


@pytest.mark.parametrize("width", [60, 80, 160])
def test_tables_fit_the_screen_and_lose_nothing(record, width):
    batches = (1, 2, 4, 8, 16, 32, 64, 128)
    found = rows.blocks(
        [record(1 / n, attack=a, batch=n) for n in batches for a in ("random", "demix", "llg")]
    )
    text = drawn(found, width)
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    heads = " ".join(line for line in text.splitlines() if line.startswith(f"  {console.HEADING}"))
    assert heads.replace(console.HEADING, "").split() == [str(n) for n in batches]
    assert text.count("mean over 4 models") == 1 or width == 60  # the caption once, below the last piece
    assert ("steps=30" in text) == (width == 160)


def test_a_long_title_is_not_squeezed_into_a_narrow_table(record):
    """Nor is the caption: both take the screen's width."""
    found = rows.blocks([record(defense="gaussian", defense_args={"sigma": 0.1})])
    text = drawn(found, 100)
    assert "lenet on digits, uniform draw, gaussian sigma=0.1\n" in text.replace(" \n", "\n")
    assert re.search(r"^In %, .* ± half its 95 % interval\.$", text, re.MULTILINE)


def test_the_caption_tells_what_the_numbers_are(record):
    (block,) = rows.blocks([record(imbalance=0.4, accuracy=0.91, train_steps=5, victims=2)])
    text = console.caption(block)
    for part in (
        "over 4 models of 2 victims",
        "95 % interval",
        "0.4: noise, pruning or another loss",
        "91.0 %",
    ):
        assert part in text
    (block,) = rows.blocks([record(assumed_batch=16)])
    assert "overlap of the classes' shares" in console.caption(block) and "median: 0." in console.caption(
        block
    )


@pytest.fixture
def estimates(record):
    """Records of attackers who are not told the batch size."""
    unknown = {"assumed_batch": "unknown"}
    return [
        record(0.6, attack="random", sizes=[10, 10, 10, 10], **unknown),
        record(0.9, sizes=[8, 8, 0, 4], **unknown),
        record(
            [0.9, 0.9, 0.9, None],
            attack="demix",
            sizes=[8, 8, 8, None],
            status="non-finite update",
            **unknown,
        ),
    ]


def test_estimated_batch_sizes_are_counted(estimates):
    """Right, none, of how many; guessing estimates nothing."""
    (block,) = rows.blocks(estimates)
    assert [line.cells[8].sizes for line in block.lines] == [(2, 1, 4), (3, 0, 3), None]
    assert [line.name for line in block.sized] == ["llg", "demix"] and block.updates == "3 to 4"
    assert console.estimated(block.lines[0].cells[8].sizes) == "2 of 4 (1 none, 1 wrong)"


def test_estimated_batch_sizes_are_shown(estimates, record, tmp_path):
    found = rows.blocks(estimates)
    text = " ".join(drawn(found, 100).split())
    assert "batch size unknown to the attacker: batch size estimated right" in text
    assert re.search(r"llg exact=true 2 \(1\)", text) and "Of 3 to 4 updates each" in text
    html = page.html(found, figures.draw(found, tmp_path), {"command": "jleak labels"})
    assert html.count("2 of 4 (1 none, 1 wrong)") == 1 and html.count("<td>3 of 3</td>") == 2  # once in short
    assert "batch size estimated</dt>" in html
    plain = page.html(rows.blocks([record()]), [], {"command": "jleak labels"})
    assert "batch size right," not in plain and "batch size estimated" not in plain


def test_pictures_by_batch_and_by_training(grid, tmp_path):
    found = rows.blocks(grid)
    pictures = figures.draw(found, tmp_path)
    assert [p.path.name.split("-")[0] for p in pictures] == ["training", "batch", "batch"]
    for picture in pictures:
        with Image.open(picture.path) as image:
            assert image.format == "PNG" and np.asarray(image.convert("L"), float).std() > 5
    assert len({p.path for p in pictures}) == 3
    one = rows.blocks([r for r in grid if r["train_steps"] == 0 and r["batch"] == 8])
    assert len(figures.draw(one, tmp_path)) == 1  # something to see even of a single number


def test_an_attack_keeps_its_colour_and_guessing_is_grey(record):
    (block,) = rows.blocks(
        [record(attack="random"), record(), record(attack="demix"), record(attack_args={"exact": False})]
    )
    looks = dict(zip([line.short for line in block.lines], figures.looks(block.lines), strict=True))
    assert looks["llg exact=true"]["color"] == looks["llg exact=false"]["color"] != looks["demix"]["color"]
    assert looks["llg exact=true"]["linestyle"] != looks["llg exact=false"]["linestyle"]
    assert (looks["random"]["color"], looks["random"]["linestyle"]) == ("grey", "--")


def test_the_page_stands_alone_and_holds_every_number(grid, tmp_path):
    found = rows.blocks(grid)
    pictures = figures.draw(found, tmp_path)
    text = page.html(found, pictures, {"command": "jleak labels --attack '<b>llg</b>'"})
    assert "://" not in text and "{{" not in text and "<script" not in text and "<b>llg</b>" not in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert {base64.b64decode(s.partition(",")[2]) for s in sources} == {p.path.read_bytes() for p in pictures}
    for block in found:
        for line in block.lines:
            for cell in line.cells.values():
                assert console.written(cell.rate) in text
    assert "Accuracy of the models on private images: 50.0 %" in text


def test_report_makes_everything_again(grid, tmp_path, capsys):
    path = tmp_path / "run"
    store.make(path, {"kind": "labels", "command": "jleak labels"})
    records = {}
    for one in grid[:5]:  # of an unfinished run: the second batch size lacks an attack
        store.add_record(path, records, one, {})
        records[one["case_id"]] = one
    session.report(path)
    assert "lenet on digits" in capsys.readouterr().out
    assert (path / "report.html").exists() and len([*(path / "figures").iterdir()]) == 1


def test_a_run_without_finished_cases_says_how_to_go_on(tmp_path):
    store.make(tmp_path / "run", {"kind": "labels"})
    with pytest.raises(InputError, match="no finished case; go on with: jleak labels --resume --out"):
        session.report(tmp_path / "run")
