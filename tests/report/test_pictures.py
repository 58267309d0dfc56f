"""The pictures of a run: the right images at the right places, readable files."""

import itertools

import numpy as np
import pytest
from PIL import Image

from jleak.audit import store
from jleak.check import InputError
from jleak.report import figures, tiles
from jleak.report.rows import rows

DEFENSES = [("none", {}), ("gaussian", {"sigma": 0.5}), ("clip", {"bound": 1.0})]


def plan(case, seeds=(0, 1), **changes):
    return [
        case(defense=defense, defense_args=args, seed=seed, **changes)
        for defense, args in DEFENSES
        for seed in seeds
    ]


def found_in(path):
    return rows(store.read_records(path))


def assert_readable(picture):
    with Image.open(picture.path) as image:
        image.load()
        pixels = np.asarray(image.convert("RGB"), float)
    assert pixels.shape[0] > 100 and pixels.shape[1] > 100
    assert pixels.std() > 5 and len(np.unique(pixels)) > 20


def test_the_truth_stands_above_what_was_made_of_it(case, made_run):
    path = made_run(plan(case), psnr=[21.0, 12.5])
    lines = tiles.gallery(found_in(path), path)
    assert [line.label for line in lines] == ["truth", "none", "gaussian sigma=0.5", "clip bound=1"]
    for line, (defense, _) in zip(lines[1:], DEFENSES, strict=True):
        of = [one for one in store.read_records(path) if one["defense"] == defense]
        stored = [store.read_images(path, one["case_id"]) for one in of]
        for name, images in (("truth", lines[0].images), ("reconstruction", line.images)):
            expected = np.concatenate([arrays[name][:, 0] for arrays in stored])
            np.testing.assert_array_equal(np.stack(images), expected)
        assert line.captions == ["21.0 dB", "12.5 dB"] * 2


def test_a_batch_shows_every_image_and_its_number_once(case, made_run):
    path = made_run(plan(case, seeds=[0], batch=3), shape=(5, 6, 3), psnr=[21.0, None])
    lines = tiles.gallery(found_in(path), path)
    stored = store.read_images(path, plan(case, seeds=[0], batch=3)[0].case_id)
    for line, name in zip(lines, ("truth", "reconstruction"), strict=False):
        np.testing.assert_array_equal(np.stack(line.images), np.concatenate(stored[name]))
    assert lines[1].captions == ["21.0 dB", "", "", "-", "", ""]


@pytest.mark.parametrize(("channels", "batch"), [(1, 1), (2, 1), (3, 3), (4, 1)])
def test_every_picture_can_be_read(case, made_run, channels, batch):
    path = made_run(plan(case, batch=batch), shape=(6, 5, channels))
    pictures = figures.draw(found_in(path), path)
    assert [picture.path.name.split("-")[0] for picture in pictures] == ["overview", "gallery", "film"]
    for picture in pictures:
        assert_readable(picture)
        assert picture.path.parent == path / "figures" and "mlp on digits" in picture.title


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_finite_does_not_stop_the_pictures(case, made_run, channels, recwarn):
    path = made_run(plan(case), shape=(6, 5, channels), psnr=None, loss=None)
    for file in (path / "images").iterdir():
        images = store.read_images(path, file.stem)
        np.savez(file, **images | {"reconstruction": np.full_like(images["truth"], np.nan)})
    for picture in figures.draw(found_in(path), path):
        assert_readable(picture)
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_an_unfinished_run_has_gaps_in_place_of_shifted_images(case, made_run):
    """Seed 1 alone under the second defense: below the truth of seed 1, not of seed 0."""
    whole = plan(case)
    path = made_run([whole[0], whole[1], whole[3]])
    lines = tiles.gallery(found_in(path), path)
    only = store.read_images(path, whole[3].case_id)
    assert lines[2].images[:2] == [None, None]
    np.testing.assert_array_equal(np.stack(lines[2].images[2:]), only["reconstruction"][:, 0])
    np.testing.assert_array_equal(np.stack(lines[0].images[2:]), only["truth"][:, 0])
    for picture in figures.draw(found_in(path), path):
        assert_readable(picture)


def test_only_the_first_images_are_shown(case, made_run):
    path = made_run(plan(case, seeds=range(3), batch=2))
    lines = tiles.gallery(found_in(path), path)
    assert {len(line.images) for line in lines} == {tiles.COLUMNS}


def test_a_film_ends_with_the_truth(case, made_run):
    path = made_run([case(), case(attack="dlg")])
    lines = tiles.film(found_in(path), path)
    assert [line.label for line in lines] == ["inverting", "dlg"]
    for line, one in zip(lines, store.read_records(path), strict=True):
        arrays = store.read_images(path, one["case_id"])
        np.testing.assert_array_equal(np.stack(line.images[:-1]), arrays["snapshots"][:, 0, 0])
        np.testing.assert_array_equal(line.images[-1], arrays["truth"][0, 0])
        assert line.captions == ["10 %", "50 %", "100 %", "truth"]


def test_an_undefended_row_stands_beside_every_attacker(case, made_run):
    adaptive = [one for one in plan(case, seeds=[0], knows="kind") if one.defense != "none"]
    path = made_run([*plan(case, seeds=[0]), *adaptive])
    groups = figures.by_attacker(found_in(path))
    assert [[row.setting["defense"] for row in group] for group in groups] == [
        ["none", "gaussian", "clip"]
    ] * 2
    assert [{row.knows for row in group[1:]} for group in groups] == [{"nothing"}, {"kind"}]
    titles = [picture.title for picture in figures.draw(found_in(path), path)]
    assert sum("knows nothing" in title for title in titles) == 1
    assert sum("knows kind" in title for title in titles) == 1


def test_settings_that_differ_have_pictures_of_their_own(case, made_run):
    """Also where only a folder tells them apart: no file is written over by another's."""
    sets = ["npz:/a/some.npz", "npz:/b/some.npz"]
    plans = [
        plan(case, seeds=[0], dataset=name, known_labels=known) for name in sets for known in (False, True)
    ]
    path = made_run([*itertools.chain(*plans)])
    pictures = figures.draw(found_in(path), path)
    assert len({picture.path for picture in pictures}) == len(pictures) == 4 * 3
    assert len({picture.title for picture in pictures}) == len(pictures)
    assert {picture.path for picture in pictures} == set((path / "figures").iterdir())


def test_images_that_are_gone_are_named(case, made_run):
    path = made_run(plan(case))
    gone = path / "images" / f"{plan(case)[2].case_id}.npz"
    gone.unlink()
    with pytest.raises(InputError, match=f"{gone} is missing or damaged"):
        figures.draw(found_in(path), path)
