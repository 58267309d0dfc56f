"""`folder`: pixels, order and modes, and every refusal."""

import numpy as np
import pytest
from PIL import Image

from jleak.check import InputError
from jleak.data import folder, load

RNG = np.random.default_rng(0)


def picture(path, mode="RGB", size=(5, 4)):
    """A random picture, saved; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    pixels = RNG.integers(0, 256, (size[1], size[0], *channels), np.uint8)
    Image.fromarray(pixels, mode=mode).save(path)
    return pixels


def refuse(path, *parts):
    with pytest.raises(InputError) as error:
        folder(path)
    for part in parts:
        assert str(part) in str(error.value)


def test_reads_pixels_in_order(tmp_path):
    written = [picture(tmp_path / p) for p in ("cat/a.png", "cat/b.PNG", "dog/a.png")]
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden").mkdir()
    images = load(f"folder:{tmp_path}")
    np.testing.assert_array_equal(images.x, np.stack(written))
    assert images.labels.tolist() == [0, 0, 1]
    assert images.class_names == ("cat", "dog") and images.name == tmp_path.name


def test_grey_has_one_channel(tmp_path):
    grey, alpha = picture(tmp_path / "a/1.png", "L"), picture(tmp_path / "a/2.png", "LA")
    Image.fromarray(grey > 127).save(tmp_path / "a/3.png")
    images = folder(tmp_path)
    assert images.shape == (4, 5, 1)
    np.testing.assert_array_equal(images.x[0, ..., 0], grey)
    np.testing.assert_array_equal(images.x[1, ..., 0], alpha[..., 0])
    np.testing.assert_array_equal(images.x[2, ..., 0], 255 * (grey > 127))


def test_colour_becomes_rgb(tmp_path):
    alpha = picture(tmp_path / "a/1.png", "RGBA")
    few = RNG.choice(np.array([[255, 0, 0], [0, 0, 255]], np.uint8), (4, 5))
    Image.fromarray(few).quantize(2).save(tmp_path / "a/2.png")
    picture(tmp_path / "a/3.jpg", "CMYK")
    images = folder(tmp_path)
    assert images.shape == (4, 5, 3) and images.size == 3
    np.testing.assert_array_equal(images.x[0], alpha[..., :3])
    np.testing.assert_array_equal(images.x[1], few)


def test_jpeg_is_close_to_what_was_saved(tmp_path):
    (tmp_path / "a").mkdir()
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    Image.fromarray(flat).save(tmp_path / "a/1.jpeg", quality=95)
    assert np.abs(folder(tmp_path).x[0].astype(int) - flat).max() <= 3


def test_missing_folder_file_and_no_classes(tmp_path):
    refuse(tmp_path / "none", tmp_path / "none", "does not exist", "one folder a class")
    picture(tmp_path / "1.png")
    refuse(tmp_path / "1.png", "1.png is a file", "one folder a class")
    refuse(tmp_path, tmp_path, "no class folders", "into a folder")


def test_empty_class_is_named(tmp_path):
    picture(tmp_path / "cat/1.png")
    (tmp_path / "dog").mkdir()
    refuse(tmp_path, tmp_path / "dog", "no pictures", ".png", "remove the folder")


def test_sizes_that_differ_name_the_first_two(tmp_path):
    for name, size in ("a/1.png", (5, 4)), ("a/2.png", (5, 4)), ("b/1.png", (6, 4)), ("b/2.png", (7, 4)):
        picture(tmp_path / name, size=size)
    refuse(tmp_path, f"{tmp_path / 'a/1.png'} is 5x4", f"{tmp_path / 'b/1.png'} is 6x4", "resize")


def test_grey_beside_colour_is_refused(tmp_path):
    picture(tmp_path / "a/1.png", "L"), picture(tmp_path / "a/2.png", "RGB")
    refuse(tmp_path, "1.png is 5x4 grey", "2.png is 5x4 colour", "convert")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_unreadable_pictures_are_named(tmp_path, ending):
    good, bad = tmp_path / f"a/1.{ending}", tmp_path / f"a/2.{ending}"
    picture(good, size=(40, 40))
    whole = good.read_bytes()
    for content in b"", b"hello", whole[: len(whole) // 2], whole[:40]:
        bad.write_bytes(content)
        refuse(tmp_path, f"cannot read picture {bad}", "replace or remove")


def test_sixteen_bits_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 5), 40000, np.uint16)).save(tmp_path / "a/1.png")
    refuse(tmp_path, tmp_path / "a/1.png", "I;16", "8-bit")
