"""Usable information in a run, and the records that it finds most exposed."""

import numpy as np

from jleak import data
from jleak.audit.measures import exposed


def by_records(arrays):
    """The mean over test batches of what is told of them, (models, sets of layers), record by record."""
    batches = arrays["exposed/batches"]
    return (arrays["exposed/bits"] * batches).sum(-1) / batches.sum()


def test_usable_information_finds_what_is_there(run, digits, made):
    """Of the images, and of an attribute that all of a batch has; with the records that give it away."""
    images, arrays = run(made(measure="usable_information", measure_args={"of": "images"}, updates=300))
    assert min(images["layers"]["information"]["median"]) > 0.2  # bits a pixel
    mean = by_records(arrays)
    np.testing.assert_allclose(mean[:, :-1], arrays["layers/bits"], rtol=1e-4)
    np.testing.assert_allclose(mean[:, -1], arrays["whole/bits"], rtol=1e-4)
    shown = data.pixels(digits.x[arrays["exposed/record"][:10]])
    np.testing.assert_allclose(arrays["exposed/images"], shown, atol=1e-3)
    settings = {"of": "attribute", "permutations": 4, "seeds": 1, "family": "logistic"}
    wide, arrays = run(made(measure="usable_information", measure_args=settings, updates=600, batch=8))
    np.testing.assert_allclose(by_records(arrays)[:, -1], arrays["whole/raw"] / np.log(2), atol=1e-5)
    assert arrays["exposed/batches"].sum() == 120 * 8  # a record of a batch of eight has its batches' mean
    assert wide["whole"]["ratio"]["median"] > 0.08 and wide["whole"]["auc"]["median"] > 0.65
    assert wide["whole"]["null"]["median"] < wide["whole"]["ratio"]["median"]


def test_conv_probes_see_whole_kernels_and_others_see_the_rest(run, made):
    """Of convolutions whole gradients, however narrow the rows of others; sketches would be refused."""
    net = {"model": "convnet", "model_args": {"width": 2}, "updates": 30, "models": 1}
    settings = {"family": "conv", "permutations": 0}
    record, arrays = run(made(measure="usable_information", measure_args=settings, width=8, **net))
    assert record["note"].startswith("conv probes for conv0, conv1, conv2; mlp ones for head and all")
    assert np.isfinite(record["layers"]["ratio"]["median"]).all() and len(record["names"]) == 4
    np.testing.assert_allclose(by_records(arrays)[:, :-1], arrays["layers/raw"] / np.log(2), atol=1e-5)


def test_the_most_exposed_are_those_of_the_highest_median(digits):
    """By all layers together, not by the first; at their places in the data set they were drawn from."""
    pvi = np.zeros((3, 3, 4))  # two layers and both together, four test batches of one
    pvi[:, 2] = [[1, 2, 3, 9], [1, 5, 3, 0], [1, 6, 3, 0]]
    pvi[:, 0] = [7, 0, 0, 0]
    pvi[:, 1, 1] = 4
    picks, places = np.array([[30], [10], [20], [40]]), 2 * np.arange(digits.size)
    found = exposed.arrays_of(pvi, picks, digits, places)
    assert found["exposed/record"].tolist() == [20, 40, 60, 80]
    np.testing.assert_array_equal(found["exposed/label"], digits.labels[[10, 20, 30, 40]])
    told = exposed.told(found, ["conv0", "head"], digits.class_names)
    first, *_, last = told["top"]
    assert first["bits"] == {"median": 5.0, "low": 3.5, "high": 5.5} and last["bits"]["median"] == 0.0
    assert (first["layer"], first["of_layer"], told["records"], told["median"]) == ("head", 4.0, 4, 2.0)
