"""Images out of TensorFlow Datasets, read without TensorFlow."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import numpy as np

from jleak.check import InputError
from jleak.data.images import Images, first_line, from_arrays

BROKEN = (ValueError, AssertionError, RuntimeError, OSError, KeyError)
"""What tensorflow-datasets raises on unknown names, versions and splits, and on damaged files."""

PARTS = ("tensorflow_datasets", "absl", "array_record", "importlib_resources")
PACKAGES = {"tensorflow": "tensorflow-cpu"} | dict.fromkeys(PARTS, '"jleak[tfds]"')
"""What to install for a module that is missing."""


def tfds(name: str, *, split: str = "train", data_dir: str | os.PathLike | None = None) -> Images:
    """A data set that tensorflow-datasets has prepared on this machine as `array_record` files.

    Read through `tfds.data_source`; nothing is downloaded and TensorFlow is not imported. The
    images and the labels are the data set's supervised pair, or its only `Image` and its only
    `ClassLabel` feature. Order is tensorflow-datasets' own, the same on every machine.

    Args:
      name: `NAME[/CONFIG][:VERSION][@SPLIT]`, as in `mnist`, `mnist@test`,
        `emnist/letters:3.1.0@train[:1000]`; a split in the name goes before `split`.
      split: any of tensorflow-datasets' split expressions: `test`, `train[:10%]+test`.
      data_dir: where prepared data sets lie; None means the environment's TFDS_DATA_DIR, else
        `~/tensorflow_datasets`.

    Raises:
      InputError: tensorflow-datasets is not installed, the data set is unknown, not prepared or
        prepared in another file format, has no such split, not one image and one label feature,
        or images of several sizes.

    >>> tfds("mnist", data_dir="/nowhere")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    jleak.check.InputError: tfds data set 'mnist' is not prepared in /nowhere; ...
    """
    name, _, given = name.partition("@")
    split = given or split
    where = os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    with _quiet():
        builder = _prepared(name, where)
        image, label = _features(builder.info, name)
        source = _source(name, split, where, builder)
        x, labels = _read(source, image, label, f"{name}@{split}")
    return from_arrays(x, labels, builder.info.features[label].names, name=f"{name}@{split}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without tensorflow-datasets' warnings, and with a remedy where one of its parts is missing."""
    try:
        import tensorflow_datasets  # noqa: F401
        from absl import logging
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    finally:
        logging.set_verbosity(before)


def _missing(error: ModuleNotFoundError) -> InputError:
    name = error.name or str(error).rpartition("named ")[2].strip("'")
    package = PACKAGES.get(name.partition(".")[0], name)
    return InputError(
        f"this tfds data set needs the package {name}, which is not installed; pip install {package}"
    )


def _prepared(name: str, where: str) -> Any:
    """The builder of a data set that lies on this machine as array_record."""
    import tensorflow_datasets as library

    try:
        builder = library.builder(name, data_dir=where)
    except library.core.DatasetNotFoundError as error:
        raise _unknown(name, where) from error
    except BROKEN as error:
        raise InputError(
            f"tfds data set {name!r} cannot be opened: {first_line(error)}; "
            "write NAME[/CONFIG][:VERSION][@SPLIT]"
        ) from error
    if not builder.is_prepared():
        raise InputError(
            f"tfds data set {name!r} is not prepared in {where}; {_prepare(name, where)}, "
            "or set TFDS_DATA_DIR to where it is prepared"
        )
    formats = sorted(f.value for f in builder.info.available_file_formats())
    if "array_record" not in formats:
        raise InputError(
            f"tfds data set {name!r} in {where} is stored as {', '.join(formats)}, which cannot be read "
            f"without TensorFlow; delete {builder.data_path} and {_prepare(name, where)}"
        )
    return builder


def _prepare(name: str, where: str) -> str:
    """How to prepare a data set, in one line."""
    call = f"t.builder({name!r}, data_dir={where!r}, file_format='array_record').download_and_prepare()"
    return (
        'prepare it once: pip install tensorflow-cpu "jleak[tfds]" && '
        f'python -c "import tensorflow_datasets as t; {call}"'
    )


def _unknown(name: str, where: str) -> InputError:
    import tensorflow_datasets as library

    base = name.partition(":")[0].partition("/")[0]
    near = get_close_matches(base, library.list_builders(with_community_datasets=False), n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return InputError(
        f"unknown tfds data set {name!r}; {guess}tensorflow-datasets has no such name, and "
        f"{where} no such data set; see https://www.tensorflow.org/datasets/catalog"
    )


def _features(info: Any, name: str) -> tuple[str, str]:
    """The names of the image feature and of the label feature."""
    from tensorflow_datasets import features as kinds

    features = dict(sorted(info.features.items()))
    masks = [k for k, f in features.items() if isinstance(f, kinds.LabeledImage)]
    images = [k for k, f in features.items() if isinstance(f, kinds.Image) and k not in masks]
    labels = [k for k, f in features.items() if isinstance(f, kinds.ClassLabel)]
    supervised = [k for k in info.supervised_keys or () if isinstance(k, str)]

    def the(found: list[str], what: str) -> str:
        chosen = [k for k in found if k in supervised] or found
        if len(chosen) == 1:
            return chosen[0]
        raise InputError(
            f"tfds data set {name!r} has {len(chosen)} {what} features ({', '.join(chosen) or 'none'}) "
            f"among {', '.join(features)}; jleak needs exactly one: choose another data set, or save "
            "what you need with numpy.savez_compressed and use npz:PATH"
        )

    return the(images, "Image"), the(labels, "ClassLabel")


def _source(name: str, split: str, where: str, builder: Any) -> Sequence[dict[str, Any]]:
    """The examples of a split."""
    import tensorflow_datasets as library

    try:
        return library.data_source(name, split=split, data_dir=where, download=False)
    except BROKEN as error:
        raise InputError(
            f"tfds data set {name!r} gives no split {split!r}: {first_line(error)}; "
            f"it has: {', '.join(builder.info.splits)}, and slices such as train[:1000]"
        ) from error


def _read(source: Sequence, image: str, label: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels, in one array each."""
    labels = np.empty(len(source), np.int64)
    x = None
    for i in range(len(source)):
        try:
            example = source[i]
        except BROKEN as error:
            raise InputError(
                f"{name}: example {i} cannot be read ({first_line(error)}); "
                "delete the data set and prepare it again"
            ) from error
        one = np.asarray(example[image])
        x = np.empty((len(source), *one.shape), one.dtype) if x is None else x
        if one.shape != x.shape[1:]:
            raise InputError(
                f"{name}: all images must have one size, got {x.shape[1:]} at 0 and {one.shape} at {i}; "
                "resize them and use npz:PATH or folder:PATH"
            )
        x[i], labels[i] = one, example[label]
    return (np.empty((0, 1, 1, 1), np.uint8) if x is None else x), labels
