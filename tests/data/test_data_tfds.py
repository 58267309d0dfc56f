"""`tfds`: reads what tensorflow-datasets prepared, never TensorFlow and never the network."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jleak.check import InputError
from jleak.data import load, tfds

library = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 6, 5, 3), np.uint8)
NAMES = ["ash", "beech", "cedar"]


def png(pixels):
    """A picture as PNG bytes, which tensorflow-datasets stores without TensorFlow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def build(folder, called, features, train, supervised=None, test=()):
    """Prepare the data set `called` in `folder`, as a data set's author would."""

    class Made(library.core.GeneratorBasedBuilder, skip_registration=True):
        name = called
        VERSION = library.core.Version("1.0.0")

        def _info(self):
            described = library.features.FeaturesDict(features)
            return library.core.DatasetInfo(builder=self, features=described, supervised_keys=supervised)

        def _split_generators(self, manager):
            return {"train": self._generate_examples(train), "test": self._generate_examples(test or train)}

        def _generate_examples(self, examples):
            yield from enumerate(examples)

    library.disable_progress_bar()
    Made(data_dir=folder, file_format="array_record").download_and_prepare()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with `jleak_trees`: 20 training and 10 test images, the pixel (0, 0) tells which."""
    folder = tmp_path_factory.mktemp("tfds")
    kinds = library.features
    features = {"leaf": kinds.Image(shape=(6, 5, 3)), "tree": kinds.ClassLabel(names=NAMES)}
    examples = [{"leaf": png(x), "tree": i % 3} for i, x in enumerate(PIXELS)]
    build(folder, "jleak_trees", features, examples[:20], test=examples[20:])
    return folder


@pytest.fixture
def copied(prepared, tmp_path):
    """A copy to damage: the folder, and the data set's own folder in it."""
    shutil.copytree(prepared, tmp_path / "copy")
    return tmp_path / "copy", tmp_path / "copy" / "jleak_trees" / "1.0.0"


def sources(images):
    """Which of PIXELS each image is."""
    return [int(np.flatnonzero((x == PIXELS).all(axis=(1, 2, 3)))[0]) for x in images.x]


def refuse(name, folder, *parts, **options):
    with pytest.raises(InputError) as error:
        tfds(name, data_dir=folder, **options)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message


def test_reads_every_image_with_its_label(prepared):
    images = tfds("jleak_trees", data_dir=prepared)
    found = sources(images)
    assert sorted(found) == list(range(20))
    assert images.labels.tolist() == [i % 3 for i in found]
    assert images.x.dtype == np.uint8 and images.shape == (6, 5, 3)
    assert images.class_names == tuple(NAMES) and images.name == "jleak_trees@train"
    assert "tensorflow" not in sys.modules


def test_splits_and_versions(prepared):
    assert sorted(sources(tfds("jleak_trees@test", data_dir=prepared))) == list(range(20, 30))
    assert tfds("jleak_trees", split="test", data_dir=prepared).size == 10
    assert tfds("jleak_trees:1.0.0@train[:5]+test[:2]", data_dir=prepared).size == 7


def test_a_fresh_process_finds_the_folder_in_the_environment(prepared):
    code = (
        "import sys; from jleak.data import load; print(load('tfds:jleak_trees@test').size, "
        "bool({'tensorflow', 'sklearn'} & set(sys.modules)))"
    )
    environment = os.environ | {"TFDS_DATA_DIR": str(prepared)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["10", "False"]
    assert "WARNING" not in run.stderr


def test_environment_set_after_the_import(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert load("tfds:jleak_trees").size == 20


def test_the_home_folder_is_the_default(prepared, monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    refuse("mnist", None, f"not prepared in {tmp_path / 'tensorflow_datasets'};")
    shutil.copytree(prepared, tmp_path / "tensorflow_datasets")
    assert load("tfds:jleak_trees").size == 20


def test_unprepared_says_how_to_prepare(tmp_path):
    refuse("mnist", tmp_path, "'mnist' is not prepared", tmp_path, "tensorflow-cpu", "download_and_prepare()")
    refuse("mnist", tmp_path, "file_format='array_record'", "TFDS_DATA_DIR")


def test_unknown_names(tmp_path):
    refuse("mnits", tmp_path, "unknown tfds data set 'mnits'", "did you mean 'mnist'?", tmp_path, "catalog")
    refuse("mnist/blue", tmp_path, "'mnist/blue'", "blue", "NAME[/CONFIG][:VERSION][@SPLIT]")
    refuse("mnist:9.9.9", tmp_path, "9.9.9", "3.0.1", "NAME[/CONFIG]")
    refuse("mnist test", tmp_path, "'mnist test'", "NAME[/CONFIG]")


def test_unknown_and_empty_splits(prepared):
    refuse("jleak_trees@tset", prepared, "no split 'tset'", "train, test", "train[:1000]")
    refuse("jleak_trees", prepared, "no split 'train[10%:'", split="train[10%:")
    refuse("jleak_trees@train[100:]", prepared, "no split 'train[100:]'", "20")
    refuse("jleak_trees@train[:0]", prepared, "'train[:0]'")


def test_another_file_format(copied):
    folder, own = copied
    info = own / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    refuse("jleak_trees", folder, "stored as tfrecord", own, "file_format='array_record'")


def test_damaged_and_missing_files(copied):
    folder, own = copied
    (shard,) = own.glob("*train*")
    os.truncate(shard, 500)
    refuse("jleak_trees", folder, "cannot be read", "prepare it again")
    shard.unlink()
    refuse("jleak_trees", folder, "jleak_trees@train", "prepare it again")


def test_missing_packages(prepared, monkeypatch):
    def fail(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'array_record'", name="array_record")

    monkeypatch.setattr(library, "data_source", fail)
    refuse("jleak_trees", prepared, "package array_record,", 'pip install "jleak[tfds]"')
    refuse("coco/2017", prepared, "package tensorflow,", "pip install tensorflow-cpu")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    refuse("jleak_trees", prepared, "package tensorflow_datasets,", 'pip install "jleak[tfds]"')


def test_supervised_pair_settles_which_features(tmp_path):
    kinds = library.features
    features = {
        "coarse": kinds.ClassLabel(num_classes=2),
        "fine": kinds.ClassLabel(num_classes=4),
        "x": kinds.Image(shape=(6, 5, 3)),
        "mask": kinds.LabeledImage(shape=(6, 5, 1), labels=2),
    }
    mask = png(np.zeros((6, 5), np.uint8))
    examples = [{"coarse": i // 2, "fine": i, "x": png(PIXELS[i]), "mask": mask} for i in range(4)]
    build(tmp_path, "jleak_pair", features, examples, supervised=("x", "fine"))
    images = tfds("jleak_pair", data_dir=tmp_path)
    assert images.classes == 4 and images.labels.tolist() == sources(images)

    build(tmp_path, "jleak_two", features, examples)
    refuse("jleak_two", tmp_path, "2 ClassLabel features (coarse, fine)", "exactly one", "npz:PATH")


def test_data_without_images_or_labels(tmp_path):
    kinds = library.features
    words = {"y": kinds.ClassLabel(num_classes=2), "t": kinds.Text()}
    build(tmp_path, "jleak_words", words, [{"y": 0, "t": "a"}])
    refuse("jleak_words", tmp_path, "0 Image features (none)", "y", "npz:PATH")
    build(tmp_path, "jleak_plain", {"x": kinds.Image(shape=(6, 5, 3))}, [{"x": png(PIXELS[0])}])
    refuse("jleak_plain", tmp_path, "0 ClassLabel features (none)")


def test_images_of_several_sizes(tmp_path):
    kinds = library.features
    features = {"x": kinds.Image(shape=(None, None, 3)), "y": kinds.ClassLabel(num_classes=2)}
    build(tmp_path, "jleak_sizes", features, [{"x": png(PIXELS[0][:k]), "y": 0} for k in (4, 5)])
    refuse("jleak_sizes", tmp_path, "one size", "(4, 5, 3)", "(5, 5, 3)", "folder:PATH")
