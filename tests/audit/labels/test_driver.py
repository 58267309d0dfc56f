"""A run of label attacks: checked before anything runs, kept case by case, never mixed with an audit."""

import numpy as np
import pytest

from jleak.audit import store
from jleak.audit.labels import driver
from jleak.audit.labels.case import LabelCase
from jleak.audit.labels.config import cases, labels_config_of
from jleak.check import InputError

TIMES = ("seconds", "compile_seconds")


@pytest.fixture
def path(tmp_path):
    store.make(tmp_path / "run", {"kind": "labels"})
    return tmp_path / "run"


@pytest.fixture(scope="module")
def plan():
    settings = {
        "models": "mlp:hidden=16", "count": 3, "batches": [2, 4], "attacks": ["bias_sign"],
        "train_steps": [0, 60],
    }  # fmt: skip
    return cases(labels_config_of(settings))


def numbers(record):
    return {name: value for name, value in record.items() if name not in TIMES}


def npz(path, labels, shape=(8, 8, 1), names=None):
    images = np.random.default_rng(0).integers(0, 255, (len(labels), *shape)).astype(np.uint8)
    np.savez(path, images=images, labels=labels, **({"class_names": names} if names else {}))
    return f"npz:{path}"


def test_an_interrupted_run_goes_on_as_if_never_stopped(plan, path, digits):
    """Stopped in the middle of the training of the last setting."""

    def interrupt(stand):
        if stand.part > 0.5:
            raise KeyboardInterrupt

    sets = {"digits": digits}
    with pytest.raises(KeyboardInterrupt):
        driver.run(plan, path, sets, finished={}, report=interrupt)
    finished = store.finished(path, resume=True, kind="labels")
    assert [*finished] == [case.case_id for case in plan[:4]]  # the untrained ones
    rerun = set()
    records = driver.run(plan, path, sets, finished=finished, report=lambda s: rerun.add(s.case.case_id))
    assert rerun == {case.case_id for case in plan[4:]}
    assert [*map(numbers, records)] == [*map(numbers, driver.measure(plan))]
    assert store.read_records(path) == records
    assert not (path / "images").exists()


def test_a_run_of_another_kind_is_not_gone_on_with(path):
    store.add_record(path, {}, {"case_id": "1", "kind": "labels"}, {})
    with pytest.raises(InputError, match="holds a run of `jleak labels`, not of `jleak audit`; name another"):
        store.finished(path, resume=True)
    store.make(path.parent / "audit", {})
    store.add_record(path.parent / "audit", {}, {"case_id": "1"}, {})
    with pytest.raises(InputError, match="holds a run of `jleak audit`, not of `jleak labels`"):
        store.finished(path.parent / "audit", resume=True, kind="labels")


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"attack": "idlg", "batch": 2}, ["idlg", "single image", "batch=2"]),
        ({"attack": "idlg", "assumed_batch": 2}, ["idlg", "single image", "batch=2"]),
        ({"attack": "yin", "assumed_batch": "unknown"}, ["yin", "no shares", "assumed_batch=unknown"]),
        ({"attack": "yin", "batch": 11}, ["yin", "batch=11 > classes=10"]),
        ({"client": "fedavg", "client_args": {"steps": 4}, "batch": 6}, ["multiple of its steps", "batch=8"]),
        ({"draw": "distinct", "batch": 11}, ["n must be <= 10", "digits, private half"]),
        ({"model": "mlp", "model_args": {"hidden": 0}}, ["hidden must be >= 1"]),
        ({"attack": "demix", "attack_args": {"steps": 0}}, ["steps must be >= 1"]),
        ({"attack": "ilrg", "model": "mlp", "model_args": {"bias": False}}, ["ilrg", "bias"]),
        ({"dataset": "npz:none.npz"}, ["none.npz", "does not exist"]),
        ({"public": "npz:none.npz"}, ["none.npz", "does not exist"]),
    ],
)
def test_what_does_not_go_together_is_found_before_anything_runs(fields, parts):
    with pytest.raises(InputError) as error:
        driver.prepared([LabelCase(attack="random", batch=1), LabelCase(**{"attack": "llg"} | fields)])
    for part in parts:
        assert part in str(error.value)


def test_classes_without_auxiliary_images_are_named(tmp_path):
    """One image of class 2 goes to the victims; only attacks that look at auxiliary images mind."""
    data = npz(tmp_path / "few.npz", np.array([0, 0, 0, 1, 1, 2]))
    driver.prepared([LabelCase(attack="llg_star", dataset=data, model="mlp")])
    for attack in ({"attack": "llg_plus"}, {"attack": "counts", "attack_args": {"pbar": "auxiliary"}}):
        with pytest.raises(InputError, match=r"lack images of the classes \[2\]"):
            driver.prepared([LabelCase(**attack, dataset=data, model="mlp")])


def test_public_images_are_like_the_victims(tmp_path):
    private = npz(tmp_path / "a.npz", np.arange(12) % 3)
    other = npz(tmp_path / "b.npz", np.arange(12) % 3, shape=(4, 4, 1))
    more = npz(tmp_path / "c.npz", np.arange(12) % 4)
    for public, part in ((other, r"\(4, 4, 1\)"), (more, "and 4")):
        with pytest.raises(InputError, match=part):
            driver.prepared([LabelCase(attack="llg", dataset=private, public=public, model="mlp")])


def test_a_public_data_set_of_its_own(tmp_path):
    private = npz(tmp_path / "a.npz", np.arange(12) % 3)
    public = npz(tmp_path / "b.npz", np.arange(30) % 3)
    case = LabelCase(
        attack="llg_plus", dataset=private, public=public, model="mlp", models=2, draw="random", batch=12
    )
    (record,) = driver.measure([case])  # all twelve are the victims'
    assert record["status"] == "ok" and len(record["success"]) == 2


def test_one_image_a_class_has_no_public_half(tmp_path):
    data = npz(tmp_path / "a.npz", np.arange(3))
    with pytest.raises(InputError, match="no class of two images, so no public half; name a data set"):
        driver.prepared([LabelCase(attack="llg", dataset=data, model="mlp")])


def test_data_sets_of_other_shapes_and_classes_share_nothing(case, tmp_path):
    """In one run: a model's first parameters depend on no argument's shape."""
    files = {f"{h}x{classes}": tmp_path / f"{h}x{classes}.npz" for h, classes in ((8, 3), (6, 3), (6, 4))}
    for name, file in files.items():
        h, classes = map(int, name.split("x"))
        x = np.random.default_rng(0).integers(0, 256, (12 * classes, h, h, 1), dtype=np.uint8)
        np.savez(file, images=x, labels=np.arange(12 * classes) % classes)
    plan = [case(dataset=f"npz:{file}", attack="random", batch=2) for file in files.values()]
    assert [record["status"] for record in driver.measure(plan)] == ["ok"] * 3
