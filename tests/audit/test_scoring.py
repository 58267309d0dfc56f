"""Reconstructions against the truth: paired, in the eyes of the model too; and the noise level beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.audit.scoring import score
from jleak.check import InputError
from jleak.metrics import mse_features
from jleak.models import lenet, mlp
from jleak.types import Batch, Certificate, Reconstruction

MODEL = mlp((8, 8, 1), 10, hidden=16)
PARAMS = MODEL.init(jax.random.key(0))


def test_images_are_paired_and_labels_counted_before_they_are_scored():
    truth = jnp.linspace(0, 1, 3 * 64).reshape(3, 8, 8, 1) ** 2
    shuffled, y = truth[jnp.array([2, 0, 1])] * 1.5 - 0.1, jnp.array([5, 5, 1])
    vouched = Certificate(jnp.array([2, 0, 1]), jnp.array(0.5), jnp.array([0.2, 0.0, 0.1]))
    rec = Reconstruction(shuffled, y, jnp.array(0.25), jnp.array(7), vouched)
    numbers, x, seen = score(MODEL, PARAMS, rec, Batch(truth, jnp.array([1, 5, 2])))
    np.testing.assert_allclose(x, np.clip(truth * 1.5 - 0.1, 0, 1), atol=1e-6)
    assert float(numbers["mse"]) == pytest.approx(float(jnp.mean((x - truth) ** 2)))
    assert float(numbers["label_success"]) == pytest.approx(2 / 3)
    assert float(numbers["loss"]) == 0.25
    assert seen.status.tolist() == [0, 1, 2]  # beside the images that they are of
    np.testing.assert_allclose(seen.consistency, [0.0, 0.1, 0.2])
    features = [np.asarray(MODEL.features(PARAMS, v), np.float64) for v in (x, truth)]
    assert float(numbers["mse_features"]) == pytest.approx(
        np.mean((features[0] - features[1]) ** 2), rel=1e-4
    )


def test_a_model_that_tells_no_features_has_no_such_number():
    x = jnp.zeros((1, 8, 8, 1))
    rec = Reconstruction(x, jnp.array([0]), jnp.array(0.0), jnp.array(1))
    mute = MODEL._replace(features=None)
    numbers = score(mute, PARAMS, rec, Batch(x + 0.5, jnp.array([0]))).numbers
    assert "mse_features" not in numbers and "psnr" in numbers
    with pytest.raises(InputError, match="mse_features needs a model that tells its features"):
        mse_features(mute, PARAMS, x, x)
    with pytest.raises(InputError, match="of one shape"):
        mse_features(MODEL, PARAMS, x, x[:, :4])


def test_features_of_a_convolutional_network_by_its_classifier():
    """logits = W r + b, so differences of logits are W times those of the features."""
    model = lenet((8, 8, 1), 60)
    params = model.init(jax.random.key(0))
    x, truth = jax.random.uniform(jax.random.key(1), (2, 3, 8, 8, 1))
    logits = [np.asarray(model.apply(params, v), np.float64) for v in (x, truth)]
    kernel = np.asarray(params["params"]["head"]["kernel"], np.float64)  # 48 features from 60 classes
    difference = np.linalg.lstsq(kernel.T, (logits[0] - logits[1]).T, rcond=None)[0].T
    np.testing.assert_allclose(
        mse_features(model, params, x, truth), np.mean(difference**2, axis=1), rtol=1e-3
    )


@pytest.mark.parametrize("sigma", [1e-3, 0.3])
def test_the_record_holds_the_noise_that_the_updates_show(small_case, audited, sigma):
    record, _ = audited(small_case(defense="gaussian", defense_args={"sigma": sigma}))
    plain, _ = audited(small_case())
    for i in range(2):
        low, found, high = (record["noise"][name][i] for name in ("low", "sigma", "high"))
        assert low < found < high
        assert low / 1.3 < sigma < high * 1.3 and high < 2.5 * low
        assert plain["noise"]["high"][i] < 1e-6
        assert record["mse_features"][i] > 0
