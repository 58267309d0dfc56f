"""The priors that come with jleak: what their cards promise."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import data, priors, weights
from jleak.priors.load import FOLDER

MOST_BYTES = 4_000_000
NUMBERS = ("found_psnr", "constant_psnr", "components_psnr", "samples_right", "real_right")


@pytest.mark.parametrize("name", priors.bundled())
def test_a_card_says_where_from_how_long_and_how_good(name):
    prior = priors.load(name)
    card = prior.card
    assert (FOLDER / f"{name}.safetensors").stat().st_size <= MOST_BYTES
    assert card["licence"] in ("CC BY 4.0", "MIT") or card["licence"].startswith("CC BY-SA 3.0")
    assert card["note"] and len(card["images_sha256"]) == 64 and int(card["images"]) > 100
    settings = json.loads(card["settings"])
    assert card["steps"] == str(settings["steps"]) and card["objective"] == settings["objective"]
    assert len(json.loads(card["class_names"])) == prior.generator.classes == 10
    numbers = {key: float(card[key]) for key in NUMBERS}
    assert numbers["found_psnr"] > numbers["constant_psnr"] + 3
    assert numbers["samples_right"] > 0.7


def test_the_digits_are_digits_and_learnt_from_the_public_half():
    """Samples are nearest to the mean of their class as often as the real images are, less a tenth."""
    prior, public, private = priors.load("digits"), data.public("digits"), data.private("digits")
    assert prior.card["images_sha256"] == weights.checksum({"labels": public.labels, "x": public.x})
    y = np.arange(1000) % 10
    z = jax.random.normal(jax.random.key(7), (1000, prior.generator.latent))
    x = np.asarray(jax.jit(prior.generator.apply)(prior.params, z, jnp.asarray(y)))
    means = np.stack([private.x[private.labels == k].mean(0) for k in range(10)])

    def right(x, y):
        return (np.square(x[:, None] - means[None]).sum((2, 3, 4)).argmin(1) == y).mean()

    assert right(x, y) > right(private.x, private.labels) - 0.1
    spread = np.mean([x[y == k].std(0).mean() for k in range(10)])
    real = np.mean([private.x[private.labels == k].std(0).mean() for k in range(10)])
    assert spread > 0.7 * real  # no class has fallen to one image
