"""What mixing buys: which rows count, in which order, with which numbers, and where their marks lie."""

import io

import matplotlib.colors
import numpy as np
import pytest
from rich.console import Console

from jleak.audit import store
from jleak.report import console, figures, mixing, page
from jleak.report.rows import rows

PROVEN, OPEN = "proven", "class mean"


@pytest.fixture
def direct(case, record):
    """`direct(status, mu, mse, field=value, ...)`: a record of two victims attacked directly."""

    def build(status, mu, mse, condition=2.0, **changes):
        made = case(attack="demixing", attack_args={"starts": 1}, **changes)
        seen = {"status": [[status] * made.batch] * 2, "residual": [0.0] * 2, "consistency": [0.0] * 2}
        score = {"mu": [mu] * 2, "condition": [condition] * 2, "rank": [1.5] * 2}
        return record(made, mse=mse, avd=[0.25, 0.25], certificate=seen, mixing=score)

    return build


@pytest.fixture
def made(direct):
    return [
        direct(OPEN, 7.0, [0.04, 0.04], condition=None, batch=8, draw="one_class"),
        direct(PROVEN, 0.0625, [1e-12, 1e-12], batch=8),
        direct(OPEN, 3.0, [0.09, 0.01], batch=4, draw="one_class", loss_fn="bce"),
        direct(PROVEN, 0.0, [0.0, 0.0], batch=4),
        direct(PROVEN, 0.0625, 1e-12, batch=4, defense="clip", defense_args={"bound": 1.0}),
    ]


def test_undefended_rows_in_the_order_of_batch_and_mixing(made):
    found = mixing.lines(rows(made))
    assert [(line.row.setting["batch"], line.mu.median) for line in found] == [
        (4, 0.0), (4, 3.0), (8, 0.0625), (8, 7.0),
    ]  # fmt: skip
    assert [mixing.proven(line.row) for line in found] == ["8 of 8", "0 of 8", "16 of 16", "0 of 16"]
    assert found[3].rmse.median == pytest.approx(0.2) and found[2].rmse.median == pytest.approx(1e-6)


def test_rows_that_nothing_vouches_for_are_no_direct_recovery(case, record, made):
    old = record(case(batch=4))
    scored = record(case(batch=4), avd=[0.25] * 2, mixing=made[0]["mixing"], certificate=None)
    assert mixing.lines(rows([old, scored])) == []
    beside = mixing.lines(rows([scored, made[1]]))
    assert [mixing.proven(line.row) for line in beside] == ["-", "16 of 16"]


def test_the_table_holds_the_numbers_and_a_dash_for_infinity(made):
    screen = Console(file=io.StringIO(), width=console.WIDE)
    for table in console.mixing_table(rows(made)):
        screen.print(table)
    cells = [line.split() for line in screen.file.getvalue().splitlines() if "demixing" in line]
    wanted = "mlp cross_entropy one_class 8 7 - 1.5 demixing 2.0e-01 2.5e-01 0 of 16"
    assert cells[3] == wanted.split()
    assert console.mixing_table(rows(made[-1:])) == []


def large(axis):
    """Where the large marks of a panel lie: {(x, y): (filled, colour)}."""
    marks = [c for c in axis.collections if len(c.get_offsets()) == 1 and c.get_sizes()[0] == 64]
    return {
        tuple(np.round(np.asarray(c.get_offsets())[0], 8)): (
            len(c.get_facecolors()) > 0,
            matplotlib.colors.to_hex(c.get_edgecolors()[0]),
        )
        for c in marks
    }


def test_a_mark_is_filled_where_every_image_is_proven_and_lies_at_its_medians(made):
    (axis,) = (a for a in mixing.picture(mixing.lines(rows(made))).axes if a.get_title())
    marks = large(axis)
    bce, softmax = (marks[3.0, round(float(np.sqrt(0.05)), 8)], marks[0.0625, 1e-6])
    assert marks[7.0, 0.2][0] is False and bce[0] is False and softmax[0] is True
    assert marks[mixing.APART, mixing.LEAST][0] is True  # of mu 0 and no error
    assert bce[1] != softmax[1] == marks[7.0, 0.2][1]
    low, high = axis.get_xlim()
    assert all(low <= x <= high and x > 0 for x, _ in marks)


def test_marks_in_one_place_share_a_label(direct):
    same = [direct(OPEN, 7.0, 0.04, batch=8, loss_fn=loss) for loss in ("cross_entropy", "bce", "mse")]
    elsewhere = [direct(PROVEN, 7.0, 1e-12, batch=8, loss_fn="sigmoid_mse"), direct(OPEN, 7.0, 0.04, batch=7)]
    (axis,) = mixing.picture(mixing.lines(rows([*same, *elsewhere]))).axes
    assert sorted(text.get_text() for text in axis.texts if "B=" in text.get_text()) == ["B=7", "B=8", "B=8"]


def test_attacks_have_panels_and_the_legend_names_losses_and_draws(case, record, made):
    other = record(
        case(batch=8), avd=[0.25] * 2, mixing=made[0]["mixing"], certificate=None, mse=[0.01, None]
    )
    figure = mixing.picture(mixing.lines(rows([*made, other])))
    assert [axis.get_title() for axis in figure.axes] == ["demixing", "inverting"]
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {
        "cross_entropy", "bce", "labels one_class", "labels random",
    }  # fmt: skip


def test_the_page_has_table_and_picture_only_where_an_attack_is_direct(made, case, made_run):
    plain = made_run([case(batch=4)])
    found = rows(store.read_records(plain))
    text = page.html(found, figures.draw(found, plain), store.read_settings(plain))
    assert "What mixing buys" not in text and not (plain / "figures" / "mixing.png").exists()
    (picture,) = figures.mixed(rows(made), plain)
    text = page.html(rows(made), [picture], store.read_settings(plain))
    assert picture.path.name == "mixing.png" and text.count("What mixing buys") >= 2
    assert "<td>0 of 16</td>" in text and "only the mean of the images that share a label" in text
