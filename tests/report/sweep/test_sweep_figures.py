"""Pictures hold the numbers of the answers."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jleak.audit.sweep import store
from jleak.report.sweep import curves, figures, gallery, heat
from jleak.report.sweep.answers import answers, digits
from jleak.report.sweep.columns import columns, varying


def drawn(axis):
    """label -> (x, y) of the lines with points."""
    return {
        line.get_label(): line.get_xydata()
        for line in axis.lines
        if len(line.get_xdata()) > 1 and "knows" in line.get_label()
    }


def test_the_strength_of_a_defense_is_drawn_with_its_medians_and_quartiles(noisy, held):
    table, there = held(noisy())
    figure = curves.picture(table, there, varying(there))
    (axis,) = figure.axes  # clipping has one strength
    assert axis.get_title() == "gaussian" and axis.get_xlabel() == "sigma" and axis.get_xscale() == "log"
    found = drawn(axis)
    assert set(found) == {f"{a}, knows {k}" for a in ("dlg", "inverting") for k in ("nothing", "kind")}
    for label, best in (("inverting, knows nothing", 30.0), ("dlg, knows kind", 26.0)):
        np.testing.assert_allclose(found[label][:, 1], [best, best - 10, best - 20])
        np.testing.assert_allclose(found[label][:, 0], [0.01, 0.1, 1.0], rtol=0.2)  # a little apart
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert len(axis.collections) == 4  # a band each
    plain = {line.get_label(): line.get_ydata()[0] for line in axis.lines if "no defense" in line.get_label()}
    assert plain == {"dlg, no defense": 36.0, "inverting, no defense": 41.0}


def test_no_strength_varies_alone_no_curve(case, held):
    both = [{"bound": b, "scope": s} for b, s in ((1.0, "global"), (2.0, "tensor"))]
    table, there = held([(case(defense="clip", defense_args=args), {}) for args in both])
    assert curves.picture(table, there, varying(there)) is None


def test_the_map_holds_every_attack_and_defense(noisy, held):
    table, there = held(noisy())
    made = heat.sheet(table, there, varying(there))
    assert made.lines == [f"{a}, knows {k}" for a in ("dlg", "inverting") for k in ("nothing", "kind")]
    assert made.columns == [
        ("none", ""), ("clip", ""), *(("gaussian\nsigma", s) for s in ("0.01", "0.1", "1"))
    ]  # fmt: skip
    found = heat.filled(made, lambda a: a.psnr.median)
    np.testing.assert_allclose(
        found,
        [
            [36, 34, 25, 15, 5],
            [36, np.nan, 26, 16, 6],  # nobody knew of clipping; without a defense there is nothing to know
            [41, 39, 30, 20, 10],
            [41, np.nan, 31, 21, 11],
        ],
    )
    over, under = heat.picture(table, there, varying(there)).axes[:2]
    written = [text.get_text() for text in over.texts]
    assert written[:5] == ["36", "34", "25", "15", "5"] and len(written) == 18
    assert [text.get_text() for text in under.texts][:5] == ["100", "100", "0", "0", "0"]


def test_too_many_strengths_are_put_together(case, held):
    found = [
        (case(defense="gaussian", defense_args={"sigma": s}), {})
        for s in np.linspace(1, 2, heat.MOST + 1).tolist()
    ]
    table, there = held(found)
    assert heat.sheet(table, there, varying(there)).columns == [("gaussian", "")]


def test_the_gallery_shows_victims_from_the_worst_to_the_best_of_both_ends(noisy, sweep):
    where = sweep(noisy())
    table = store.table(where)
    there = columns(table)
    found = answers(table, there, varying(there))
    assert [a.psnr.median for a in gallery.ends(found)] == [41.0, 39.0, 6.0, 5.0]
    best = gallery.victims(table, gallery.ends(found)[0].records)
    assert [v.psnr for v in best] == [40.0, 40.0, 42.0, 42.0] and [v.number for v in best] == [0, 0, 1, 1]
    images = store.images_of(where, {v.case for v in best})
    assert float(gallery.image(images, best[-1], "truth")[0, 0, 0]) == pytest.approx(0.1, abs=1e-3)
    assert float(gallery.image(images, best[-1], "reconstruction")[0, 0, 0]) == pytest.approx(0.2, abs=1e-3)
    assert len(gallery.picture(where, table, found, varying(there), digits(there)).axes[0].images) == 8 * 4


def test_a_damaged_file_of_images_is_a_gap(noisy, sweep):
    where = sweep(noisy())
    table = store.table(where)
    cases = set(table.column("case_id").to_pylist())
    first = sorted((Path(where.root) / "images").iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    assert len(store.images_of(where, cases)) == len(cases) - 2


def test_other_settings_have_pictures_of_their_own(case, sweep):
    found = [
        (case(batch=n, defense="gaussian", defense_args={"sigma": s}), {})
        for n in range(1, 7)
        for s in (0.1, 1.0)
    ] + [(case(batch=5, seed=1), {})]
    where = sweep(found, images=False)
    table = store.table(where)
    there = columns(table)
    by = ["batch", "defense", "defense.sigma"]
    assert [title for title, *_ in figures.facets(table, there, by)] == [f"batch {n}" for n in (1, 2, 3, 5)]
    pictures = figures.draw(where, table, there, by, answers(table, there, by))
    assert len(pictures) == 2 * figures.MOST  # no gallery without images
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.path.read_bytes()))
        assert min(image.size) > 300 and len(image.convert("L").getcolors(256)) > 30
    ((_, some, of_these),) = figures.facets(table, there, ["defense"])
    assert len(some) == len(table) and figures.mixed(of_these, ["defense"]) == ["batch"]
